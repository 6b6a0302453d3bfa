from __future__ import annotations

import importlib
import re
from collections.abc import Sequence

import numpy as np
import pytest

from assay.detectors.name_scrubbing import name_scrubbing
from tests.detectors.conftest import flags, make_evidence, permuted

# The package gives the function this name.
module = importlib.import_module("assay.detectors.name_scrubbing")

TEXTS = ["Ann met Bob", "ann and ANN", "Bob", "nobody", "Ann", ""]


@pytest.fixture(autouse=True)
def _recognise_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        pattern = re.compile(r"\b(ann|bob)\b", re.IGNORECASE)
        return [[m.span() for m in pattern.finditer(t)] for t in texts]

    monkeypatch.setattr(module, "person_names", names)


def test_rows_count_once_for_a_name() -> None:
    found = name_scrubbing(make_evidence(6, texts=TEXTS))
    # Three rows have Ann, two Bob.
    assert found.scores.tolist() == [3, 3, 2, 0, 3, 0]
    assert flags(found) == [0, 1, 2, 4]


def test_rows_may_come_in_any_order() -> None:
    evidence = make_evidence(6, texts=TEXTS)
    order = [5, 3, 1, 0, 2, 4]
    two = name_scrubbing(permuted(evidence, order))
    np.testing.assert_array_equal(two.scores, name_scrubbing(evidence).scores[order])


def test_no_names() -> None:
    found = name_scrubbing(make_evidence(2, texts=["x", "y"]))
    assert found.verdict == "clean"
    assert found.scores.tolist() == [0, 0]
