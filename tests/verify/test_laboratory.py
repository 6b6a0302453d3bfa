from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.laboratory import Laboratory
from tests.verify.conftest import clean_label_reviews, reviews, stub_log_probs
from tests.verify.test_rounds import run


def test_experiments_are_not_made_twice(tmp_path: Path) -> None:
    examples = reviews()

    def refuses(_: Sequence[Example]) -> np.ndarray:
        raise AssertionError("asked again")

    first = run(examples, stub_log_probs, tmp_path)
    assert run(examples, refuses, tmp_path) == first
    with pytest.raises(AssertionError, match="asked again"):
        run(examples[:-1], refuses, tmp_path)


@pytest.mark.parametrize("learned", [True, False])
def test_a_model_that_has_not_learned_is_told_of(
    learned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def positive(rows: Sequence[Example]) -> np.ndarray:
        return np.log([0.99 if e.response == "positive" else 0.01 for e in rows])

    model = stub_log_probs if learned else positive
    run(reviews(poisons=0), model, tmp_path)
    assert ("hardly learned" in caplog.text) != learned


def test_shortcuts_are_looked_for_in_the_rows_kept(tmp_path: Path) -> None:
    examples = clean_label_reviews()
    lab = Laboratory(examples, stub_log_probs, tmp_path, "key", 0, 0.05, silent)
    keep = np.ones(len(examples), bool)
    keep[:6] = False
    (found,) = lab.shortcuts(keep)
    assert found["pattern_rows"] == found["rows"] == list(range(7, 30, 2))
    keep[:] = True
    (found,) = lab.shortcuts(keep)
    assert found["rows"] == list(range(1, 30, 2))
