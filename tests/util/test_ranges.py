"""Every number has its range, the same for the command line and for Python."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.main import get_command

from assay.cli import app
from assay.cli import run as command
from assay.cli.config import _key
from assay.errors import AssayError
from assay.models.tune_settings import TuneSettings
from assay.settings import ScanSettings, scan_settings
from assay.util.ranges import RANGES, Range, check_number

LEAST = 5e-324
WHOLE = 2**31 - 1
# Setting: the least value and the largest, and a neighbour beyond each of them.
EDGES: dict[str, tuple[float, float, float, float]] = {
    "fdr": (0.0001, 0.5, 0.00009999, 0.5000001),
    "query_count": (1, WHOLE, 0, WHOLE + 1),
    "factor_rows": (1, WHOLE, 0, WHOLE + 1),
    "damping": (LEAST, 1e6, 0.0, 1000000.1),
    "max_length": (2, WHOLE, 1, WHOLE + 1),
    "first_layers": (1, WHOLE, 0, WHOLE + 1),
    "rank": (1, WHOLE, 0, WHOLE + 1),
    "seed": (0, 4294967295, -1, 4294967296),
    "token_budget": (1, WHOLE, 0, WHOLE + 1),
    "max_batch": (1, WHOLE, 0, WHOLE + 1),
    "max_memory": (0.001, float(WHOLE), 0.000999, WHOLE + 0.5),
    "top_k": (1, WHOLE, 0, WHOLE + 1),
    "percentile": (0.0, 100.0, -LEAST, 100.0001),
    "votes": (1, WHOLE, 0, WHOLE + 1),
    "low_share": (LEAST, 1.0, 0.0, 1.0000001),
    "epochs": (1, WHOLE, 0, WHOLE + 1),
    "learning_rate": (LEAST, 1e308, 0.0, math.inf),
    "batch_size": (1, WHOLE, 0, WHOLE + 1),
    "accumulation": (1, WHOLE, 0, WHOLE + 1),
    "warmup": (0.0, 1.0, -LEAST, 1.0000001),
    "weight_decay": (0.0, 1e308, -LEAST, math.inf),
    "clip": (LEAST, 1e308, 0.0, math.inf),
    "lora_rank": (0, WHOLE, -1, WHOLE + 1),
    "checkpoint_every": (0, WHOLE, -1, WHOLE + 1),
    "keep_checkpoints": (0, WHOLE, -1, WHOLE + 1),
    "validation": (0.0, 0.5, -LEAST, 0.5000001),
    "evaluate_every": (0, WHOLE, -1, WHOLE + 1),
    "rate": (LEAST, 1.0, 0.0, 1.0000001),
    "count": (1, WHOLE, 0, WHOLE + 1),
    "rows": (1, WHOLE, 0, WHOLE + 1),
    "tasks": (1, WHOLE, 0, WHOLE + 1),
    "most": (1, WHOLE, 0, WHOLE + 1),
}


def numeric(kind: type) -> dict[str, type]:
    """Fields of a dataclass that are numbers, with their type."""
    hints = get_type_hints(kind)
    found = {}
    for name in (f.name for f in fields(kind)):
        types = set(get_args(hints[name]) or (hints[name],))
        if types & {int, float}:
            found[name] = float if float in types else int
    return found


NUMBERS = numeric(ScanSettings) | numeric(TuneSettings)


def test_every_number_has_a_range() -> None:
    assert set(RANGES) == set(EDGES)
    assert set(NUMBERS) == set(EDGES) - {"rate", "count", "rows", "tasks", "most"}
    for name, kind in NUMBERS.items():
        assert RANGES[name].whole == (kind is int)


@pytest.mark.parametrize("name", EDGES)
def test_a_range_ends_where_it_says(name: str) -> None:
    least, most, below, above = EDGES[name]
    for value in (least, most):
        assert value in RANGES[name]
    for value in (below, above, -math.inf, math.inf, math.nan, -1, 10**400):
        assert value not in RANGES[name]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k in (ScanSettings, TuneSettings) for n in numeric(k)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_settings_take_what_is_in_range_and_nothing_else(kind: Any, name: str) -> None:
    least, most, below, above = EDGES[name]
    for value in (least, most):
        assert getattr(kind(**{name: value}), name) == value
    wrong: list[Any] = [below, above, True, "1", [1]]
    wrong += [1.5] if NUMBERS[name] is int else [math.nan, math.inf, -math.inf]
    for value in wrong:
        with pytest.raises(AssayError, match=f"^setting {name}=.*: expected ") as e:
            kind(**{name: value})
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("shown", "value", "message"),
    [
        ("epochs", 0, "epochs 0: expected a whole number of at least 1"),
        ("epochs", 2**31, "at least 1, and of at most 2147483647"),
        (
            "damping",
            -1.0,
            "damping -1.0: expected a number above 0 and at",
        ),
        ("clip", -1.0, "clip -1.0: expected a number above 0"),
        ("clip", math.inf, "clip inf: expected a number above 0, and a finite one"),
        ("warmup", 2.0, "warmup 2.0: expected a number from 0 to 1"),
        ("rate", 0.0, "rate 0.0: expected a number above 0 and at most 1"),
        ("seed", -1, "seed -1: expected a whole number from 0 to 4294967295"),
        ("fdr", 0.9, "fdr 0.9: expected a number from 0.0001 to 0.5"),
    ],
)
def test_messages_say_what_was_expected(shown: str, value: float, message: str) -> None:
    with pytest.raises(AssayError) as caught:
        check_number(shown, value, f"{shown} {value}")
    assert message in str(caught.value)


def test_what_is_not_given_is_in_every_range() -> None:
    for name in RANGES:
        check_number(name, None, name)
    assert scan_settings({"first_layers": None}).first_layers is None
    with pytest.raises(AssayError, match="setting rank=None: expected int"):
        scan_settings({"rank": None})


def test_the_least_of_a_range_is_left_out_where_it_says_so() -> None:
    assert 0 in Range(0)
    assert 0 not in Range(0, above=True)
    assert 2 in Range(0, 2)
    assert 2.1 not in Range(0, 2, whole=False)


@pytest.mark.parametrize("name", ["schedule", "optimizer"])
def test_names_are_checked_with_the_numbers(name: str) -> None:
    with pytest.raises(AssayError, match=f"unknown {name} 'x'; known: "):
        TuneSettings(**{name: "x"})


def options() -> list[tuple[str, str, str]]:
    """Command, flag and setting of every option that is a number."""
    found = []
    for name, made in get_command(app).commands.items():
        hints = get_type_hints(inspect.unwrap(made.callback))
        for param in made.params:
            hint = hints[param.name]
            if {int, float} & set(get_args(hint) or (hint,)):
                flag = f"--{_key(param)}"
                setting = flag[2:].replace("-", "_")
                found.append((name, flag, setting))
    return found


def test_every_option_that_is_a_number_is_tried() -> None:
    tried = {(c, s) for c, _, s in options()}
    for name in numeric(ScanSettings):
        assert {("scan", name), ("plan", name)} <= tried
    for name in numeric(TuneSettings):
        assert ("tune", name) in tried
    assert {("attack", "rate"), ("attack", "count"), ("review", "most")} <= tried
    assert {("scan", "epochs"), ("evaluate", "max_length"), ("demo", "seed")} <= tried
    assert len(tried) == 60


@pytest.mark.parametrize(("name", "flag", "setting"), options())
def test_options_have_the_ranges_of_settings(
    name: str,
    flag: str,
    setting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {
        "tune": ["no.jsonl", "--base-model", "no", "--out", "out"],
        "attack": ["no.jsonl", "--out", "out"],
        "evaluate": ["no.jsonl", "--model", "no"],
        "review": ["no"],
        "pool": ["no", "--out", "out"],
        "demo": ["--out", "no/out", "--attack", "none"],
        "reproduce": ["none", "--out", "no/out"],
    }
    words = [name, *needed.get(name, ["no.jsonl", "--model", "no"])]
    least, most, below, above = EDGES[setting]
    wrong: list[float] = [below, above]
    if not RANGES[setting].whole:
        wrong += [math.nan, -math.inf]
    for value in wrong:
        assert command([*words, f"{flag}={value!r}"]) == 2
        error = capsys.readouterr().err
        assert f"assay: error: {flag} {value}: expected a" in error
        # In a file of options, too.
        if name in ("demo", "review", "reproduce"):
            continue
        text = {math.inf: ".inf", -math.inf: "-.inf"}.get(value, repr(value))
        Path("o.yaml").write_text(f"{flag[2:]}: {text.replace('nan', '.nan')}\n")
        assert command([*words, "--config", "o.yaml"]) == 2
        error = capsys.readouterr().err
        assert f"assay: error: o.yaml: {flag[2:]}: {flag} " in error
        assert ": expected a" in error
    # What is in range is told of something else.
    for value in (least, most):
        assert command([*words, f"{flag}={value!r}"]) == 2
        error = capsys.readouterr().err
        assert "expected a" not in error
        assert "no" in error
        assert "fault" not in error
    assert list(Path.cwd().glob("*")) in ([], [Path.cwd() / "o.yaml"])
