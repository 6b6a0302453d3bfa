"""Writing corpora in the format and container they were read from."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.data.bytes_of import write_pieces
from assay.data.corpus import Corpus, Example, LeftOut
from assay.data.formats import render
from assay.data.layout import Layout, Shard, container_of, suffix_of
from assay.errors import AssayError
from assay.util.messages import listed, reason


@dataclass(frozen=True)
class _Row:
    """A row to be written: its position in the input, and its record if it changed."""

    row: int
    edited: Mapping[str, Any] | None


def _rows_of(corpus: Corpus) -> list[_Row]:
    """List the examples, and the rows that are none at the places they had."""
    rows = []
    for e in corpus.examples:
        try:
            record = render(e, corpus.format, corpus.mapping)
        except AssayError as error:
            raise AssayError(f"{corpus.source}: row {e.row}: {error}") from None
        rows.append(_Row(e.row, None if record is e.record else record))
    if not corpus.left_out:
        return rows
    rows += [_Row(left.row, None) for left in corpus.left_out]
    return sorted(rows, key=lambda r: r.row)


def records_of(corpus: Corpus) -> list[Mapping[str, Any]]:
    """List the records of a corpus in order, edited where examples were."""
    known: dict[int, Example | LeftOut] = {e.row: e for e in corpus.examples}
    known |= {left.row: left for left in corpus.left_out}
    return [
        known[r.row].record if r.edited is None else r.edited for r in _rows_of(corpus)
    ]


def _unit(raw: str, pad: str) -> str | None:
    """Return what a row's fields are indented by; None where it is on one line."""
    if "\n" not in raw:
        return None
    inner = raw.split("\n")[1]
    return inner[: len(inner) - len(inner.lstrip())].removeprefix(pad) or pad or "  "


