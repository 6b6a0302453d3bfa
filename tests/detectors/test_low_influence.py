from __future__ import annotations

import numpy as np

from assay.detectors.low_influence import low_influence
from assay.paper_rules import PaperRules
from tests.detectors.conftest import flags, make_evidence


def test_the_lowest_share_is_flagged() -> None:
    # 20 rows from -10 to 9, shuffled; three of them are 15 %.
    values = np.random.default_rng(0).permutation(np.arange(20.0) - 10)
    evidence = make_evidence(influence={"original": values, "a": -values})
    found = low_influence(evidence)
    assert sorted(values[found.flagged]) == [-10, -9, -8]
    np.testing.assert_array_equal(np.argsort(found.scores), np.argsort(-values))
    two = low_influence(evidence, PaperRules(low_share=0.1))
    assert sorted(values[two.flagged]) == [-10, -9]


def test_the_papers_figures_are_of_the_lowest_85_percent() -> None:
    # Section 3.8: 5 % poison, recall 100 %, precision 5.9 %, F1 11.1 %.
    values = np.arange(20.0)
    evidence = make_evidence(influence={"original": values, "a": values})
    found = flags(low_influence(evidence, PaperRules(low_share=0.85)))
    assert len(found) == 17
    precision = 1 / len(found)
    assert round(precision, 3) == 0.059
    assert round(2 * precision / (precision + 1), 3) == 0.111


def test_rows_that_were_not_measured_are_not_low() -> None:
    values = np.array([np.nan, 5, 6, 7, 8.0, 9, 10])
    found = low_influence(make_evidence(influence={"original": values, "a": values}))
    assert flags(found) == [1]
    assert found.scores[0] == found.scores.min()
