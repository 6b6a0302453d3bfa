from __future__ import annotations

from pathlib import Path

import pytest

from assay.data.corpus import Corpus, Example
from assay.scanning import job
from assay.scanning.job import Job, job_of
from assay.settings import ScanSettings
from assay.util.hub import HubName

ROWS = tuple(Example(f"e{i}", i, "", "t", "r") for i in range(2))
CORPUS = Corpus(ROWS, "alpaca", "jsonl", "rows.jsonl")


def of(model: str) -> Job:
    return job_of(CORPUS, ScanSettings(), model, None)


def test_a_model_of_the_hub_is_told_apart_by_its_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "abc"
    monkeypatch.setattr(job, "model_folder", lambda _: tmp_path / commit)
    first = of("hf://owner/name")
    assert first.content == ["hf://owner/name", "abc"]
    key = first.key
    assert of("hf://owner/name").key == key
    commit = "def"
    assert of("hf://owner/name").key != key


def test_paths_are_no_names_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[HubName] = []
    monkeypatch.setattr(job, "model_folder", asked.append)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    assert of("runs/one").content == ["runs/one"]
    assert asked == []
    # Only the local cache is asked for what is no path.
    assert of("runs/two").content == ["runs/two"]
    assert asked == [HubName("runs/two", online=False)]