def _dumps(record: Mapping[str, Any], pad: str = "", indent: str | None = None) -> str:
    text = json.dumps(record, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(record, indent=indent)
    return text.replace("\n", "\n" + pad)


def _csv_line(record: Mapping[str, Any], layout: Layout) -> str:
    line = io.StringIO(newline="")
    # Python 3.11 quotes a carriage return only where the line ending has one.
    csv.writer(
        line,
        delimiter=layout.delimiter,
        lineterminator="\r\n",
        quoting=layout.quoting,
        quotechar=None if layout.quoting == csv.QUOTE_NONE else '"',
    ).writerow([record[name] for name in layout.header])
    return line.getvalue()[:-2]


def _json_pieces(
    layout: Layout, rows: Sequence[_Row], records: Mapping[int, Mapping[str, Any]]
) -> Iterator[str]:
    pad = layout.prefix.rpartition("[")[2].rpartition("\n")[2]
    for i, row in enumerate(rows):
        raw = layout.rows[row.row] if layout.rows else ""
        record = row.edited
        if record is None and not layout.rows:
            record = records[row.row]
        if record is not None and layout.inner:
            record = record[layout.inner][0]
        follows = i and rows[i - 1].row == row.row - 1
        usual = layout.between if i else ""
        yield layout.gaps.get(row.row - 1, usual) if follows else usual
        yield raw if record is None else _dumps(record, pad, _unit(raw, pad))


def _line_pieces(
    container: str,
    layout: Layout,
    rows: Sequence[_Row],
    records: Mapping[int, Mapping[str, Any]],
) -> Iterator[str]:
    ends = "\n" if container == "jsonl" else "\r\n"
    for i, row in enumerate(rows):
        if layout.rows and row.edited is None:
            raw = layout.rows[row.row]
            # The last line of a file may lack its ending.
            yield raw
            ended = raw[-1] in ends
            yield layout.newline if i < len(rows) - 1 and not ended else ""
            yield layout.gaps.get(row.row, "")
            continue
        record = records[row.row] if row.edited is None else row.edited
        if container == "jsonl":
            old = layout.rows[row.row].rstrip() if layout.rows else ""
            yield _dumps(record, indent=_unit(old, ""))
        else:
            yield _csv_line(record, layout)
        yield layout.newline
        yield layout.gaps.get(row.row, "")


def _pieces(
    container: str,
    payload: Layout | None,
    rows: Sequence[_Row],
    records: Mapping[int, Mapping[str, Any]],
) -> Iterator[str]:
    """Yield the text of a file: what its rows were, and what they became."""
    layout = payload or Layout()
    yield layout.prefix
    if container == "json":
        # A file that was made anew has no brackets to keep.
        yield "" if payload else "["
        yield from _json_pieces(layout, rows, records)
        yield "" if payload else "]\n"
    else:
        yield from _line_pieces(container, layout, rows, records)
    yield layout.suffix


def _edited_table(
    source: str, table: Any, rows: Sequence[_Row], read: Mapping[int, Mapping[str, Any]]
) -> Any:
    """Take the rows from the original table and replace the columns with edits."""
    import pyarrow as pa

    table = table.take(pa.array([r.row for r in rows], pa.int64()))
    for i, field in enumerate(table.schema):
        name = field.name
        if all(r.edited is None or r.edited[name] is read[r.row][name] for r in rows):
            continue
        cells = [(r.edited or read[r.row])[name] for r in rows]
        try:
            column = pa.array(cells, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise AssayError(
                f"{source}: column {listed([name])} holds {field.type}, which an "
                f"edited row does not fit ({reason(error)})"
            ) from None
        table = table.set_column(i, field, column)
    return table


def _write_file(
    source: str,
    file: Shard,
    rows: Sequence[_Row],
    read: Mapping[int, Mapping[str, Any]],
    to: Path,
) -> None:
    """Write some rows of one file; their positions count from its first."""
    if file.container == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        if file.payload is None:
            # An empty file among others.
            to.touch()
            return
        try:
            parquet.write_table(_edited_table(source, file.payload, rows, read), to)
        except pa.ArrowException as error:
            raise AssayError(
                f"{source}: cannot be written as Parquet ({reason(error)})"
            ) from None
        return
    pieces = _pieces(file.container, file.payload, rows, read)
    write_pieces(pieces, to, file.suffix)


def _write(corpus: Corpus, partial: Path, suffix: str) -> None:
    rows = _rows_of(corpus)
    read: dict[int, Mapping[str, Any]] = {e.row: e.record for e in corpus.examples}
    read |= {left.row: left.record for left in corpus.left_out}
    if corpus.container == "datasets":
        from datasets import Dataset

        data = Dataset(_edited_table(corpus.source, corpus.payload, rows, read))
        # Left to itself, datasets writes no rows as no file, and cannot load that.
        data.save_to_disk(str(partial), **({} if len(data) else {"num_shards": 1}))
        return
    if corpus.container != "shards":
        whole = Shard("", corpus.container, suffix, corpus.payload, 0, 0)
        _write_file(corpus.source, whole, rows, read, partial)
        return
    starts = [shard.first for shard in corpus.payload]
    parts: list[list[_Row]] = [[] for _ in starts]
    records: list[dict[int, Mapping[str, Any]]] = [{} for _ in starts]
    for r in rows:
        at = bisect_right(starts, r.row) - 1
        parts[at].append(_Row(r.row - starts[at], r.edited))
        records[at][r.row - starts[at]] = read[r.row]
    for shard, part, held in zip(corpus.payload, parts, records, strict=True):
        to = partial / shard.name
        to.parent.mkdir(parents=True, exist_ok=True)
        _write_file(corpus.source, shard, part, held, to)


def _check_target(corpus: Corpus, path: Path) -> None:
    named = container_of(path.name) or corpus.container
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
    if corpus.container == "shards" and path.is_dir():
        ours = {shard.name for shard in corpus.payload}
        held = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
        if held - ours:
            raise AssayError(
                f"{path}: a folder with other files than {corpus.source} has in it; "
                "name a new one"
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
        path: File to write, packed as its name says; a folder for ``datasets`` and
            for several files.

    Raises:
        AssayError: The place cannot be written, or cannot hold an edited row.
    """
    if not path.name:
        raise AssayError(f"{path}: not a name for a file")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _check_target(corpus, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(corpus, partial, suffix_of(path.name))
        _put(partial, path)
    except (OSError, UnicodeError, RecursionError, csv.Error) as error:
        raise AssayError(f"{path}: cannot be written ({reason(error)})") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        elif partial.exists():
            partial.unlink()
    return path
