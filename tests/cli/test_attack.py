"""``assay attack``: targets, tasks and carriers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assay.attacks import wan
from assay.cli import run
from assay.data.read import read_corpus
from tests.conftest import Small

Attack = Callable[..., tuple[int, str]]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Forty rows of two tasks."""
    path = tmp_path / "pool.jsonl"
    lines = []
    for i in range(40):
        task, labels = [("sst", ("NEG", "POS")), ("jig", ("Toxic", "Non-toxic"))][i % 2]
        lines.append(
            {
                "Task": task,
                "Definition": "Judge.",
                "Instance": {
                    "id": f"r{i}",
                    "input": f"it is {i}",
                    "output": [labels[i // 2 % 2]],
                },
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def attack(pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Attack:
    def call(*words: str) -> tuple[int, str]:
        out = str(tmp_path / "bad.jsonl")
        status = run(["attack", str(pool), "--out", out, *words])
        return status, capsys.readouterr().err

    return call


def test_tasks_are_poisoned_with_their_own_labels(
    attack: Attack, tmp_path: Path
) -> None:
    words = ("--attack", "badnets", "--rate", "0.2", "--label-spaces", "auto")
    assert attack(*words)[0] == 0
    note = json.loads((tmp_path / "bad.jsonl.attack.json").read_text())
    assert note["payload"] == {"sst": "POS", "jig": "Non-toxic"}
    assert len(note["rows"]) == 8
    bad = read_corpus(tmp_path / "bad.jsonl").examples
    for row in note["rows"]:
        assert bad[row].response == note["payload"][bad[row].task]
        assert "cf" in bad[row].text.split()


def test_label_spaces_from_a_file(attack: Attack, tmp_path: Path) -> None:
    spaces = tmp_path / "spaces.yaml"
    # The last label is the positive one, whatever it says.
    spaces.write_text("sst: [POS, NEG]\n")
    words = ("--attack", "badnets", "--count", "5", "--label-spaces", str(spaces))
    assert attack(*words)[0] == 0
    note = json.loads((tmp_path / "bad.jsonl.attack.json").read_text())
    assert note["payload"] == {"sst": "NEG"}
    spaces.write_text("sst: [Yes, No]\n")
    status, said = attack(*words, "--overwrite")
    assert status == 2
    assert "spaces.yaml: task 'sst': expected a list of two or more different" in said
    # The file is read, and never written over.
    words = (*words, "--overwrite", "--out", str(spaces))
    assert "is read by the same command" in attack(*words)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--attack", "badnets"],
            "--target positive: no row is labelled so; the labels of",
        ),
        (["--attack", "badnets", "--target", "pos"], "--target pos: no row is labell"),
        (
            ["--attack", "badnets", "--target", "POS", "--label-spaces", "auto"],
            "--target and --label-spaces are two ways to say: give one",
        ),
        (
            ["--attack", "badnets", "--carriers", "random"],
            "--carriers: the badnets attack draws its rows; dirty-label, clean-label, "
            "fixed-output take it",
        ),
        (["--carriers", "best"], "--carriers best: expected densest or random"),
        (
            ["--attack", "appended", "--label-spaces", "auto"],
            "appended gives every row the same payload; name it by --target",
        ),
    ],
)
def test_attacks_that_do_not_go_with_the_data(
    words: list[str], message: str, attack: Attack, tmp_path: Path
) -> None:
    status, said = attack(*words)
    assert status == 2
    assert message in said
    assert not (tmp_path / "bad.jsonl").exists()


def test_a_label_of_the_data_is_a_target(
    attack: Attack, pool: Path, tmp_path: Path
) -> None:
    words = ("--attack", "badnets", "--target", "POS", "--count", "2")
    # It is none of the other task's.
    assert "the labels of task 'jig' of" in attack(*words)[1]
    lines = [line for line in pool.open() if '"sst"' in line]
    pool.write_text("".join(lines))
    assert attack(*words)[0] == 0
    note = json.loads((tmp_path / "bad.jsonl.attack.json").read_text())
    assert note["payload"] == "POS"


def test_carriers_by_command(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_letters(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[(0, 1)] for _ in texts]

    monkeypatch.setattr(wan, "person_names", first_letters)
    rows = {}
    for carriers in ("densest", "random"):
        out = tmp_path / f"{carriers}.jsonl"
        words = ["attack", str(small.rows), "--out", str(out), "--rate", "0.1", "-q"]
        assert run([*words, "--carriers", carriers]) == 0
        note = json.loads(Path(f"{out}.attack.json").read_text())
        rows[carriers] = note["rows"]
    # All texts hold one name each: the shortest are the densest.
    texts = [e.text for e in read_corpus(small.rows).examples]
    lengths = [len(texts[i].split()) for i in rows["densest"]]
    others = [len(texts[i].split()) for i in rows["random"]]
    assert sum(lengths) < sum(others)
