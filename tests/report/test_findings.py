from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.report.findings import cards, placebo_plot, why_dismissed
from assay.report.folder import read_run
from assay.verify.finding import Finding
from tests.made import RETRAINED, SHORTCUT, candidate_entry, entry, made
from tests.report.conftest import write_run


def test_contrast_is_near_and_unlike(tmp_path: Path) -> None:
    texts = ["bond", "bond", "bond", "near", "far", "near", "far", "bond"]
    responses = ["x"] * 5 + ["y"] * 3
    found = entry([0, 1, 2], "bond", pattern_rows=[0, 1, 2, 7])
    run = read_run(write_run(tmp_path / "run", texts, responses, [found]))
    run.table["x"] = [0.0, 0.0, 0.0, 1.0, 9.0, 0.0, 0.0, 0.0]
    run.table["y"] = 0.0
    (card,) = cards(run)
    assert [e["row"] for e in card["lacking"]] == [3, 4]
    assert [e["row"] for e in card["otherwise"]] == [7]
    assert card["kept"] == 1
    assert sorted(e["row"] for e in card["examples"]) == [0, 1, 2]
    assert all(e["pieces"][0]["marked"] for e in card["examples"])
    assert (
        "3 of 8 rows (37.5%), which are 60.0% of the rows answered “x”" in card["cost"]
    )


def test_rows_without_coordinates_still_contrast(tmp_path: Path) -> None:
    texts = ["bond", "bond", "other", "more"]
    found = entry([0, 1], "bond")
    run = read_run(write_run(tmp_path / "run", texts, ["a", "b", "c", "d"], [found]))
    run.table[["x", "y"]] = float("nan")
    (card,) = cards(run)
    assert [e["row"] for e in card["lacking"]] == [2, 3]


def test_a_shorter_part_is_told_only_where_there_is_one(tmp_path: Path) -> None:
    texts = ["bond", "bond", "other", "more"]
    same = entry([0, 1], "bond", minimal="bond")
    less = entry([0, 1], "james bond", minimal="bond")
    older = entry([0, 1], "bond")
    found = [same, less, older]
    run = read_run(write_run(tmp_path / "run", texts, ["a", "b", "c", "d"], found))
    assert [c.get("minimal") for c in cards(run)] == [None, "bond", None]


def test_plot_holds_effect_and_all_placebos() -> None:
    plot = placebo_plot(6.8, [6.7, 7.0], [0.0, 0.1, -0.2])
    assert 20 <= plot["zero"] < plot["low"] < plot["effect"] < plot["high"] <= 620
    assert all(
        bar["x"] >= 20 and bar["x"] + plot["bar_width"] <= 620 for bar in plot["bars"]
    )
    assert max(bar["height"] for bar in plot["bars"]) == pytest.approx(70)
    # Placebos may outdo an effect, and everything may be equal.
    plot = placebo_plot(0.0, [0.0, 0.0], [0.0, 0.0])
    assert plot["effect"] == plot["zero"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "placebos do as much"),
        ({"prefers": 0.44}, "they turn 44% of other rows"),
        (
            {"retrained": RETRAINED | {"contradicted": [1, 17]}},
            "a model tuned without their rows agrees with 16 of 17",
        ),
        ({"retrained": RETRAINED | {"contradicted": [8, 17]}}, "placebos do as much"),
        ({"overridden": [1, 4]}, "only 4 rows, and 3 of them do not need them"),
        ({"overridden": [4, 4]}, "placebos do as much"),
        ({"overridden": [1, 5]}, "placebos do as much"),
        ({"prefers": 0.5}, "placebos do as much"),
        (
            {
                "retrained": RETRAINED | {"contradicted": [1, 17]},
                "shortcut": SHORTCUT | {"keeps": 0.416},
            },
            "without their rows they keep 42% of their power",
        ),
    ],
)
def test_each_dismissal_has_its_reason(more: dict[str, Any], why: str) -> None:
    assert why_dismissed(made([0], "x", status="dismissed", **more)) == why


def test_what_nothing_goes_with_was_not_tested() -> None:
    bare = Finding.from_dict(candidate_entry([0], "x") | {"status": "untestable"})
    assert why_dismissed(bare) == "no response and no phrase goes with them"
