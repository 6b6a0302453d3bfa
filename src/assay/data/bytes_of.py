"""The bytes of a file or a pipe, unpacked; and writing them packed as they were."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assay.data.layout import COMPRESSED
from assay.errors import AssayError
from assay.util.messages import reason

_PIECE = 2**24
# A packed file of a few megabytes can hold more than any memory.
_SHARE = 0.5


def is_stream(source: str) -> bool:
    """Whether a source can be read only once: ``-``, a pipe, a named pipe."""
    if source == "-" or source.startswith(("/dev/stdin", "/dev/fd/")):
        return True
    try:
        mode = Path(source).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def read_stream(source: str) -> bytes:
    """Read standard input or a pipe to its end.

    Raises:
        AssayError: It is empty, or a terminal.
    """
    if source == "-" and sys.stdin.isatty():
        raise AssayError("-: nothing is piped in; name a file, or pipe one in")
    file: Any = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
    with file:
        raw: bytes = file.read()
    if not raw:
        raise AssayError(f"{source}: nothing came through the pipe")
    return raw


def compression_of(suffix: str) -> str | None:
    """Name what packs a file by the end of its name; None where nothing does."""
    return COMPRESSED.get(Path(f"x{suffix}").suffix.lower())


def read_bytes(path: Path, suffix: str) -> bytes:
    """Read a file, unpacked where its name says that it is packed.

    Raises:
        AssayError: It cannot be unpacked, or would fill the memory.
    """
    packed = compression_of(suffix)
    if packed is None or path.stat().st_size == 0:
        return path.read_bytes()
    import psutil
    import pyarrow as pa

    most = int(psutil.virtual_memory().available * _SHARE)
    pieces, size = [], 0
    try:
        with pa.input_stream(str(path), compression=packed) as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                if size > most:
                    raise AssayError(
                        f"{path}: unpacked it has more than {most / 2**30:.1f} GiB, "
                        "half of the free memory; split it into several files"
                    )
                pieces.append(piece)
    except (OSError, pa.ArrowException) as error:
        raise AssayError(
            f"{path}: cannot be unpacked as {packed} ({reason(error)})"
        ) from None
    return b"".join(pieces)


def write_pieces(pieces: Iterable[str], path: Path, suffix: str) -> None:
    """Write a text piece by piece, packed where a name with this suffix says so."""
    packed = compression_of(suffix)
    if packed is None:
        with path.open(
            "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            file.writelines(pieces)
        return
    import pyarrow as pa

    with pa.output_stream(str(path), compression=packed, buffer_size=_PIECE) as packing:
        for piece in pieces:
            packing.write(piece.encode("utf-8", "surrogateescape"))
