from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.scanning import job
from assay.scanning.job import Job, job_of
from assay.settings import ScanSettings
from assay.transforms import PAPER_SIX
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


def key(**settings: Any) -> str:
    return job_of(CORPUS, ScanSettings(**settings), "model", None).key


@pytest.mark.parametrize(
    "how",
    [
        {"top_k": 50},
        {"percentile": 90.0},
        {"votes": 3},
        {"combine": "intersection"},
        {"single_transform": "paraphrase"},
        {"low_share": 0.85},
        {"scaling": "deviations"},
    ],
    ids=str,
)
def test_how_the_rules_judge_does_not_change_what_is_measured(
    how: dict[str, Any],
) -> None:
    assert key(influence=True, **how) == key(influence=True)


def test_transforms_change_what_is_measured_with_influence_only() -> None:
    assert key(transforms=("sorry-not",)) == key()
    assert key(influence=True, transforms=("sorry-not",)) != key(influence=True)
    six = tuple(t.name for t in PAPER_SIX)
    assert key(influence=True, transforms=six) == key(influence=True)


def test_transforms_that_are_unknown_or_not_run_are_refused() -> None:
    with pytest.raises(AssayError, match="unknown transform 'x'; known: prefix-"):
        key(transforms=("x",))
    with pytest.raises(AssayError, match="'sorry-not' is not run; chosen: prefix-"):
        key(single_transform="sorry-not")
    with pytest.raises(AssayError, match=r"'opposite' is not run; chosen: sorry-not$"):
        key(single_transform="opposite", transforms=("sorry-not",))


def test_a_description_is_as_it_is_read_back() -> None:
    made = job_of(CORPUS, ScanSettings(transforms=("do-not",)), "model", None)
    config = made.config("key")
    assert json.loads(json.dumps(config)) == config
    assert config["settings"]["transforms"] == ["do-not"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attribution": "foo"}, "unknown --attribution 'foo'; known: ekfac"),
        ({"modules": "("}, r"--modules '\(' is not a regular expression"),
        ({"factors": "gone.safetensors"}, "gone.safetensors: no such file of factors"),
    ],
)
def test_what_cannot_be_is_refused_before_a_proxy_is_tuned(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssayError, match=message):
        job_of(CORPUS, ScanSettings(**settings), None, "base")


def test_what_inputs_are_chosen_by_matters_with_influence_only() -> None:
    chosen = {"query_choice": "keywords", "keywords": ("cf",)}
    assert key(**chosen) == key()
    assert key(**chosen, influence=True) != key(influence=True)
