"""A short run of benchmarks/fuzz.py: always the same inputs, so that CI is steady."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import fuzz
finally:
    sys.path.remove(str(BENCHMARKS))

SEED = 23
INPUTS = 80


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    import logging

    log = logging.getLogger("assay")
    before = log.handlers, log.propagate
    fuzz.quiet()
    # Outside of what is timed: it loads half of the libraries there are.
    fuzz._language_model()
    yield
    log.handlers, log.propagate = before


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_file_is_read_whole_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(INPUTS):
        found = fuzz.made(kind, SEED, number)
        with fuzz.patient():
            at = f"{kind}/{SEED}/{number}"
            outcomes[
                fuzz.check(found, tmp_path / "one", at, encode=number % 10 == 0)
            ] += 1
    # Inputs that all fail at the first byte would try nothing.
    assert outcomes[fuzz.READ] >= INPUTS / 4
    assert outcomes[fuzz.REFUSED] >= INPUTS / 8


def test_the_same_input_every_time() -> None:
    for kind in fuzz.KINDS:
        assert fuzz.made(kind, SEED, 7) == fuzz.made(kind, SEED, 7)
        assert fuzz.made(kind, SEED, 7) != fuzz.made(kind, SEED, 8)


ROWS = '{"prompt": "a", "completion": "b"}\n' * 3


def checked(tmp_path: Path, text: str = ROWS) -> str:
    found = fuzz.Input("prompt-completion", {"data.jsonl": text.encode()}, "data.jsonl")
    outcome: str = fuzz.check(found, tmp_path / "one", "x")
    return outcome


def test_a_lost_row_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked(tmp_path) == fuzz.READ
    real = fuzz.read_corpus
    monkeypatch.setattr(
        fuzz, "read_corpus", lambda *a, **k: real(*a, **k).select([0, 1])
    )
    with pytest.raises(AssertionError):
        checked(tmp_path)


def test_another_byte_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fuzz.write_corpus

    def write(corpus: fuzz.Corpus, path: Path) -> Path:
        written: Path = real(corpus, path)
        written.write_bytes(written.read_bytes() + b"\n")
        return written

    monkeypatch.setattr(fuzz, "write_corpus", write)
    with pytest.raises(AssertionError, match="not written as it was"):
        checked(tmp_path)


def test_a_refusal_of_two_lines_would_be_noticed(tmp_path: Path) -> None:
    assert checked(tmp_path, "{oops\n") == fuzz.REFUSED
    with pytest.raises(AssertionError):
        fuzz.told(fuzz.AssayError("one\ntwo"), fuzz.REFUSED)
    with pytest.raises(AssertionError):
        fuzz.told(fuzz.AssayError("of no file"), fuzz.REFUSED, ["x.jsonl"])


def test_a_sound_file_that_is_refused_or_read_otherwise_would_be_noticed(
    tmp_path: Path,
) -> None:
    raw = {"data.jsonl": ROWS.encode()}
    for meant in ([("a", "b", "")] * 2 + [("a", "c", "")], [None] * 3):
        found = fuzz.Input("prompt-completion", raw, "data.jsonl", meant=meant)
        with pytest.raises(AssertionError):
            fuzz.check(found, tmp_path / "one", "x")
    found = fuzz.Input("x", {"data.jsonl": b"{"}, "data.jsonl", meant=[None])
    with pytest.raises(AssertionError, match="a sound file is refused"):
        fuzz.check(found, tmp_path / "one", "x")
