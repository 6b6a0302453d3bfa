from __future__ import annotations

import numpy as np
import pytest

from assay.detectors.combined import combined
from assay.detectors.paper_ensemble import paper_ensemble
from assay.errors import AssayError
from tests.detectors.conftest import CATEGORIES, make_evidence


def test_what_rows_flagged_by_a_rule_share_is_proposed() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([f"w{i}" for i in range(200)], 8)) for _ in range(400)]
    chosen = np.arange(0, 24, 2)
    base = rng.normal(size=400)
    base[chosen] = 9
    influence = {n: base + rng.normal(size=400) for n in ("original", *CATEGORIES)}
    for row in chosen:
        texts[row] += " zeta omega"
    evidence = make_evidence(influence=influence, texts=texts, responses=["yes"] * 400)
    found = paper_ensemble(evidence)
    assert str(found.candidates[0].pattern) == "zeta omega"
    assert np.flatnonzero(found.flagged).tolist() == chosen.tolist()
    np.testing.assert_array_equal(found.scores, combined(evidence).scores)
    assert not paper_ensemble(evidence, np.arange(400) >= 24).candidates


def test_without_influences_it_says_how_to_get_them() -> None:
    with pytest.raises(AssayError, match="needs influences"):
        paper_ensemble(make_evidence(influence={"original": np.ones(60)}))
