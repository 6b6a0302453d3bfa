"""The names that the command line shows are those of the code."""

from __future__ import annotations

from assay import detectors, names


def test_all_detectors_are_named() -> None:
    assert tuple(detectors.DETECTORS) == names.DETECTORS
    assert names.DEFAULT in detectors.CHEAP
