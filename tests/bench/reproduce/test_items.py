from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.bench.reproduce.figure_1 import figure_1
from assay.bench.reproduce.items import ALL, ITEMS, chosen
from assay.bench.reproduce.reasons import REASONS
from assay.bench.reproduce.results import counts
from assay.bench.reproduce.run import COMPUTED
from assay.bench.reproduce.section_3_4 import section_3_4
from assay.bench.reproduce.section_3_8 import section_3_8
from assay.bench.reproduce.table_3 import table_3
from assay.bench.reproduce.table_4 import table_4
from assay.bench.reproduce.table_5 import table_5
from assay.errors import AssayError
from assay.paper_rules import PaperRules
from tests.detectors.conftest import make_evidence

# Twenty rows. What one transform of each of two categories leaves of their influence:
# rows 0 and 1 stay, row 2 stays under one of the two, row 3 turns, the others are weak.
BEFORE = np.array([10.0, 9, 8, 7, *[1] * 16])
LEXICON = np.array([10.0, 9, 8, -7, *[1] * 16])
SEMANTIC = np.array([10.0, 9, -8, -7, *[1] * 16])
EVIDENCE = make_evidence(
    influence={
        "original": BEFORE,
        "prefix-negation": LEXICON,
        "paraphrase": SEMANTIC,
    },
    categories={"prefix-negation": "lexicon", "paraphrase": "semantic"},
)
RULES = PaperRules(top_k=2, single_transform="prefix-negation")


def figures(result: object) -> dict[tuple[str, str], float]:
    return {(v.measure, v.of): v.value for v in result.values()}  # type: ignore[attr-defined]


def test_counts_of_a_rule() -> None:
    flagged = np.zeros(20, dtype=bool)
    flagged[[0, 5, 6, 7]] = True
    found = counts(flagged, [0, 1])
    assert (found.rows, found.poisons, found.flagged, found.true) == (20, 2, 4, 1)
    assert (found.precision, found.recall) == (0.25, 0.5)
    assert found.f1 == pytest.approx(1 / 3)
    # Three clean rows flagged, and one poison missed.
    assert found.accuracy == pytest.approx(16 / 20)


def test_the_paper_contradicts_itself_as_its_page_says() -> None:
    # Table 3's voting: 30 of 33 poisons and nothing else.
    flagged = np.zeros(1000, dtype=bool)
    flagged[:30] = True
    voting = counts(flagged, range(33))
    assert round(voting.recall, 2) == 0.91
    assert round(voting.accuracy, 3) == 0.997
    flagged[:943] = True
    assert round(counts(flagged, range(33)).precision, 3) == 0.035


def test_table_3_asks_the_four_rules() -> None:
    found = figures(table_3(EVIDENCE, [0, 1], RULES))
    # Single takes 0 and 1; variance 2, and no other varies; both categories vote for
    # 0 and 1; their union is three rows.
    assert [found["flagged", r] for r in ("single", "variance", "voting")] == [2, 1, 2]
    assert found["flagged", "combined"] == 3
    assert found["precision", "single"] == found["recall", "single"] == 1
    assert found["precision", "variance"] == found["recall", "variance"] == 0
    assert found["accuracy", "variance"] == pytest.approx(17 / 20)
    assert found["precision", "voting"] == found["f1", "voting"] == 1
    assert found["precision", "combined"] == pytest.approx(2 / 3)
    assert found["f1", "combined"] == pytest.approx(0.8)
    assert found["accuracy", "combined"] == pytest.approx(19 / 20)


@pytest.mark.parametrize(
    ("top_k", "flagged", "precision"), [(1, 1, 1.0), (2, 2, 1.0), (3, 3, 2 / 3)]
)
def test_section_3_4_counts_flagged_and_true_rows(
    top_k: int, flagged: int, precision: float
) -> None:
    rules = replace(RULES, top_k=top_k)
    found = figures(section_3_4(EVIDENCE, [0, 1], rules))
    assert found["flagged", "single"] == flagged
    assert found["true poisons", "single"] == min(flagged, 2)
    assert found["precision", "single"] == pytest.approx(precision)


