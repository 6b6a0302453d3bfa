from __future__ import annotations

import numpy as np
import pytest

from assay.detectors.high_loss import high_loss
from tests.detectors.conftest import flags, make_evidence


def test_outlying_losses_are_flagged() -> None:
    losses = np.linspace(0.5, 1, 60, dtype=np.float32)
    losses[[7, 9]] = 5, 0
    found = high_loss(make_evidence(losses=losses))
    assert flags(found) == [7]
    np.testing.assert_array_equal(found.scores, losses)


def test_fitted_rows_do_not_make_the_others_outliers() -> None:
    # A tuned model often fits most rows exactly.
    losses = np.repeat(np.float32([0, 0.01]), [40, 20])
    assert flags(high_loss(make_evidence(losses=losses))) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_comes_last(value: float) -> None:
    losses = np.linspace(-1, 1, 60, dtype=np.float32)
    losses[5] = value
    found = high_loss(make_evidence(losses=losses))
    assert found.scores[5] == -1
