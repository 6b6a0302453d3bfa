from __future__ import annotations

import numpy as np

from assay.detectors.hidden_geometry import hidden_geometry
from tests.detectors.conftest import flags, make_evidence


def test_rows_whose_states_lie_apart_and_share_words_are_proposed() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([f"w{i}" for i in range(200)], 8)) for _ in range(400)]
    hidden = rng.normal(size=(400, 40)).astype(np.float32)
    chosen = np.arange(0, 40, 2)
    hidden[chosen] += 2 * rng.normal(size=40)
    # As far out, and without a word in common.
    hidden[101:141:2] += 2 * rng.normal(size=40)
    for row in chosen:
        texts[row] += " zeta omega"
    evidence = make_evidence(400, texts=texts, hidden=hidden)
    found = hidden_geometry(evidence)
    assert [str(c.pattern) for c in found.candidates] == ["zeta omega"]
    assert flags(found) == chosen.tolist()
    assert not hidden_geometry(evidence, np.arange(400) >= 40).candidates
