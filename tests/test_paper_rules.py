from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from assay.errors import AssayError
from assay.paper_rules import PaperRules
from assay.settings import ScanSettings, scan_settings


def test_the_papers_parameters() -> None:
    rules = PaperRules()
    # Table 3: variance flags 33 poisons with a precision of 66 %, 50 of 1,000 rows.
    assert round(33 / 0.66) == round(1000 * (1 - rules.percentile / 100)) == 50
    # "Across multiple transform categories", "15% low".
    assert (rules.votes, rules.low_share) == (2, 0.15)
    assert (rules.top_k, rules.combine, rules.scaling) == (None, "union", "none")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 0}, "top_k=0: expected a whole number of at least 1"),
        ({"percentile": 100.1}, "percentile=100.1: expected a number from 0 to 100"),
        ({"votes": 0}, "votes=0: expected a whole number of at least 1"),
        ({"low_share": 0.0}, "low_share=0.0: expected a number above 0"),
        ({"combine": "both"}, "unknown combine 'both'; known: union, intersection"),
        ({"scaling": "z"}, "unknown scaling 'z'; known: none, deviations"),
        ({"single_transform": 3}, "single_transform=3: expected str or None"),
    ],
)
def test_what_they_may_be(given: dict[str, Any], message: str) -> None:
    for kind in (PaperRules, ScanSettings):
        with pytest.raises(AssayError, match=message):
            kind(**given)


def test_a_scan_has_them_all_with_the_same_defaults() -> None:
    assert ScanSettings().rules == PaperRules()
    other = {
        "top_k": 50,
        "percentile": 90.0,
        "votes": 3,
        "combine": "intersection",
        "single_transform": "sorry-not",
        "low_share": 0.85,
        "scaling": "deviations",
    }
    assert set(other) == {f.name for f in fields(PaperRules)}
    assert scan_settings(other).rules == PaperRules(**other)  # type: ignore[arg-type]


def test_transforms_are_a_list_of_names() -> None:
    assert ScanSettings().transforms == ()
    assert scan_settings({"transforms": ["a", "b"]}).transforms == ("a", "b")
    for wrong in ("sorry-not", (1,), None):
        with pytest.raises(AssayError, match=r"transforms=.*: expected a tuple of"):
            scan_settings({"transforms": wrong})
