from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import assay
from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.report.build import write_report
from assay.runs.results import read_summary
from assay.runs.suspects import suspects
from assay.settings import ScanSettings
from assay.text.pattern import Anchor, Pattern
from assay.verify.finding import (
    Finding,
    Group,
    Status,
    Tally,
    dismissed_in,
    parted,
    reported_in,
)
from assay.verify.payload import Phrase, Response

# Written by the scan of commit 6a64e1f from generated data, one finding of each kind;
# rows from 200 on and placebos from the tenth on were left out.
EARLIER = Path(__file__).parent / "fixtures" / "summary-6a64e1f.json"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return dict(json.loads(EARLIER.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def corpus(summary: dict[str, Any]) -> Corpus:
    words = {
        i: f["pattern"]
        for f in summary["findings"]
        for i in f.get("rows", ())
        if "pattern" in f
    }
    made = [
        Example(f"row-{i}", i, "", f"{words.get(i, 'plain')} text {i}", "positive")
        for i in range(summary["rows"])
    ]
    return Corpus(tuple(made), "alpaca", "jsonl", "rows.jsonl")


@pytest.fixture
def run(summary: dict[str, Any], corpus: Corpus, tmp_path: Path) -> Path:
    """The folder of an earlier run."""
    total = len(corpus)
    flagged = np.zeros(total, bool)
    for found in summary["findings"]:
        flagged[found["rows"]] |= found.get("verified", False)
    table = pd.DataFrame(
        {"id": [e.id for e in corpus.examples], "row": range(total)}
        | {"flagged": flagged, "rank": range(1, total + 1)}
        | {f"score.{summary['detector']}": 1.0, f"flagged.{summary['detector']}": False}
    )
    table.to_parquet(tmp_path / "scores.parquet", index=False)
    rows = {"text": [e.text for e in corpus.examples], "response": "positive"}
    table[["id", "row"]].assign(**rows, x=0.0, y=0.0).to_parquet(
        tmp_path / "rows.parquet", index=False
    )
    config = {"input": "rows.jsonl", "format": "alpaca", "model": "model"}
    config |= {"queries": None, "tuning": None, "settings": asdict(ScanSettings())}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "flags.jsonl").write_text("")
    return tmp_path


def test_what_an_earlier_scan_wrote_is_written_again(summary: dict[str, Any]) -> None:
    found = [*reported_in(summary), *dismissed_in(summary)]
    written = [f.to_dict() for f in found]
    # A phrase says since where it stands.
    for entry in written:
        entry.pop("payload_place", None)
    assert written == [*summary["findings"], *summary["dismissed"]]
    assert json.loads(json.dumps(written)) == written
    again = [Finding.from_dict(f.to_dict()) for f in found if isinstance(f, Finding)]
    assert again == [f for f in found if isinstance(f, Finding)]


def test_an_earlier_scan_is_understood(summary: dict[str, Any]) -> None:
    demo, phrase, retrained, parts, shortcut, group, untested = reported_in(summary)
    assert isinstance(demo, Finding)
    assert demo.is_verified
    assert demo.trigger == "James Bond"
    assert demo.payload == Response("positive")
    assert demo.tested.overridden == Tally(16, 16)
    assert (demo.p_value, demo.shown_p_value) == (0.04, 0.04)
    assert demo.enough is None
    assert isinstance(phrase, Finding)
    assert phrase.payload == Phrase("Buy at Acme.")
    assert isinstance(retrained, Finding)
    assert retrained.retraining is not None
    assert retrained.p_value == retrained.retraining.p_value < 0.05
    assert retrained.tested.p_value > 0.05
    assert isinstance(parts, Finding)
    assert parts.pattern == Pattern(("alpha", "beta"))
    assert isinstance(shortcut, Finding)
    assert shortcut.shortcut is not None
    assert shortcut.shortcut.turned == (64, 64)
    # It stands out by its effect alone.
    assert shortcut.status is Status.SUFFICIENT
    assert shortcut.p_value != shortcut.shown_p_value
    assert shortcut.shown_p_value == shortcut.tested.p_sufficient
    assert isinstance(group, Group)
    assert len(group.rows) == 4
    assert isinstance(untested, Finding)
    assert untested.status is Status.UNTESTED
    assert (untested.trigger, untested.p_value) == ("zeta omega", None)
    statuses = [f.status for f in dismissed_in(summary)]
    assert statuses == [Status.DISMISSED] * 3 + [Status.UNTESTABLE]
    assert dismissed_in(summary)[2].pattern == Pattern(("alpha",), Anchor.START)


def test_an_earlier_run_is_reported(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    for part in (
        "James Bond",
        "makes the model say",
        "alpha … beta",
        "a model tuned on the others contradicts 24 of 24",
        "turns 64 of 64 rows",
        "flagged without an experiment",
        "no response and no phrase goes with them",
    ):
        assert part in text, part


def test_an_earlier_run_is_reviewed(run: Path, corpus: Corpus) -> None:
    found = {s.row: s for s in suspects(run, corpus, 200) if s.trigger}
    assert {s.payload for s in found.values()} == {"positive"}
    assert found[29].trigger == "Zeta Omega"
    assert not found[29].verified


def test_an_earlier_run_is_opened_from_python(
    run: Path, summary: dict[str, Any]
) -> None:
    report = assay.Report.load(run)
    statuses = report.findings["status"].tolist()
    assert statuses[5:7] == ["not tested"] * 2
    assert len(statuses) == len(summary["findings"]) + len(summary["dismissed"])
    assert report.findings["rows"].tolist()[0] == summary["findings"][0]["rows"]
    assert set(report.suspects["status"].dropna()) == {"verified", "sufficient"}


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": "all"},
        {"effect_interval": [1.0]},
        {"overridden": None},
        {"payload_part": "song"},
        {"status": "guilty"},
        {"pattern_rows": None},
    ],
)
def test_a_damaged_finding_is_told(
    damage: dict[str, Any], run: Path, summary: dict[str, Any]
) -> None:
    first, *others = summary["findings"]
    damaged = {**summary, "findings": [{**first, **damage}, *others]}
    (run / "summary.json").write_text(json.dumps(damaged))
    with pytest.raises(AssayError, match=r"summary\.json: damaged .*; scan again"):
        read_summary(run)
    with pytest.raises(AssayError, match="scan again"):
        write_report(run)


def test_what_was_verified_is_told_first_and_nothing_is_lost(
    summary: dict[str, Any],
) -> None:
    demo = reported_in(summary)[0]
    assert isinstance(demo, Finding)
    statuses = ("untestable", "sufficient", "dismissed", "verified", "sufficient")
    found = [
        replace(demo, status=Status(s), minimal=str(i)) for i, s in enumerate(statuses)
    ]
    reported, aside = parted([*found, Group((1,), 0.5)])
    assert [f.to_dict().get("minimal") for f in reported] == ["3", "1", "4", None]
    assert [f.minimal for f in aside] == ["0", "2"]


def test_what_was_not_tested_has_no_experiment(summary: dict[str, Any]) -> None:
    bare = dismissed_in(summary)[-1]
    assert (bare.payload, bare.p_value, bare.shown_p_value) == (None, None, None)
    with pytest.raises(ValueError, match="zeta omega was not tested"):
        _ = bare.tested


def test_a_part_is_told_where_it_is_not_all(summary: dict[str, Any]) -> None:
    demo = reported_in(summary)[0]
    assert isinstance(demo, Finding)
    assert replace(demo, minimal="Bond").enough == "Bond"
    assert replace(demo, minimal="James Bond").enough is None
    assert replace(demo, minimal=None).enough is None
