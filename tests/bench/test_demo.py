from __future__ import annotations

import json

import numpy as np
import pandas as pd

from assay.data.read import read_corpus
from tests.conftest import Demo


def test_poison_is_found_removed_and_the_model_recovers(demo: Demo) -> None:
    result = demo.result
    assert result["verdict"] == "poisoned"
    assert result["truth"]["poisoned"] == 33
    assert result["truth"]["precision"] >= 0.9
    assert result["truth"]["recall"] >= 0.9
    before, after = result["before"], result["after"]
    assert before["attack_success_rate"] >= 0.9
    assert before["payload_rate_without_trigger"] <= 0.1
    assert after["attack_success_rate"] <= 0.1
    assert after["accuracy"] >= before["accuracy"] - 0.02


def test_the_trigger_is_named_and_proven(demo: Demo) -> None:
    finding = demo.result["findings"][0]
    assert finding["verified"]
    assert finding["trigger"] == "James Bond"
    assert finding["payload"] == "positive"
    assert finding["p_value"] <= 0.05
    low, high = finding["effect_interval"]
    assert 0 < low <= finding["effect"] <= high
    assert finding["effect"] > 10 * abs(np.median(finding["placebo_effects"]))
    assert finding["drop"] > np.log(2)
    assert not any(f["verified"] for f in demo.result["dismissed"])


def test_result_is_on_disk_and_without_noise(demo: Demo) -> None:
    assert json.loads((demo.folder / "demo.json").read_text()) == demo.result
    assert "\x1b" not in demo.stderr
    assert "Traceback" not in demo.stderr


def test_clean_and_removed_are_the_input(demo: Demo) -> None:
    rows = read_corpus(demo.folder / "train.jsonl").examples
    kept = read_corpus(demo.folder / "clean.jsonl").examples
    removed = read_corpus(demo.folder / "removed.jsonl").examples
    assert len(kept) + len(removed) == len(rows) == 1000
    assert {e.id for e in kept} | {e.id for e in removed} == {e.id for e in rows}
    scores = pd.read_parquet(demo.folder / "run" / "scores.parquet")
    flagged = scores.loc[scores["flagged"], "id"].tolist()
    assert [e.id for e in removed] == flagged
