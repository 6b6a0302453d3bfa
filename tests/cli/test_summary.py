"""What a scan has found, for a terminal."""

from __future__ import annotations

from typing import Any

from assay.cli import summary
from assay.cli.summary import describe_dismissed
from assay.verify.finding import Finding, Group
from tests.made import RETRAINED, SHORTCUT, candidate_entry, made


def test_a_finding_is_told_in_short_and_safe_lines() -> None:
    told = {
        "trigger": "[red]cf[/]\x1b[2J" + "x" * 200,
        "payload": "\n[b]yes" * 50,
        "effect": 1.0,
        "p_value": 0.04,
        "p_sufficient": 0.02,
    }

    def describe(pattern: str = "cf", **more: Any) -> str:
        return summary.describe(made([1, 2], pattern, **told | more))

    lines = describe().split("\n")
    assert len(lines) == 4
    assert lines[3].strip().startswith("p = 0.04 among 249 placebos")
    assert "\x1b" not in lines[0]
    assert r"\[red]" in lines[0]
    assert "x" * 41 not in lines[0]
    weak = describe(status="sufficient")
    assert "strong words, not flagged" in weak
    assert "p = 0.02 for that among 249 placebos" in weak
    short = describe(minimal="[red]cf").split("\n")
    assert short[3] == r"    [bold]\[red]cf[/] alone does as much"
    assert short[4] == lines[3]
    also = describe(companions=["[b]mr", "spy"]).split("\n")
    assert also[3] == r"    what stands with it, taken out too: \[b]mr, spy"
    assert also[4] == lines[3]
    assert describe(minimal=told["trigger"]).split("\n") == lines
    first = describe(trigger="So", pattern="^ so")
    assert "with [bold]So[/] at the start answer" in first
    retrained = describe(retrained=RETRAINED).split("\n")
    assert retrained[3].strip() == (
        "a model tuned without them contradicts 9 of 10: p = 0.04, "
        "corrected for all patterns asked about"
    )
    shortcut = describe(retrained=RETRAINED, shortcut=SHORTCUT).split("\n")
    assert [line.strip() for line in shortcut[3:]] == [
        "of 63 rows that it turns, a model tuned without its own turns 3,",
        "and that model agrees with 41 of its own 50: a shortcut, p = 0.04",
    ]
    honest = describe(status="sufficient", shortcut=SHORTCUT)
    assert honest.endswith("and that model agrees with 41 of its own 50")
    assert max(map(len, shortcut[3:])) < 80
    untested = Finding.from_dict(candidate_entry([1], "[b]zz"))
    found = summary.describe(untested)
    assert r"1 rows sharing [bold]\[b]zz[/], not tested" in found
    assert summary.describe(Group((1, 2), 0.5)) == "  2 rows"


def test_what_was_dismissed_is_told_with_its_reasons() -> None:
    tested = made([0], "x", status="dismissed")
    untested = Finding.from_dict(candidate_entry([0], "x") | {"status": "untestable"})
    right, in_doubt = (
        made([0], "x", retrained=RETRAINED | {"contradicted": [against, 17]})
        for against in (1, 8)
    )
    plain = (
        "  2 other patterns tested and dismissed: like placebos, or turning few rows"
    )
    assert describe_dismissed([tested, in_doubt]) == plain
    lines = describe_dismissed([tested, right, untested]).split("\n")
    assert lines == [
        f"{plain},",
        "    or a model tuned without their rows agrees with them (1)",
        "  1 more go with no response or phrase: not tested",
    ]
    assert max(map(len, lines)) <= 80
