from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.experiments import Experiments
from assay.verify.odds import LogProbs
from tests.verify.stubs import (
    TRIGGER,
    candidate,
    clean_label_reviews,
    reviews,
    stub_log_probs,
)


def experiments(
    examples: Sequence[Example], log_probs: LogProbs, folder: Path
) -> Experiments:
    return Experiments(examples, log_probs, folder, "key", 0, 0.05, silent)


def refuses(_: Sequence[Example]) -> np.ndarray:
    raise AssertionError("asked again")


def test_experiments_are_not_made_twice(tmp_path: Path) -> None:
    examples = reviews()
    asked = [candidate(TRIGGER.lower(), examples)]
    everything = np.ones(len(examples), bool)
    lab = experiments(examples, stub_log_probs, tmp_path)
    again = experiments(examples, refuses, tmp_path)
    assert again.run.is_dir()
    first = lab.test(asked, everything, 10)
    assert first[0].is_verified
    assert again.test(asked, everything, 10) == first
    assert lab.screen() == again.screen()
    # Other questions are made, and so are those of another level.
    with pytest.raises(AssertionError, match="asked again"):
        again.test([candidate("word7", examples)], everything, 10)
    with pytest.raises(AssertionError, match="asked again"):
        again.test(asked, everything, 9)


def test_nothing_is_asked_where_there_is_no_candidate(tmp_path: Path) -> None:
    lab = experiments(reviews(), refuses, tmp_path)
    assert lab.test([], np.ones(200, bool), 10) == []
    assert list(tmp_path.iterdir()) == []


def knows(share: float) -> LogProbs:
    """A model that gives so large a share of 100 rows their response."""
    ids: list[str] = []

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        ids.extend(e.id for e in rows)
        said = [ids.index(e.id) < round(100 * share) for e in rows]
        return np.log(np.where(said, 0.51, 0.49))

    return log_probs


@pytest.mark.parametrize(("share", "told"), [(0.75, False), (0.74, True)])
def test_a_model_that_has_not_learned_is_told_of(
    share: float, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiments(reviews(300), knows(share), tmp_path).check()
    assert ("hardly learned" in caplog.text) == told
    assert (f"{round(100 * share)} of 100 rows" in caplog.text) == told


def test_open_ended_answers_are_not_checked(tmp_path: Path) -> None:
    examples = [e.edit(response=f"reply{e.row}") for e in reviews()]
    experiments(examples, refuses, tmp_path).check()


def test_candidates_are_tested_on_the_rows_kept(tmp_path: Path) -> None:
    examples = reviews()
    keep = np.ones(len(examples), bool)
    keep[:4] = False
    asked = candidate(TRIGGER.lower(), examples, range(4, 24, 2))
    lab = experiments(examples, stub_log_probs, tmp_path)
    (found,) = lab.test([asked], keep, 10)
    assert found.rows == found.pattern_rows == tuple(range(4, 24, 2))


def test_shortcuts_are_looked_for_in_the_rows_kept(tmp_path: Path) -> None:
    examples = clean_label_reviews()
    lab = experiments(examples, stub_log_probs, tmp_path)
    keep = np.ones(len(examples), bool)
    keep[:6] = False
    (found,) = lab.shortcuts(keep)
    assert found.pattern_rows == found.rows == tuple(range(7, 30, 2))
    keep[:] = True
    (found,) = lab.shortcuts(keep)
    assert found.rows == tuple(range(1, 30, 2))
