from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import strategies as st

WORDS = """not Not never good GOOD is n't isn’t ca would've cannot the A but likable
, . ... !? - '"""
SMALL_WORDS = st.sampled_from([*WORDS.split(), " ", "\n"])
# Any text at all, and texts dense in what the transforms look for.
TEXTS = (
    st.text() | st.lists(SMALL_WORDS).map(" ".join) | st.lists(SMALL_WORDS).map("".join)
)

REPEATED = "not |not  |a-|a'|'s |, | ,|,  but|n't|is n|can|good |a , b |.|. |’|n’| |\n"
SPACES = " " * 100_000
HOSTILE = [
    *(part * (100_000 // len(part)) for part in REPEATED.split("|")),
    *(f"{start}{SPACES}{end}" for start in ("not", "x", "x,", "'s") for end in "!y"),
]


@pytest.fixture
def quick() -> Callable[[Callable[[str], object]], None]:
    """Run a function on hostile texts; quadratic time takes minutes there."""

    def check(function: Callable[[str], object]) -> None:
        for text in HOSTILE:
            start = time.process_time()
            function(text)
            assert time.process_time() - start < 2, repr(text[:20])

    return check
