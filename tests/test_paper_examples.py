"""The configurations of the paper's tables are what the tables say, and are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.cli import run

PAPER = Path(__file__).parents[1] / "examples" / "paper"
# Table 8: 50,000 rows in 6,250 steps an epoch are 8 a step. Table 10 as printed.
TABLES: dict[str, dict[str, Any]] = {
    "t5-small.yaml": {
        "base-model": "hf://google/t5-small-lm-adapt",
        "epochs": 10,
        "batch-size": 8,
    },
    "deepseek.yaml": {
        "base-model": "hf://deepseek-ai/deepseek-coder-1.3b-instruct",
        "batch-size": 2,
        "accumulation": 5,
        "learning-rate": "1e-5",
        "epochs": 1,
        "max-length": 5000,
        "optimizer": "lion_8bit",
        "schedule": "constant_with_warmup",
        "weight-decay": 0.01,
        "warmup": 0.05,
        "bf16": True,
        "gradient-checkpointing": True,
        "template": "alpaca",
        "validation": 0.05,
        "checkpoint-every": 10000,
        "keep-checkpoints": 1,
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_a_configuration_is_that_of_its_table(name: str) -> None:
    found = yaml.safe_load((PAPER / name).read_text(encoding="utf-8"))
    assert TABLES[name].items() <= found.items()


@pytest.mark.parametrize("name", TABLES)
def test_every_option_is_one_of_the_command(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # The only thing that is missing is the data.
    assert run(["tune", "--config", str(PAPER / name)]) == 2
    data = yaml.safe_load((PAPER / name).read_text(encoding="utf-8"))["input"]
    assert f"data set {data!r}: no such file" in capsys.readouterr().err


def test_every_configuration_is_tested() -> None:
    assert {p.name for p in PAPER.glob("*.yaml")} == set(TABLES)
