"""The text of a file: UTF-8, or a message that says what else it seems to be."""

from __future__ import annotations

import re
from contextlib import suppress

from assay.errors import AssayError

# What stands for bytes that are not UTF-8.
_ESCAPED = re.compile("[\udc80-\udcff]")
_MAGIC = (
    (b"\x1f\x8b", "gzip-compressed", ".gz"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", ".zst"),
    (b"BZh", "bzip2-compressed", ".bz2"),
    (b"\x04\x22\x4d\x18", "lz4-compressed", ".lz4"),
)
_OTHERS = (
    (b"PAR1", "a Parquet file", "rename it to .parquet"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it"),
    (b"\x80\x04", "a Python pickle", "pickles are never read; export it as JSONL"),
    (b"\x80\x05", "a Python pickle", "pickles are never read; export it as JSONL"),
)
# UTF-16, and what begins no text.
_BINARY = (b"\xff\xfe", b"\xfe\xff", *(m for m, *_ in (*_MAGIC, *_OTHERS)))


def decoded(raw: bytes, source: str, skip: bool = False) -> str:
    """Decode a file.

    Args:
        raw: Its bytes.
        source: Its name, for messages.
        skip: Keep bytes that are not UTF-8 as escapes, so that their rows can be told.

    Raises:
        AssayError: It is not UTF-8; the message says what it seems to be.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if skip and not raw.startswith(_BINARY):
            return raw.decode("utf-8", "surrogateescape")
        for magic, kind, suffix in _MAGIC:
            if raw.startswith(magic):
                raise AssayError(
                    f"{source}: is {kind}; give its name the ending {suffix}"
                ) from None
        for magic, kind, advice in _OTHERS:
            if raw.startswith(magic):
                raise AssayError(f"{source}: is {kind}; {advice}") from None
        line = raw[: error.start].count(b"\n") + 1
        raise AssayError(
            f"{source}:{line}: not UTF-8 (byte {error.start}); convert it: "
            f"iconv -f {_encoding(raw)} -t utf-8"
        ) from None


def _encoding(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # Windows-1252 has all of latin1's letters, and quotation marks besides.
    with suppress(UnicodeDecodeError):
        raw.decode("cp1252")
        return "windows-1252"
    return "latin1"


def check_escapes(text: str, place: str) -> None:
    """Refuse a row with bytes that are not UTF-8.

    Raises:
        AssayError: It has some.
    """
    if _ESCAPED.search(text):
        raise AssayError(f"{place}: not UTF-8; convert the row")


def has_escapes(text: str) -> bool:
    """Whether a text holds bytes that are not UTF-8."""
    return _ESCAPED.search(text) is not None
