"""Data sets of several files: folders, and patterns such as ``data/*.jsonl.gz``."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from assay.data.layout import BadRow, Record, Rows, Shard, container_of
from assay.errors import AssayError

_PATTERN = re.compile(r"[*?\[]")
# Files that lie beside data and hold none, by the end of their names.
_BESIDE = (
    "dataset_info.json",
    "dataset_infos.json",
    "state.json",
    ".attack.json",
    ".truth.json",
)
_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|dev|valid|validation|eval)(?=[/_.-]|$)")
_SAME = {"valid": "validation", "dev": "validation", "eval": "validation"}


def is_pattern(source: str) -> bool:
    """Whether a source is a pattern of file names."""
    return bool(_PATTERN.search(source)) and not Path(source).exists()


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder was written by ``datasets``' ``save_to_disk``."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def files_in(source: str, split: str) -> list[Path]:
    """List the data files of a folder or pattern, in the order of their names.

    Where the names of files say which split they belong to, as ``train-00000.jsonl``
    does, only those of the split are taken.

    Raises:
        AssayError: There are none, or none of the split.
    """
    if is_pattern(source):
        found = [Path(name) for name in glob.glob(source, recursive=True)]
        root = None
    else:
        root = Path(source)
        found = [Path(at) / n for at, _, names in os.walk(root) for n in names]
    kept = sorted(
        path
        for path in found
        if path.is_file()
        and container_of(path.name)
        and not path.name.endswith(_BESIDE)
        and not any(p.startswith(".") for p in _below(path, root).parts)
    )
    if not kept:
        what = "no data file matches" if root is None else "no data file in it;"
        raise AssayError(
            f"{source}: {what} (expected .jsonl, .json, .csv, .tsv or .parquet, also "
            ".gz, .zst, .bz2 or .lz4, or a folder saved by datasets)"
        )
    splits = {path: _split_of(_below(path, root)) for path in kept}
    if not any(splits.values()) or root is None:
        return kept
    wanted = _SAME.get(split, split)
    chosen = [p for p in kept if splits[p] == wanted]
    if not chosen:
        names = sorted({s for s in splits.values() if s})
        raise AssayError(
            f"{source}: its files are of the splits {', '.join(names)}, none of "
            f"{split!r}; use --split"
        )
    return chosen


def _below(path: Path, root: Path | None) -> Path:
    return Path(path.name) if root is None else path.relative_to(root)


def _split_of(path: Path) -> str:
    found = _SPLIT.search(path.as_posix().lower())
    return _SAME.get(found[1], found[1]) if found else ""


def joined(files: Sequence[Path], parts: Sequence[Rows]) -> Rows:
    """Put the rows of several files one behind the other.

    Args:
        files: The files.
        parts: The rows of each.
    """
    root = os.path.commonpath([f.parent for f in files])
    records: list[Record] = []
    lines: list[int] = []
    shards, bad, sources = [], [], []
    for path, part in zip(files, parts, strict=True):
        first = len(records)
        shards.append(
            Shard(
                os.path.relpath(path, root),
                part.container,
                part.suffix,
                part.payload,
                first,
                len(part.records),
            )
        )
        sources.append((first, str(path)))
        records += part.records
        # A line 0 stands for rows that are no lines.
        lines += part.lines or [0] * len(part.records)
        bad += [BadRow(first + b.row, b.reason) for b in part.bad]
    return Rows(records, "shards", tuple(shards), lines, bad, "", sources)
