"""Writing files, complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from assay.data.layout import reason
from assay.errors import AssayError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name to write to, which replaces a file when the block is through.

    Raises:
        AssayError: The file cannot be written; nothing of it is left.
    """
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
