"""What messages are made of: names, texts of others cut short, reasons of errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

# A hostile file can name a million columns, each a page long.
_NAMED = 20
_NAME = 60


def shortened(text: str, length: int) -> str:
    """Cut a text for messages."""
    return text if len(text) <= length else text[: length - 1] + "…"


def listed(names: Iterable[Any]) -> str:
    """List names for messages, the first of very many."""
    found = list(names)
    shown = [shortened(repr(n), _NAME) for n in found[:_NAMED]]
    if len(found) > _NAMED:
        shown.append(f"… ({len(found)} in all)")
    return ", ".join(shown) or "none"


def reason(error: BaseException, length: int = 160) -> str:
    """Say in one short line what a library's error is about."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:length] or type(error).__name__
