"""A short run of benchmarks/fuzz.py: always the same inputs, so that CI is steady."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]

spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks/fuzz.py")
assert spec is not None
assert spec.loader is not None
fuzz = importlib.util.module_from_spec(spec)
# Dataclasses and pickles look a module up by its name.
sys.modules["fuzz"] = fuzz
spec.loader.exec_module(fuzz)

short = settings(
    max_examples=250,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_file_is_read_whole_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    path = tmp_path / f"data.{kind}"

    # Few tables survive a change to their bytes.
    @settings(short, max_examples=500 if kind == "parquet" else 250)
    @given(fuzz.KINDS[kind], fuzz.requests)
    def check(raw: bytes, request: dict[str, Any]) -> None:
        path.write_bytes(raw)
        with fuzz.patient():
            outcomes[fuzz.check_file(path, **request)] += 1

    check()
    # Inputs that all fail at the first byte would try nothing.
    assert outcomes["read, written and edited"] >= 10
    assert outcomes["refused in one line"] >= 10


def test_a_record_is_read_or_refused_in_one_line() -> None:
    outcomes: Counter[str] = Counter()

    @short
    @given(fuzz.records, st.sampled_from(fuzz.FORMATS))
    def check(record: dict[str, Any], format: str) -> None:
        outcomes[fuzz.check_record(record, format)] += 1

    check()
    assert min(outcomes.values()) >= 10
    assert len(outcomes) == 2


def test_a_lost_row_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    assert fuzz.check_file(path) == "read, written and edited"
    whole = fuzz.read_corpus(path)
    monkeypatch.setattr(fuzz, "read_corpus", lambda *a, **k: whole.select([0, 1]))
    with pytest.raises(AssertionError):
        fuzz.check_file(path)
