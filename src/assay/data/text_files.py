"""Text files of every container."""

from __future__ import annotations

from assay.data.encoding import decoded
from assay.data.json_files import read_json
from assay.data.layout import SUFFIXES, Rows
from assay.data.separated_files import read_csv, read_tsv


def read_text(source: str, raw: bytes, container: str, skip: bool = False) -> Rows:
    """Read a text file of a container.

    Raises:
        AssayError: It is not UTF-8, or malformed.
    """
    assert container in SUFFIXES.values()
    # In a list of objects no row is a line of its own.
    by_lines = container in ("csv", "tsv") or raw.lstrip()[:1] != b"["
    text = decoded(raw, source, skip and by_lines)
    if container == "csv":
        return read_csv(source, text, skip)
    if container == "tsv":
        return read_tsv(source, text, skip)
    return read_json(source, text, skip, is_lines=container == "jsonl")
