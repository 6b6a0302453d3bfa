"""Reading corpora: files, pipes, folders, patterns and the hub."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.data.bytes_of import is_stream, read_bytes, read_stream
from assay.data.corpus import Corpus, Example, LeftOut
from assay.data.dataset_info import columns_beside
from assay.data.encoding import decoded
from assay.data.formats import FORMATS, PARTS, detect_format, names_of, read_record
from assay.data.formats.base import MEND, Reading
from assay.data.formats.marked import is_plain_text
from assay.data.json_files import read_json
from assay.data.layout import (
    COMPRESSED,
    SUFFIXES,
    Layout,
    Rows,
    container_of,
    suffix_of,
)
from assay.data.shards import files_in, is_pattern, is_saved_dataset, joined
from assay.data.tables import read_folder, read_hub, read_parquet
from assay.data.text_files import read_text
from assay.errors import AssayError
from assay.util.hub import not_found, parse_hub
from assay.util.messages import listed, reason, shortened

log = logging.getLogger("assay")


def _read_file(path: Path, skip: bool, is_shard: bool = False) -> Rows:
    container = container_of(path.name)
    suffix = suffix_of(path.name)
    if container is None:
        raise AssayError(
            f"{path}: unknown file type {suffix!r}; known: {', '.join(SUFFIXES)}, and "
            f"with {', '.join(COMPRESSED)} behind"
        )
    if container == "parquet":
        if suffix.lower() != ".parquet":
            raise AssayError(f"{path}: Parquet packs itself; unpack it")
        if is_shard and path.stat().st_size == 0:
            return Rows([], container, None, suffix=suffix)
        return replace(read_parquet(path), suffix=suffix)
    raw = read_bytes(path, suffix)
    if not raw and is_shard:
        # One of many files may well be empty.
        return Rows([], container, Layout(), suffix=suffix)
    if not raw:
        raise AssayError(f"{path}: the file is empty")
    return replace(read_text(str(path), raw, container, skip), suffix=suffix)


def _read_pipe(source: str, skip: bool) -> Rows:
    text = decoded(read_stream(source), source)
    if text.removeprefix("\ufeff").lstrip()[:1] not in ("[", "{"):
        raise AssayError(
            f"{source}: what comes through a pipe must be JSON or JSON lines; write "
            "anything else to a file"
        )
    rows = read_json(source, text, skip)
    return replace(rows, suffix=f".{rows.container}")


def _read_shards(source: str, split: str, skip: bool) -> Rows:
    files = files_in(source, split)
    return joined(files, [_read_file(path, skip, is_shard=True) for path in files])


def _read_container(source: str, split: str, skip: bool) -> Rows:
    hub = parse_hub(source)
    if hub is not None and hub.online:
        return read_hub(hub.name, split)
    if is_stream(source):
        return _read_pipe(source, skip)
    path = Path(source)
    if path.is_file():
        return _read_file(path, skip)
    if path.is_dir():
        if is_saved_dataset(path):
            return read_folder(path, split)
        return _read_shards(source, split, skip)
    if is_pattern(source):
        return _read_shards(source, split, skip)
    raise not_found("data set", source)


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
    skip_bad_rows: bool = False,
) -> Corpus:
    """Read a corpus.

    Args:
        source: File (JSONL, JSON, CSV, TSV, Parquet; text also packed as ``.gz``,
            ``.zst``, ``.bz2`` or ``.lz4``), a folder or pattern of such files, a
            ``datasets`` folder, ``-`` or a pipe, or ``hf://owner/name``.
        format: Record format; by default it is detected from the first record.
        mapping: What parts of the records are called, of `assay.data.formats.PARTS`;
            by default the usual names, or what a ``dataset_info.json`` in the file's
            folder says.
        split: Split of a ``datasets`` folder, hub data set, or folder of files whose
            names tell their splits.
        skip_bad_rows: Leave out what cannot be read instead of refusing the file.

    Raises:
        AssayError: The source is missing, empty, malformed, or of unknown format.
    """
    source = str(source)
    check_format(format)
    try:
        rows = _read_container(source, split, skip_bad_rows)
        if not mapping and format is None:
            mapping = columns_beside(source, rows)
            if mapping:
                log.info("%s: fields are named as dataset_info.json says", source)
    except OSError as error:
        raise AssayError(f"{source}: cannot be read ({reason(error)})") from None
    corpus = corpus_of(rows, source, format, mapping, skip_bad_rows)
    return replace(corpus, split=split) if rows.container == "datasets" else corpus


def check_format(format: str | None) -> None:
    """Make sure that a format is known.

    Raises:
        AssayError: It is not.
    """
    if format is not None and format not in FORMATS:
        raise AssayError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")


def _chosen_format(
    source: str, record: Mapping[str, Any], mapping: Mapping[str, str]
) -> str:
    """Choose the format of a file by what its parts are called, else by its fields."""
    if "response_marker" in mapping:
        return "text"
    if "chosen" in mapping or "rejected" in mapping:
        return "preference"
    if "label" in mapping:
        return "kto"
    if "messages" in mapping:
        return "messages"
    if "text" in mapping or "response" in mapping:
        return "columns"
    found = detect_format(record)
    if found is not None:
        return found
    if is_plain_text(record):
        raise AssayError(
            f"{source}: field 'text' has no markers of a known chat template; if it "
            "holds prompt and response, name what stands between them: "
            '--response-marker "### Response:"'
        )
    raise AssayError(
        f"{source}: unknown format, its fields are {listed(record)}; "
        "name the columns: --map text=COLUMN --map response=COLUMN"
    )


# Formats whose rows may bear a label of KTO, in the first row or later.
_JUDGED = ("prompt-completion", "conversational", "messages", "sharegpt", "alpaca")


def _is_judged(record: Mapping[str, Any]) -> bool:
    labelled = record.get("label") is not None or "kto_tag" in record
    return labelled and detect_format(record) == "kto"


def _check_columns(
    source: str, format: str, rows: Rows, mapping: Mapping[str, str]
) -> None:
    if format == "columns" and not {"text", "response"} <= set(mapping):
        raise AssayError(
            "the columns format needs --map text=COLUMN --map response=COLUMN"
        )
    for part in PARTS[: PARTS.index("role")]:
        column = mapping.get(part)
        if part == "text" and column == "input" and "instruction" in mapping:
            # Alpaca's, of which many sets have none.
            continue
        if column is not None and not any(column in r for r in rows.records):
            raise AssayError(
                f"{source}: no column {listed([column])}; it has "
                f"{listed(rows.records[0])}"
            )
    known = names_of(format, mapping)
    parts: dict[str, list[str]] = {}
    for part in PARTS[: PARTS.index("role")]:
        if part in known:
            parts.setdefault(known[part], []).append(part)
    for column, twice in parts.items():
        if len(twice) > 1:
            raise AssayError(
                f"{source}: column {listed([column])} is named as "
                f"{' and '.join(twice)}; name another one for each"
            )


def _read_row(
    record: Mapping[str, Any],
    row: int,
    format: str,
    mapping: Mapping[str, str],
    where: str,
) -> Reading:
    try:
        return read_record(record, row, format, mapping, where)
    except RecursionError:
        raise AssayError(f"{where}: its fields are nested too deep; {MEND}") from None


def corpus_of(
    rows: Rows,
    source: str,
    format: str | None,
    mapping: Mapping[str, str] | None,
    skip_bad_rows: bool = False,
) -> Corpus:
    """Turn records into a corpus.

    Fields that are not read, and rows that are left out, are named once.

    Args:
        rows: The records.
        source: Where they are from; for messages.
        format: Record format; by default it is detected from the first record.
        mapping: What parts of the records are called.
        skip_bad_rows: Leave out what cannot be read.

    Raises:
        AssayError: There are none, a record is not as its format says, or the format
            is unknown.
    """
    check_format(format)
    bad = {b.row: b.reason for b in rows.bad}
    sound = [r for i, r in enumerate(rows.records) if i not in bad]
    if not rows.records:
        raise AssayError(f"{source}: no rows in it")
    if not sound:
        raise AssayError(f"{source}: no row of it can be read; {rows.bad[0].reason}")
    mapping = dict(mapping or {})
    first = sound[0]
    if skip_bad_rows:
        # A row that cannot be read says nothing of the others.
        first = next((r for r in sound if detect_format(r)), first)
    chosen = format or _chosen_format(source, first, mapping)
    if format is None and chosen in _JUDGED and any(map(_is_judged, sound)):
        # Not every row may say whether its answer is wanted.
        chosen = "kto"
    _check_columns(source, chosen, rows, mapping)
    examples: list[Example] = []
    left: list[LeftOut] = []
    unread: Counter[str] = Counter()
    for i, record in enumerate(rows.records):
        if i in bad:
            left.append(LeftOut(i, bad[i], is_bad=True))
            continue
        try:
            found = _read_row(record, i, chosen, mapping, rows.where(source, i))
        except AssayError as error:
            if not skip_bad_rows:
                raise
            left.append(LeftOut(i, str(error), is_bad=True, record=record))
            continue
        unread.update(found.unread)
        if found.left_out:
            left.append(LeftOut(i, found.left_out, is_bad=False, record=record))
        else:
            examples.append(found.example)
    _tell(source, unread, left)
    if not examples:
        raise AssayError(f"{source}: no row of it can be used; {left[0].reason}")
    return Corpus(
        _unique(examples),
        chosen,
        rows.container,
        source,
        mapping,
        rows.payload,
        left_out=tuple(left),
        suffix=rows.suffix,
    )


# Reasons and rows that are told one by one.
_TOLD = 5


def _tell(source: str, unread: Counter[str], left: Sequence[LeftOut]) -> None:
    if unread:
        names = [
            f"{shortened(str(name), 60)} ({count} rows)"
            for name, count in unread.most_common(20)
        ]
        more = len(unread) - len(names)
        rest = f", and {more} more" if more > 0 else ""
        log.warning("%s: fields not read: %s%s", source, ", ".join(names), rest)
    sound = Counter(row.reason for row in left if not row.is_bad)
    for why, count in sound.items():
        log.warning("%s: %d rows are left out: %s", source, count, why)
    bad = [row for row in left if row.is_bad]
    if bad:
        log.warning("%s: %d rows cannot be read and are left out:", source, len(bad))
        for row in bad[:_TOLD]:
            log.warning("  %s", row.reason)
        if len(bad) > _TOLD:
            log.warning("  … and %d more", len(bad) - _TOLD)
