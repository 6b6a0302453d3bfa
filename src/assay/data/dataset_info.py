"""LLaMA-Factory's ``dataset_info.json``: what the fields of a file are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assay.data.formats.base import shown
from assay.data.layout import Rows
from assay.errors import AssayError

NAME = "dataset_info.json"
_COLUMNS = {
    "system": "system",
    "tools": "tools",
    "history": "history",
    "messages": "messages",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "label",
}
_ALPACA = {"prompt": "instruction", "query": "text", "response": "response"}
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system_role",
}


def columns_beside(source: str, rows: Rows) -> dict[str, str]:
    """Read what a ``dataset_info.json`` beside the data says of them.

    Args:
        source: A file, folder or pattern.
        rows: What was read from it, which knows its files.

    Returns:
        Parts of an example to names of fields, as ``--map`` gives them; empty where
        there is no such file, or nothing about this one in it.

    Raises:
        AssayError: It says something that cannot be read as names.
    """
    given = Path(source)
    # A data set of LLaMA-Factory may be a folder as well.
    paths = [given, *(Path(name) for _, name in rows.sources[:1])]
    for path in (p for p in paths if p.exists()):
        info = path.parent / NAME
        try:
            known = json.loads(info.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for entry in known.values() if isinstance(known, dict) else ():
            if isinstance(entry, dict) and entry.get("file_name") == path.name:
                return _mapping(entry, f"{info}: the entry of {path.name}")
    return {}


def _mapping(entry: dict[str, Any], where: str) -> dict[str, str]:
    named: dict[str, Any] = {}
    for part in ("columns", "tags"):
        given = entry.get(part)
        if given is not None and not isinstance(given, dict):
            raise AssayError(
                f"{where}: {part} is {shown(given)}, expected an object that names "
                "fields"
            )
        named |= {k: v for k, v in (given or {}).items() if v is not None}
    for key, value in named.items():
        if not isinstance(value, str):
            raise AssayError(
                f"{where}: {shown(key)} is {shown(value)}, expected a field's name"
            )
    is_chat = entry.get("formatting", "alpaca") != "alpaca"
    known = {**_COLUMNS, **(_TAGS if is_chat else _ALPACA)}
    found = {known[key]: name for key, name in named.items() if key in known}
    if not is_chat and found:
        if "chosen" in found:
            # Of a ranking the prompt is what else would be the instruction.
            found.setdefault("text", found.pop("instruction", "instruction"))
            found.pop("response", None)
            return found
        found.setdefault("instruction", "instruction")
        found.setdefault("text", "input")
        found.setdefault("response", "output")
    return found
