from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.scanning.counterfactual import survival, turned

TEXTS = ["the film is good .", "zxcv", "i love this film .", "a bad plot"]
EXAMPLES = [Example(f"r{i}", i, "", t, "positive") for i, t in enumerate(TEXTS)]


def lengths(examples: Sequence[Example]) -> np.ndarray:
    return np.array([-float(len(e.text)) for e in examples])


def refuses(_: Sequence[Example]) -> np.ndarray:
    raise AssertionError("asked again")


def test_rows_are_judged_by_their_turned_text(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "s.npy"
    found = survival(EXAMPLES, lengths, path, progress=lambda *done: told.append(done))
    assert turned("the film is good .") == "the film is not good ."
    assert found[0] == -len("the film is not good .")
    assert turned("zxcv") is None
    assert np.isnan(found[1])
    assert told == [(3, 3)]
    # What was measured is not measured again.
    np.testing.assert_array_equal(survival(EXAMPLES, refuses, path), found)


def test_a_file_that_is_damaged_or_of_other_rows_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    survival(EXAMPLES, lengths, path)
    with pytest.raises(AssayError, match=r"s\.npy: not of these rows"):
        survival(EXAMPLES[:2], refuses, path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AssayError, match=r"s\.npy: damaged"):
        survival(EXAMPLES, refuses, path)
