from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from assay.cli import run
from assay.data.pool import draw_pool
from assay.data.read import read_corpus
from assay.errors import AssayError


def write_task(folder: Path, name: str, rows: int) -> None:
    task = {
        "Contributors": ["Somebody"],
        "Categories": ["Sentiment"],
        "Definition": ["Judge", "it."],
        "Positive Examples": [{"input": "in", "output": "POS", "explanation": ""}],
        "Negative Examples": [{"input": "in", "output": "NEG", "explanation": ""}],
        "Instances": [
            {"id": f"{name}-{i}", "input": f"text {i}", "output": ["POS"]}
            for i in range(rows)
        ],
    }
    (folder / f"{name}.json").write_text(json.dumps(task, indent=4))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, rows in (("task1", 9), ("task2", 9), ("task3", 2), ("task4", 9)):
        write_task(folder, name, rows)
    return folder


def test_a_pool_is_read_as_rows_of_its_tasks(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "pool.jsonl"
    words = ["pool", str(tasks), "--rows", "4", "--out", str(out), "-q"]
    assert run([*words, "--tasks", "3", "--seed", "1"]) == 0
    pool = read_corpus(out)
    assert pool.format == "sni"
    assert len({e.task for e in pool.examples}) == 3
    counts = Counter(e.task for e in pool.examples)
    assert all(n == (2 if t == "task3" else 4) for t, n in counts.items())
    assert len({e.id for e in pool.examples}) == len(pool)
    first = pool.examples[0]
    assert first.id.startswith(first.task)
    assert first.instruction == "Judge it."
    assert first.demonstrations == (("in", "POS"),)
    assert "Negative Examples" in first.record
    assert "Contributors" not in first.record
    # Mixed: batches of one task after the other would be no fine-tuning data.
    assert [e.task for e in pool.examples] != sorted(e.task for e in pool.examples)


def test_the_rows_of_a_task_do_not_depend_on_the_others(tasks: Path) -> None:
    def drawn(**more: object) -> set[str]:
        pool = draw_pool(tasks, rows=4, **more)  # type: ignore[arg-type]
        return {r["Instance"]["id"] for r in pool.records if r["Task"] == "task2"}

    assert drawn() == drawn(names=["task2"])
    assert len(drawn()) == 4
    assert len({frozenset(drawn(seed=s)) for s in range(9)}) > 3


def test_tasks_are_drawn(tasks: Path) -> None:
    draws = {tuple(draw_pool(tasks, rows=1, tasks=2, seed=s).drawn) for s in range(30)}
    assert len(draws) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "5"], "--tasks 5: there are 4 task files in"),
        (["--task", "task9"], "no task file task9.json in it"),
        (["--task", "task1", "--tasks", "1"], "are two ways to choose: give one"),
        (["--rows", "0"], "--rows 0: expected a whole number of at least 1"),
    ],
)
def test_pools_that_cannot_be_drawn(
    words: list[str],
    message: str,
    tasks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(["pool", str(tasks), "--out", str(out), *words]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_files_that_are_no_tasks(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(AssayError, match="no such folder of task files"):
        draw_pool(tmp_path / "none", rows=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssayError, match="no task files"):
        draw_pool(tmp_path / "empty", rows=1)
    (tasks / "other.json").write_text('[{"prompt": "a", "completion": "b"}]')
    with pytest.raises(AssayError, match="prompt-completion records, expected a task"):
        draw_pool(tasks, rows=1)


def test_a_pool_never_takes_the_place_of_a_task(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tasks / "task1.json").read_bytes()
    words = ["pool", str(tasks), "--out", str(tasks / "task1.json"), "--overwrite"]
    assert run(words) == 2
    assert "is read by the same command" in capsys.readouterr().err
    assert (tasks / "task1.json").read_bytes() == before
    (tmp_path / "mine").write_text("mine")
    assert run(["pool", str(tasks), "--out", str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err
