"""Names of models and data sets on the Hugging Face hub, and when one is looked up.

A name is sent out only where it is written ``hf://owner/name``. A plain ``owner/name``
is more often a mistyped path, and paths tell what people work on: it is looked for in
the local cache of the hub and nowhere else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.errors import AssayError

SCHEME = "hf://"
# Of files of rows, packed or not, and of models.
FILE_ENDINGS = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"})
FILE_ENDINGS |= {".txt", ".gz", ".zst", ".bz2", ".lz4", ".zip", ".gguf"}

# What the hub itself allows (huggingface_hub.utils.validate_repo_id), less `--`,
# `..` and an ending in `.git`, which `is_hub_name` refuses.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:{_PART}/)?{_PART}")

# All that a model is read from; pickles are not even fetched.
MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class HubName:
    """A model or data set on the hub.

    Attributes:
        name: ``owner/name``, or ``name`` alone.
        online: Whether the hub may be asked; otherwise its local cache alone.
    """

    name: str
    online: bool


def is_hub_name(name: str) -> bool:
    """Whether the hub could hold something of this name."""
    return bool(_NAME.fullmatch(name)) and not re.search(r"--|\.\.|\.git$", name)


def parse_hub(spec: str) -> HubName | None:
    """Read a name of the hub as users write it.

    Args:
        spec: ``hf://owner/name``, ``hf://name`` or ``hf://datasets/owner/name``, for
            which the hub may be asked, or a plain ``owner/name``, for which it may
            not.

    Returns:
        The name; None for what is not one, such as other paths.

    Raises:
        AssayError: After ``hf://`` stands no name.
    """
    if not spec.startswith(SCHEME):
        plain = spec.count("/") == 1 and is_hub_name(spec)
        return HubName(spec, online=False) if plain else None
    name = spec.removeprefix(SCHEME)
    if name.count("/") == 2:
        name = name.removeprefix("datasets/")
    if not is_hub_name(name):
        raise AssayError(
            f"{spec}: not a name on the hub; they look like {SCHEME}owner/name"
        )
    return HubName(name, online=True)


def not_found(kind: str, spec: str) -> AssayError:
    """Say that a plain name is no path, and how the hub is asked.

    Args:
        kind: ``model`` or ``data set``.
        spec: What the user wrote.
    """
    what = "folder, GGUF file or alias" if kind == "model" else "file or folder"
    # Who names a file means a file.
    named = spec.count("/") <= 1 and is_hub_name(spec)
    file = Path(spec).suffix.lower() in FILE_ENDINGS
    hint = f"; for the hub's {kind} write {SCHEME}{spec}" if named and not file else ""
    return AssayError(f"{kind} {spec!r}: no such {what}{hint}")


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the hub library's retries, hints and progress bars off the terminal."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hidden = are_progress_bars_disabled()
    loggers = [logging.getLogger(n) for n in ("huggingface_hub", "httpx", "httpx2")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not hidden:
            enable_progress_bars()


def model_folder(hub: HubName) -> Path | None:
    """Find, or where allowed fetch, the folder of a model on the hub.

    Args:
        hub: The model's name.

    Returns:
        Its folder in the local cache; None where it may not be fetched and is not
        there.

    Raises:
        AssayError: It cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    with quiet_hub():
        try:
            return Path(
                snapshot_download(
                    hub.name,
                    local_files_only=not hub.online,
                    allow_patterns=MODEL_FILES,
                    # Copies of the same weights for other programs.
                    ignore_patterns=["*/*", "consolidated*"],
                )
            )
        except Exception as error:
            if not hub.online:
                return None
            reason = " ".join(str(error).split())[:200]
            raise AssayError(
                f"{SCHEME}{hub.name}: cannot be fetched from the hub: {reason}"
            ) from error
