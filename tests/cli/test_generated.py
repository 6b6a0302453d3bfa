"""Options that are made of settings classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from assay.cli.generated import Fields, with_settings


@dataclass(frozen=True)
class Kinds:
    """Some of each kind.

    Attributes:
        names: Names of ``things``.
        flag: Whether.
        rank: How many.
        word: Which.
    """

    names: tuple[str, ...] = ()
    flag: bool = True
    rank: int = 16
    word: str | None = None


SOME = Fields(("rank",), help={"rank": "Of another."}, defaults={"rank": 3})


def run(*words: str) -> tuple[int, list[Any], str]:
    seen: list[Any] = []

    @with_settings
    def command(
        kinds: Annotated[Kinds, Fields()] = Kinds(),
        other: str = "x",
    ) -> None:
        seen.extend([kinds, other])

    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, seen, result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), Kinds()),
        (("--names", "a", "--names", "b"), Kinds(names=("a", "b"))),
        (("--no-flag", "--rank", "2", "--word", ""), Kinds((), False, 2, "")),
    ],
)
def test_options_become_settings(words: tuple[str, ...], expected: Kinds) -> None:
    status, seen, _ = run(*words, "--other", "y")
    assert status == 0
    assert seen == [expected, "y"]
    assert type(seen[0].names) is tuple


def test_texts_defaults_and_ranges_are_those_of_the_class() -> None:
    _, _, shown = run("--help")
    words = " ".join(shown.split())
    assert "Names of things." in words
    assert "How many. (a whole number of at least 1) [default: 16]" in words
    status, seen, _ = run("--rank", "0")
    assert status != 0
    assert not seen


def test_a_command_may_take_some_fields_with_texts_and_defaults_of_its_own() -> None:
    seen = []

    @with_settings
    def command(kinds: Annotated[Kinds, SOME] = Kinds()) -> None:
        seen.append(kinds)

    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen == [Kinds(rank=3)]
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Of another." in shown
    assert "--names" not in shown
