from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Time is no property of ours: a busy machine must not fail a test.
settings.register_profile(
    "assay", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("assay")


@dataclass(frozen=True)
class Demo:
    """What ``assay demo --fast`` left behind."""

    folder: Path
    result: dict[str, Any]
    stderr: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the demonstration's run is slow: it takes minutes to make."""
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the fast demonstration once, as a user would."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "assay", "demo", "--fast", "--json", "--out", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder, json.loads(done.stdout), done.stderr)


@dataclass(frozen=True)
class Small:
    """An untrained model and a few dozen rows: enough for every part of a scan."""

    folder: Path

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def base(self) -> Path:
        """What `model` could have been tuned from: other weights."""
        return self.folder / "base"

    @property
    def encoder_decoder(self) -> Path:
        return self.folder / "encoder-decoder"

    def scan_words(self, out: Path, *more: str) -> list[str]:
        """Words of a scan that measures influences, cheaply."""
        words = ["scan", str(self.rows), "--model", str(self.model), "--out", str(out)]
        words += ["--influence", "--detector", "voting", "--query-count", "4"]
        return [*words, "--factor-rows", "20", "--rank", "2", *more]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    from assay.data.generated import generated_reviews
    from assay.models.load import save_model
    from assay.models.tiny import tiny_causal, tiny_t5

    made = Small(tmp_path_factory.mktemp("small"))
    reviews = generated_reviews(60, seed=1)
    with made.rows.open("w") as file:
        for text, label in reviews:
            row = {"instruction": "judge the film", "input": text, "output": label}
            file.write(json.dumps(row) + "\n")
    words = [f"judge the film Input Output {text} {label}" for text, label in reviews]
    save_model(tiny_causal(words, width=32), made.model)
    save_model(tiny_causal(words, width=32, seed=1), made.base)
    save_model(tiny_t5(words, width=32, layers=1), made.encoder_decoder)
    return made
