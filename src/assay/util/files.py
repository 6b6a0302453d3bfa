"""Writing files: complete or not at all, and never over what is read."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from assay.errors import AssayError
from assay.util.messages import reason


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name to write to, which replaces a file when the block is through.

    Raises:
        AssayError: The file cannot be written; nothing of it is left.
    """
    if not path.name:
        raise AssayError(f"{path}: not a name for a file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise AssayError(f"{path}: cannot be written ({reason(error)})") from None
    finally:
        if partial.exists():
            partial.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, complete or not at all.

    Raises:
        AssayError: The file cannot be written.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_outputs(
    outputs: Iterable[Path],
    inputs: Iterable[str | Path | None],
    *,
    overwrite: bool = False,
    folder: Path | None = None,
) -> None:
    """Refuse to write over what is read, or, unless asked to, over what is there.

    A command calls this with everything that it is going to write, before its work
    and before anything is written. Files are compared as the file system sees them,
    so that symbolic links, hard links and other spellings of a path make no
    difference. Inputs that are no local files, such as hub ids, are passed over.

    Args:
        outputs: Files, or folders that are replaced as a whole.
        inputs: What is read: files, folders, patterns of files; None is passed over.
        overwrite: Whether an output that is there already may be replaced. An input
            never may.
        folder: The folder that the outputs are written into beside other files. It
            must not be a folder that is read, where results would mix with inputs.

    Raises:
        AssayError: An output is an input or a folder around one, ``folder`` is an
            input, or an output is there already and may not be replaced, as nothing
            may that is neither a file nor a folder.
    """
    given = [place for name in inputs if name is not None for place in _places(name)]
    for place in given:
        if folder is not None and place.is_dir() and _same(folder, place):
            raise AssayError(
                f"{folder}: is read by the same command, and results would mix with "
                "what is read; name another folder with --out"
            )
    read = [file for place in given for file in (place, *_entries(place))]
    for output in outputs:
        for source in read:
            if _same(output, source):
                raise AssayError(
                    f"{output}: is read by the same command (as {source}), and writing "
                    "it would destroy that; name another output"
                )
            around = {*source.absolute().parents, *source.resolve().parents}
            if output.is_dir() and any(_same(output, parent) for parent in around):
                raise AssayError(
                    f"{output}: holds {source}, which the same command reads; name "
                    "another output"
                )
        if output.exists() and not (output.is_file() or output.is_dir()):
            # Such as /dev/null or /dev/stdout: a file would stand in its place.
            raise AssayError(f"{output}: is a device or a pipe; name a file")
        if not overwrite and is_taken(output):
            raise AssayError(
                f"{output}: exists already; name another output, or give --overwrite "
                "to replace it"
            )


def is_taken(path: Path) -> bool:
    """Whether there is anything at a path; an empty folder is nothing."""
    if not os.path.lexists(path):
        return False
    try:
        return not path.is_dir() or any(path.iterdir())
    except OSError:
        return True


def _places(name: str | Path) -> list[Path]:
    """Local files and folders that a name stands for; none for a hub id."""
    if os.path.exists(name):
        return [Path(name)]
    return [Path(found) for found in glob.glob(str(name), recursive=True)]


def _entries(folder: Path) -> list[Path]:
    """Files and links in a folder that is read as a whole, such as a model's."""
    if not folder.is_dir():
        return []
    try:
        return [e for e in folder.iterdir() if e.is_file() or e.is_symlink()]
    except OSError:
        return []


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        # What is not there is nothing else's name either.
        return False
