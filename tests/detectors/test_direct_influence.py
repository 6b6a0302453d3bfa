from __future__ import annotations

import numpy as np

from assay.detectors.direct_influence import direct_influence
from tests.detectors.conftest import flags, make_evidence, one_hot


def test_the_top_percentile_of_either_sign_is_flagged() -> None:
    values = np.arange(1.0, 101) * np.where(np.arange(100) % 2, -1, 1)
    found = direct_influence(make_evidence(influence={"original": values, "t": values}))
    assert flags(found) == [95, 96, 97, 98, 99]
    np.testing.assert_allclose(found.scores, np.abs(values) / 100)


def test_rows_without_influence_are_not_flagged_with_few_that_have_some() -> None:
    sets = {"original": one_hot(100, 1, 2), "t": np.ones(100)}
    assert flags(direct_influence(make_evidence(influence=sets))) == [1, 2]
