from __future__ import annotations

import pytest

from assay.verify.odds import LogProbs
from tests.verify.stubs import stub_log_probs


@pytest.fixture
def log_probs() -> LogProbs:
    return stub_log_probs


@pytest.fixture
def no_proposers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors propose nothing, which takes seconds."""
    monkeypatch.setattr("assay.verify.rounds.proposers", lambda *_: {})
