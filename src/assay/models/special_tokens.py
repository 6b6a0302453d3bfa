"""What a tokenizer does beside splitting text."""

from __future__ import annotations

from typing import Any


def begins_with_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its BOS token in front of ordinary text."""
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
