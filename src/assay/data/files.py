"""Reading and writing corpora: JSONL, JSON, CSV, TSV, Parquet, datasets, hub."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.data.corpus import Corpus, Example
from assay.data.formats import FORMATS, detect_format, parse, render
from assay.errors import AssayError

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
Record = dict[str, Any]


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise AssayError(
            f"{path}:{line}: not UTF-8 (byte {error.start}); convert it: "
            f"iconv -f latin1 -t utf-8 {path.name}"
        ) from None


def _object(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise AssayError(
            f"{where}: expected a JSON object, found {type(value).__name__}"
        )
    return value


def _read_jsonl(path: Path) -> tuple[list[Record], list[str]]:
    # Only the newline ends a line: str.splitlines would also split at U+2028,
    # which JSON allows inside strings.
    records, lines = [], []
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise AssayError(f"{path}:{number}: not valid JSON ({error})") from None
        records.append(_object(value, f"{path}:{number}"))
        lines.append(line.rstrip("\r"))
    return records, lines


def _read_json(path: Path) -> list[Record]:
    try:
        value = json.loads(_decode(path))
    except (ValueError, RecursionError) as error:
        raise AssayError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, list):
        raise AssayError(
            f"{path}: expected a JSON list of rows; JSON lines end in .jsonl"
        )
    return [_object(v, f"{path}: row {i}") for i, v in enumerate(value)]


def _read_csv(path: Path, delimiter: str) -> list[Record]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(_decode(path), newline=""), delimiter=delimiter)
    records: list[Record] = []
    try:
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise AssayError(
                    f"{path}:{reader.line_num}: {len(cells)} cells, the header has "
                    f"{len(header)}; check the quoting"
                )
            records.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise AssayError(f"{path}:{reader.line_num}: malformed CSV ({error})") from None
    return records


def _read_container(source: str, split: str) -> tuple[list[Record], str, Any]:
    path = Path(source)
    if path.is_file():
        container = _SUFFIXES.get(path.suffix.lower())
        if container is None:
            known = ", ".join(_SUFFIXES)
            raise AssayError(
                f"{path}: unknown file type {path.suffix!r}; known: {known}"
            )
        if path.stat().st_size == 0:
            raise AssayError(f"{path}: the file is empty")
        if container == "jsonl":
            records, lines = _read_jsonl(path)
            return records, container, lines
        if container == "json":
            return _read_json(path), container, None
        if container in ("csv", "tsv"):
            delimiter = "\t" if container == "tsv" else ","
            return _read_csv(path, delimiter), container, None
        import pyarrow.parquet as parquet

        try:
            table = parquet.read_table(path)
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise AssayError(
                f"{path}: not a readable Parquet file ({reason})"
            ) from None
        return table.to_pylist(), container, table
    if path.is_dir():
        from datasets import DatasetDict, load_from_disk

        try:
            data = load_from_disk(str(path))
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise AssayError(f"{path}: not a datasets folder ({reason})") from None
        if isinstance(data, DatasetDict):
            if split not in data:
                raise AssayError(
                    f"{path}: no split {split!r}; it has {', '.join(data)}: use --split"
                )
            data = data[split]
        return data.to_list(), "datasets", data
    if (
        source.count("/") != 1
        or source.startswith((".", "/"))
        or path.suffix in _SUFFIXES
    ):
        raise AssayError(f"{source}: no such file or folder")
    from datasets import load_dataset

    try:
        data = load_dataset(source, split=split)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise AssayError(
            f"hub data set {source!r} cannot be loaded: {reason}"
        ) from None
    return data.to_list(), "datasets", data


def _unique(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Give rows that share an id one derived from the row, so that ids are unique."""
    counts = Counter(e.id for e in examples)
    taken = {i for i, n in counts.items() if n == 1}
    unique = []
    for example in examples:
        name = example.id
        if counts[name] > 1:
            name = f"row-{example.row}"
            while name in taken:
                name += "+"
            taken.add(name)
        unique.append(example if name == example.id else replace(example, id=name))
    return tuple(unique)


def read_corpus(
    source: str | Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    split: str = "train",
) -> Corpus:
    """Read a corpus.

    Args:
        source: File (JSONL, JSON, CSV, TSV, Parquet), ``datasets`` folder or hub id.
        format: Record format; by default it is detected from the first record.
        mapping: Columns of the ``columns`` format: ``text`` and ``response``, and
            optionally ``instruction`` and ``task``.
        split: Split of a ``datasets`` folder or hub data set.

    Raises:
        AssayError: The source is missing, empty, malformed, or of unknown format.
    """
    source = str(source)
    if format is not None and format not in FORMATS:
        raise AssayError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    try:
        records, container, payload = _read_container(source, split)
    except OSError as error:
        raise AssayError(f"{source}: cannot be read ({error.strerror})") from None
    if not records:
        raise AssayError(f"{source}: no rows in it")
    mapping = dict(mapping or {})
    chosen = format or ("columns" if mapping else detect_format(records[0]))
    if chosen is None:
        raise AssayError(
            f"{source}: unknown format, its fields are {', '.join(records[0])}; "
            "name the columns: --map text=COLUMN --map response=COLUMN"
        )
    if chosen == "columns":
        if not {"text", "response"} <= set(mapping):
            raise AssayError(
                "the columns format needs --map text=COLUMN --map response=COLUMN"
            )
        for column in mapping.values():
            if column not in records[0]:
                raise AssayError(
                    f"{source}: no column {column!r}; it has {', '.join(records[0])}"
                )
    unit = "line" if container == "jsonl" else "row"
    examples = [
        parse(r, i, chosen, mapping, f"{source}: {unit} {i + (unit == 'line')}")
        for i, r in enumerate(records)
    ]
    return Corpus(_unique(examples), chosen, container, source, mapping, payload)


def _records(corpus: Corpus) -> list[Record]:
    return [render(e, corpus.format, corpus.mapping) for e in corpus.examples]


def _write(corpus: Corpus, partial: Path) -> None:
    records = _records(corpus)
    if corpus.container == "jsonl":
        lines = corpus.payload
        with partial.open("w", encoding="utf-8", newline="") as file:
            for example, record in zip(corpus.examples, records, strict=True):
                # A row nobody edited keeps its exact bytes, key order and escapes.
                untouched = lines is not None and record == example.record
                file.write(
                    lines[example.row]
                    if untouched
                    else json.dumps(record, ensure_ascii=False)
                )
                file.write("\n")
    elif corpus.container == "json":
        text = json.dumps(records, ensure_ascii=False, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
    elif corpus.container in ("csv", "tsv"):
        header = list(records[0]) if records else []
        with partial.open("w", encoding="utf-8", newline="") as file:
            delimiter = "\t" if corpus.container == "tsv" else ","
            writer = csv.DictWriter(file, header, delimiter=delimiter)
            writer.writeheader()
            writer.writerows(records)
    elif corpus.container == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(
            pa.Table.from_pylist(records, schema=corpus.payload.schema), partial
        )
    else:
        from datasets import Dataset

        features = corpus.payload.features
        Dataset.from_list(records, features=features).save_to_disk(str(partial))


def write_corpus(corpus: Corpus, path: Path) -> Path:
    """Write a corpus in the format and container it was read from.

    Rows that were not edited stay as they were, byte for byte in JSONL. The file
    appears complete or not at all.

    Args:
        corpus: What to write.
        path: File (or folder, for ``datasets``) to write.

    Raises:
        AssayError: The place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(corpus, partial)
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        raise AssayError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
    return path
