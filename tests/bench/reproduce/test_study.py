from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assay.bench.reproduce import measured as module
from assay.bench.reproduce.measured import run_study
from assay.bench.reproduce.stages import Stages
from assay.bench.reproduce.study import SMALL_T5, SST2, Model, Scale, Setup
from assay.errors import AssayError
from assay.settings import QueryChoice


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    done: list[str] = []
    stages = Stages(tmp_path, "key")
    assert stages.run("tune", lambda: done.append("tune"))
    assert not stages.run("tune", lambda: done.append("tune"))
    assert Stages(tmp_path, "key").run("scan", lambda: done.append("scan"))
    assert done == ["tune", "scan"]


def test_a_stage_that_fails_is_run_again(tmp_path: Path) -> None:
    stages = Stages(tmp_path, "key")

    def fail() -> None:
        raise AssayError("no")

    with pytest.raises(AssayError, match="no"):
        stages.run("tune", fail)
    assert stages.run("tune", lambda: None)


def test_another_study_is_not_replaced_unasked(tmp_path: Path) -> None:
    Stages(tmp_path, "one").run("tune", lambda: None)
    other = Stages(tmp_path, "other")
    with pytest.raises(AssayError, match="holds a study of other data"):
        other.check(overwrite=False)
    assert not Stages(tmp_path, "one").run("tune", lambda: None)
    other.check(overwrite=True)
    assert other.run("tune", lambda: None)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no JSON"])
def test_a_damaged_note_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "tune.done.json").write_text(text)
    assert Stages(tmp_path, "key").run("tune", lambda: None)


def test_keys_tell_studies_apart(tmp_path: Path) -> None:
    setup = Setup(SST2, Scale.CPU, None, 0, tmp_path)
    for folder, text in (("one", "a"), ("two", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.tsv").write_text(text)
    others = [
        replace(setup, scale=Scale.PAPER),
        replace(setup, seed=1),
        replace(setup, sst2=tmp_path / "one"),
        replace(setup, sst2=tmp_path / "two"),
        replace(setup, study=replace(SST2, poisons=34)),
    ]
    assert len({s.key for s in (setup, *others)}) == 6
    # Where the work is done changes nothing of it.
    assert replace(setup, work=tmp_path / "other").key == setup.key


def test_the_study_is_the_papers() -> None:
    assert (SST2.rows, SST2.poisons, SST2.query_count) == (1000, 33, 100)
    assert len(SST2.transforms) == 7
    assert SST2.models[Scale.PAPER].name == "hf://google/t5-small-lm-adapt"


@pytest.mark.slow
def test_a_study_is_run_once_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = replace(SST2.models[Scale.CPU].tuning, epochs=1)
    small = replace(
        SST2,
        rows=60,
        poisons=4,
        test_rows=8,
        query_rows=10,
        query_count=4,
        factor_rows=20,
        models={Scale.CPU: Model(SMALL_T5, how)},
    )
    setup = Setup(small, Scale.CPU, None, 0, tmp_path)
    first = run_study(setup)
    assert len(first.poisoned) == 4
    assert set(first.evidence) == {QueryChoice.RANDOM, QueryChoice.KEYWORDS}
    random, knowing = (first.evidence[c] for c in module.CHOICES)
    for evidence in (random, knowing):
        assert set(evidence.influence) <= {"original", *small.transforms}
        assert {"original", "sorry-not"} <= set(evidence.influence)
    assert (random.influence["original"] != knowing.influence["original"]).any()
    poisoned = [random.texts[row] for row in first.poisoned]
    assert all("James Bond" in text for text in poisoned)
    assert 0 <= first.before["attack_success_rate"] <= 1

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a finished stage was run again")

    for name in ("tune", "scan", "load_sentiment", "measure"):
        monkeypatch.setattr(module, name, never)
    again = run_study(setup)
    assert again.poisoned == first.poisoned
    assert again.before == first.before
    for choice in module.CHOICES:
        before, after = (m.evidence[choice].influence for m in (first, again))
        assert before["original"].tolist() == after["original"].tolist()

    (setup.folder / "poison.json").unlink()
    with pytest.raises(AssayError, match=r"poison\.json: is missing or damaged"):
        run_study(setup)
