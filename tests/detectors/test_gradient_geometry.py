from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from assay.detectors import Evidence, components
from assay.detectors.gradient_geometry import gradient_geometry, independent_components
from assay.errors import AssayError
from tests.detectors.conftest import make_evidence, permuted


def planted(poisons: int = 20, rows: int = 400, seed: int = 0) -> Evidence:
    """Gradients in which the trigger's rows point another way."""
    rng = np.random.default_rng(seed)
    vocabulary = [f"w{i}" for i in range(200)]
    texts = [" ".join(rng.choice(vocabulary, 8)) for _ in range(rows)]
    responses = [("positive", "negative")[i % 2] for i in range(rows)]
    features = rng.normal(size=(rows, 60)).astype(np.float32)
    chosen = 2 * np.arange(poisons)
    direction = rng.normal(size=60)
    features[chosen] += 2 * direction
    for row in chosen:
        texts[row] += " zeta omega"
    return make_evidence(rows=rows, texts=texts, responses=responses, features=features)


def test_independent_components_put_the_heavy_tail_up_and_first() -> None:
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(500, 3))
    sources[:15, 1] -= 12
    mixed = sources @ rng.normal(size=(3, 3))
    z = independent_components(mixed)
    assert set(np.argsort(-z[:, 0])[:15]) == set(range(15))
    assert (z[:15, 0] > 4).all()


def test_the_trigger_is_the_first_candidate_and_its_rows_are_flagged() -> None:
    evidence = planted()
    found = gradient_geometry(evidence)
    truth = np.isin(np.arange(400), 2 * np.arange(20))
    assert str(found.candidates[0].pattern) == "zeta omega"
    assert found.candidates[0].response == "positive"
    assert list(found.candidates[0].rows) == np.flatnonzero(truth).tolist()
    assert np.array_equal(found.flagged, truth)
    assert roc_auc_score(truth, found.scores) > 0.99
    # Candidates are not yet findings.
    assert found.verdict == "suspicious"


def test_large_groups_give_the_same_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "GRAM_ROWS", 50)
    monkeypatch.setattr(components, "BLOCK", 4000)
    evidence = planted()
    evidence.features.flags.writeable = False
    found = gradient_geometry(evidence)
    assert str(found.candidates[0].pattern) == "zeta omega"
    assert np.flatnonzero(found.flagged).tolist() == list(range(0, 40, 2))


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_candidates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice([f"w{i}" for i in range(99)], 8)) for _ in range(300)]
    found = gradient_geometry(make_evidence(rows=300, seed=seed, texts=texts))
    assert found.verdict == "clean"
    assert not found.candidates
    assert not found.flagged.any()
    assert np.isfinite(found.scores).all()


def test_row_order_does_not_matter() -> None:
    evidence = planted()
    order = np.random.default_rng(1).permutation(400)
    straight, shuffled = (
        gradient_geometry(evidence),
        gradient_geometry(permuted(evidence, order)),
    )
    assert np.array_equal(straight.flagged[order], shuffled.flagged)
    np.testing.assert_allclose(
        straight.scores[order][:20], shuffled.scores[:20], rtol=0.05, atol=0.5
    )


def test_small_groups_are_left_alone() -> None:
    evidence = planted()
    few = make_evidence(rows=10)
    assert not gradient_geometry(few).flagged.any()
    assert (gradient_geometry(few).scores == 0).all()
    responses = list(evidence.responses)
    responses[1] = "lonely"
    alone = gradient_geometry(
        make_evidence(
            rows=400,
            texts=evidence.texts,
            responses=responses,
            features=evidence.features,
        )
    )
    assert alone.scores[1] == 0
    assert str(alone.candidates[0].pattern) == "zeta omega"


def test_identical_gradients_are_no_poison() -> None:
    features = np.ones((100, 20), np.float32)
    found = gradient_geometry(make_evidence(rows=100, features=features))
    assert not found.flagged.any()
    assert np.isfinite(found.scores).all()


def test_rows_without_finite_gradients_are_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    evidence = planted()
    evidence.features[1] = np.nan
    with caplog.at_level(logging.WARNING, logger="assay"):
        found = gradient_geometry(evidence)
    assert "1 rows have no finite gradient" in caplog.text
    assert str(found.candidates[0].pattern) == "zeta omega"
    evidence.features[:] = np.inf
    with pytest.raises(AssayError, match="no row has finite gradient"):
        gradient_geometry(evidence)
