"""Making characters that hide in a text visible."""

from __future__ import annotations

import unicodedata

# Controls, invisible format characters (bidi overrides, zero-width, tags),
# lone surrogates, and line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""Replace control and invisible characters by escapes such as ``\x1b``."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _HIDDEN_CATEGORIES
        else character
        for character in text
    )