def test_table_4_holds_each_category_out_both_ways() -> None:
    found = figures(table_4(EVIDENCE, [0, 1]))
    # On semantic, 9 separates the poisons, which on lexicon takes them and no other.
    assert found["precision", "lexicon"] == found["recall", "lexicon"] == 1
    # On lexicon as well: row 2, at 8, is under it.
    assert found["f1", "semantic"] == found["f1", "mean"] == 1
    assert found["f1", "deviation"] == 0
    # The 95th percentile of lexicon's is 9.05, between rows 0 and 1.
    by_percentile = "recall, threshold by percentile"
    assert found[by_percentile, "semantic"] == 0.5
    assert found["precision, threshold by percentile", "semantic"] == 1


def test_table_5_takes_the_numbers_of_rows_that_there_are() -> None:
    assert figures(table_5(EVIDENCE, [0, 1, 3], RULES)) == {
        # Row 3 turned and comes last, after 17 rows that stayed.
        ("true poison rate", "top 10"): pytest.approx(0.2),
        ("true poison rate", "top 20"): pytest.approx(0.15),
    }
    rates = table_5(EVIDENCE, [0, 1], RULES, ks=[1, 2, 3, 4, 21]).rates
    # For the fourth place there is a draw among sixteen equals, none a poison.
    assert rates == pytest.approx({1: 1, 2: 1, 3: 2 / 3, 4: 0.5})


def test_section_3_8_takes_the_lowest_of_both_shares() -> None:
    ramp = np.arange(20, dtype=float)
    evidence = make_evidence(
        influence={"original": ramp, "a": ramp}, categories={"a": "a"}
    )
    found = figures(section_3_8(evidence, [0, 3, 16, 17]))
    # The 15th percentile of 0 to 19 is 2.85, the 85th 16.15.
    assert found["flagged", "lowest 15 %"] == 3
    assert found["recall", "lowest 15 %"] == 0.25
    assert found["precision", "lowest 15 %"] == pytest.approx(1 / 3)
    assert found["flagged", "lowest 85 %"] == 17
    assert found["recall", "lowest 85 %"] == 0.75
    assert found["precision", "lowest 85 %"] == pytest.approx(3 / 17)


def test_figure_1_counts_before_and_after_in_the_same_bins() -> None:
    found = figure_1(EVIDENCE, [0, 3], RULES, bins=17)
    # From -0.7 to 1, in tenths of the largest influence.
    assert found.transform == "prefix-negation"
    assert found.edges[0] == pytest.approx(-0.7)
    assert found.edges[-1] == pytest.approx(1.0)
    assert sum(found.before.counts) == sum(found.after.counts) == 20
    assert (found.before.counts[0], found.after.counts[0]) == (0, 1)
    assert (found.before.poisons[0], found.after.poisons[0]) == (0, 1)
    assert sum(found.before.poisons) == 2
    assert found.before.mean == pytest.approx(0.25)
    assert found.after.mean == pytest.approx(0.18)
    # Of the poisons row 3 turned, and no clean row.
    assert (found.turned, found.poisons_turned) == (0, 0.5)
    bars = [v for v in found.values() if v.bar]
    assert len(bars) == 34
    assert sum(v.value for v in bars) == 40


def test_everything_built_is_computed_and_explained() -> None:
    built = [item.name for item in ITEMS if item.built]
    assert set(built) == set(COMPUTED) == set(REASONS)
    for names in ([], [ALL], ["table-3", ALL]):
        assert [item.name for item in chosen(names)] == built


def test_items_come_in_the_order_of_the_paper_and_once() -> None:
    found = chosen(["table-5", "figure-1", "table-5"])
    assert [item.name for item in found] == ["figure-1", "table-5"]


def test_items_that_there_are_not() -> None:
    with pytest.raises(AssayError, match="unknown item 'table-6'; known: table-1, "):
        chosen(["table-3", "table-6"])
    with pytest.raises(AssayError, match=r"^table-1, figure-2: not yet; "):
        chosen(["table-1", "table-3", "figure-2"])
