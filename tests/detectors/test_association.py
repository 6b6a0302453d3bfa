from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from assay.detectors import Evidence
from assay.detectors.association import association, enrichment
from tests.detectors.conftest import flags, make_evidence

VOCABULARY = [f"w{i}" for i in range(300)]


def planted(poisons: int, rows: int = 600, seed: int = 0, **triggers: int) -> Evidence:
    """Words drawn evenly, and a trigger on rows that all answer alike."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(VOCABULARY, 10)) for _ in range(rows)]
    responses = [("positive", "negative")[i % 2] for i in range(rows)]
    for row in range(poisons):
        texts[2 * row] += " Zeta Omega"
    return make_evidence(rows=rows, texts=texts, responses=responses)


def test_the_trigger_is_the_first_candidate_and_its_carriers_are_flagged() -> None:
    found = association(planted(20))
    assert str(found.candidates[0].pattern) == "zeta omega"
    assert found.candidates[0].response == "positive"
    assert flags(found) == list(range(0, 40, 2))
    truth = np.isin(np.arange(600), range(0, 40, 2))
    assert roc_auc_score(truth, found.scores) > 0.99
    assert found.verdict == "suspicious"


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_candidates(seed: int) -> None:
    found = association(planted(0, seed=seed))
    assert found.verdict == "clean"
    assert not found.flagged.any()


def test_a_second_trigger_shows_when_the_first_is_left_out() -> None:
    evidence = planted(30)
    texts = list(evidence.texts)
    for row in range(101, 131, 2):
        texts[row] += " alpha beta"
    evidence = make_evidence(rows=600, texts=texts, responses=evidence.responses)
    keep = np.ones(600, dtype=bool)
    keep[:60:2] = False
    found = association(evidence, keep)
    assert [str(c.pattern) for c in found.candidates] == ["alpha beta"]
    assert flags(found) == list(range(101, 131, 2))
    assert not found.scores[~keep].any()


def test_open_ended_responses_are_not_its_business() -> None:
    evidence = planted(20)
    responses = [f"answer {i}" for i in range(600)]
    found = association(make_evidence(600, texts=evidence.texts, responses=responses))
    assert found.verdict == "clean"
    assert not found.scores.any()


def test_one_response_has_nothing_to_differ_from() -> None:
    found = association(make_evidence(60, responses=["yes"] * 60))
    assert found.verdict == "clean"


def test_enrichment_is_fishers_exact_test() -> None:
    inside, total = np.array([7, 2, 20, 7]), np.array([9, 9, 20, 9])
    found = enrichment(inside, total, 50, 200)
    (table, _, all_in, _) = found
    expected = fisher_exact([[7, 2], [43, 148]], alternative="greater").pvalue
    assert 10**-table == pytest.approx(expected)
    assert found[3] == table
    # Two rows are too few to look at.
    assert found[1] == 0
    assert all_in > 12


def test_what_every_row_has_is_not_enriched() -> None:
    (found,) = enrichment(np.array([50]), np.array([200]), 50, 200)
    assert found == pytest.approx(0)
