"""Writing corpora in the format and container they were read from."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.data.corpus import Corpus
from assay.data.formats import render
from assay.data.layout import SUFFIXES, Layout, reason
from assay.errors import AssayError


def _dumps(record: Mapping[str, Any], pad: str = "", indented: bool = False) -> str:
    indent = (pad or 2) if indented else None
    text = json.dumps(record, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(record, indent=indent)
    return text.replace("\n", "\n" + pad)


def _csv_line(record: Mapping[str, Any], layout: Layout, delimiter: str) -> str:
    line = io.StringIO(newline="")
    # Python 3.11 quotes a carriage return only where the line ending has one.
    csv.writer(
        line,
        delimiter=delimiter,
        lineterminator="\r\n",
        quoting=layout.quoting,
        quotechar=None if layout.quoting == csv.QUOTE_NONE else '"',
    ).writerow([record[name] for name in layout.header])
    return line.getvalue()[:-2]


def _pieces(corpus: Corpus, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    layout = corpus.payload or Layout()
    pad = layout.prefix.partition("[")[2].rpartition("\n")[2]
    last = len(records) - 1
    ends = "\n" if corpus.container == "jsonl" else "\r\n"
    yield layout.prefix
    for i, (example, record) in enumerate(zip(corpus.examples, records, strict=True)):
        raw = layout.rows[example.row] if layout.rows else ""
        if corpus.container == "json":
            yield layout.between if i else ""
            yield raw if record is example.record else _dumps(record, pad, "\n" in raw)
        elif raw and record is example.record:
            # The last line of a file may lack its ending.
            yield raw
            ended = raw[-1] in ends
            yield layout.newline if i < last and not ended else ""
        else:
            if corpus.container == "jsonl":
                yield _dumps(record)
            else:
                delimiter = "\t" if corpus.container == "tsv" else ","
                yield _csv_line(record, layout, delimiter)
            yield layout.newline
    yield layout.suffix


def _edited_table(corpus: Corpus, records: Sequence[Mapping[str, Any]]) -> Any:
    """Take the rows from the original table and replace the columns with edits."""
    import pyarrow as pa

    rows = pa.array([e.row for e in corpus.examples], pa.int64())
    table = corpus.payload.take(rows)
    for i, field in enumerate(table.schema):
        if all(
            r is e.record or r[field.name] is e.record[field.name]
            for e, r in zip(corpus.examples, records, strict=True)
        ):
            continue
        cells = [r[field.name] for r in records]
        try:
            column = pa.array(cells, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise AssayError(
                f"{corpus.source}: column {field.name!r} holds {field.type}, which an "
                f"edited row does not fit ({reason(error)})"
            ) from None
        table = table.set_column(i, field, column)
    return table


def _write(corpus: Corpus, partial: Path) -> None:
    records = [render(e, corpus.format, corpus.mapping) for e in corpus.examples]
    if corpus.container == "parquet":
        import pyarrow.parquet as parquet

        parquet.write_table(_edited_table(corpus, records), partial)
    elif corpus.container == "datasets":
        from datasets import Dataset

        data = Dataset(_edited_table(corpus, records))
        # Left to itself, datasets writes no rows as no file, and cannot load that.
        data.save_to_disk(str(partial), **({} if len(data) else {"num_shards": 1}))
    else:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_pieces(corpus, records))


def _check_target(corpus: Corpus, path: Path) -> None:
    named = SUFFIXES.get(path.suffix.lower(), corpus.container)
    if named.removesuffix("l") != corpus.container.removesuffix("l"):
        raise AssayError(
            f"{path}: {corpus.source} is {corpus.container}, and is written as such; "
            "give the output the same suffix"
        )
    if corpus.container == "datasets" and path.is_dir() and any(path.iterdir()):
        kept = ("dataset_info.json", "dataset_dict.json")
        if not any((path / name).is_file() for name in kept):
            raise AssayError(
                f"{path}: a folder with something other than a data set in it; name "
                "a new one"
            )


def _put(partial: Path, path: Path) -> None:
    if not (path.is_dir() and partial.is_dir()):
        os.replace(partial, path)
        return
    # A folder cannot be replaced at once; the old one goes when the new one is there.
    old = partial.with_suffix(".old")
    os.replace(path, old)
    try:
        os.replace(partial, path)
    except OSError:
        os.replace(old, path)
        raise
    shutil.rmtree(old)


def write_corpus(corpus: Corpus, path: Path) -> Path:
    """Write a corpus in the format and container it was read from.

    Rows that were not edited stay as they were, byte for byte in text files. The
    file appears complete or not at all.

    Args:
        corpus: What to write.
        path: File (or folder, for ``datasets``) to write.

    Raises:
        AssayError: The place cannot be written, or cannot hold an edited row.
    """
    if not path.name:
        raise AssayError(f"{path}: not a name for a file")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _check_target(corpus, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(corpus, partial)
        _put(partial, path)
    except (OSError, UnicodeError, RecursionError, csv.Error) as error:
        raise AssayError(f"{path}: cannot be written ({reason(error)})") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        elif partial.exists():
            partial.unlink()
    return path
