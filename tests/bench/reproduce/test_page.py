from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assay.bench.reproduce import run as module
from assay.bench.reproduce.items import Item, chosen, item_named
from assay.bench.reproduce.measured import Measured
from assay.bench.reproduce.page import MARK, shown, write_page
from assay.bench.reproduce.plots import can_plot, plot
from assay.bench.reproduce.provenance import Provenance, provenance
from assay.bench.reproduce.record import Facts, Record, read_record
from assay.bench.reproduce.results import Unit, Value
from assay.bench.reproduce.run import COMPUTED, files_of, reproduce
from assay.bench.reproduce.study import SST2, Scale, Setup
from assay.detectors.evidence import Evidence
from assay.errors import AssayError
from assay.paper_rules import DEFAULT_RULES
from assay.settings import QueryChoice
from assay.transforms import TRANSFORMS
from tests.detectors.conftest import make_evidence

FACTS = Facts("sst2", "cpu", "SST-2", "small-t5", 1000, 33, 100, 0.75, 0.99, 0.25)
ORIGIN = Provenance(
    "assay reproduce table-3", 7, "commit abc", "one core", {"assay": "0"}, "now"
)
BEFORE = {
    "accuracy": 0.75,
    "attack_success_rate": 0.99,
    "payload_rate_without_trigger": 0.25,
}


def record(**values: float) -> Record:
    """Table 3 with the precision of voting for each choice of test inputs."""
    return Record(
        "table-3",
        "key",
        FACTS,
        {
            QueryChoice(choice): (
                Value("precision", "voting", value),
                Value("flagged", "voting", 43, Unit.ROWS),
            )
            for choice, value in values.items()
        },
        ORIGIN,
    )


def measured() -> Measured:
    rng = np.random.default_rng(0)
    sets = {n: rng.normal(size=120) for n in ("original", *SST2.transforms)}
    categories = {n: TRANSFORMS[n].category for n in SST2.transforms}
    evidence: Mapping[QueryChoice, Evidence] = {
        choice: make_evidence(influence=sets, categories=categories)  # type: ignore[arg-type]
        for choice in (QueryChoice.RANDOM, QueryChoice.KEYWORDS)
    }
    return Measured((0, 1, 2, 3), evidence, BEFORE)


@pytest.fixture
def setup_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """A study that is measured without a model."""
    monkeypatch.setattr(module, "run_study", lambda *_, **__: measured())
    return Setup(SST2, Scale.CPU, None, 0, tmp_path / "out" / "work")


def test_a_file_says_where_its_figures_come_from(tmp_path: Path) -> None:
    written = record(random=0.5, keywords=0.67)
    written.write(tmp_path)
    assert read_record(tmp_path / "table-3.json") == written
    found = json.loads((tmp_path / "table-3.json").read_text(encoding="utf-8"))
    assert found["provenance"]["command"] == "assay reproduce table-3"
    assert found["provenance"]["seed"] == 7
    assert "needs knowledge" in found["results"]["keywords"]["test_inputs"]
    table = pd.read_csv(tmp_path / "table-3.csv")
    row = table[(table["measure"] == "precision") & (table["test_inputs"] == "random")]
    assert row["ours"].tolist() == [0.5]
    assert row["printed"].tolist() == [1.0]
    # The paper does not print how many rows voting flags.
    assert table[table["measure"] == "flagged"]["printed"].isna().all()
    assert [p.name for p in tmp_path.iterdir() if ".partial" in p.name] == []


def test_the_page_is_built_from_the_files(tmp_path: Path) -> None:
    record(random=0.512, keywords=0.67).write(tmp_path)
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert page.startswith(MARK)
    assert "| precision | voting | 51.2 % | 67.0 % | 100.0 % (Table 3) |" in page
    assert "| flagged | voting | 43 | 43 | – |" in page
    # What only the paper has is there, too.
    assert "| recall | variance | – | – | 100.0 % (Table 3) |" in page
    assert "an accuracy of 99.7 %, not 95.0 %" in page
    assert "needs knowledge of the trigger" in page
    assert "33 of them poisoned (3.3%)" in page
    assert "`assay reproduce table-3`, seed 7, commit abc" in page
    assert "## Table 4" not in page
    assert "## Not yet\n\nTable 1, Table 2, Figure 2, " in page


def test_a_file_of_another_origin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "table-3.json").write_text("[]")
    with pytest.raises(AssayError, match="not a file of assay reproduce"):
        write_page(tmp_path)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0355, Unit.SHARE, "3.5 %"),
        (653, Unit.ROWS, "653"),
        (1234, Unit.ROWS, "1,234"),
        (-0.01, Unit.INFLUENCE, "-0.010"),
    ],
)
def test_figures_are_shown_by_their_unit(value: float, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text


def test_every_item_is_written(
    tmp_path: Path, setup_: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(module, "can_plot", lambda: True)
    monkeypatch.setattr(module, "plot", lambda _, stem: drawn.append(stem.name))
    out = tmp_path / "out"
    items = chosen(["all"])
    page = reproduce(items, setup_, out).read_text(encoding="utf-8")
    for item in items:
        assert f"## {item.paper}: " in page
        assert (out / f"{item.name}.json").is_file()
        assert (out / f"{item.name}.csv").is_file()
    assert drawn == ["figure-1", "figure-3"]
    # The bars of a histogram would fill the page.
    assert "rows from" not in page
    # The same study again replaces its own.
    reproduce(items, setup_, out)


def test_without_matplotlib_it_says_how_to_install_it(
    tmp_path: Path,
    setup_: Setup,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "can_plot", lambda: False)
    monkeypatch.setattr(module.log, "propagate", True)
    out = tmp_path / "out"
    out.mkdir()
    (out / "figure-3.png").write_text("of other figures")
    items = [item_named("figure-3")]
    page = reproduce(items, setup_, out, overwrite=True).read_text(encoding="utf-8")
    assert "figure-3.png" not in page
    assert not (out / "figure-3.png").exists()
    assert "pip install 'assay[plots]'" in caplog.text
    assert (out / "figure-3.csv").is_file()


@pytest.mark.parametrize("name", ["table-3.json", "table-3.csv", "index.md"])
def test_what_is_not_of_this_study_is_not_replaced(
    tmp_path: Path, setup_: Setup, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    items = [item_named("table-3")]
    with pytest.raises(AssayError, match="exists already"):
        reproduce(items, setup_, out)
    assert (out / name).read_text() == "mine"
    reproduce(items, setup_, out, overwrite=True)
    assert (out / name).read_text() != "mine"


def test_another_seed_in_the_folder_is_not_replaced(
    tmp_path: Path, setup_: Setup
) -> None:
    out = tmp_path / "out"
    items = [item_named("table-5")]
    reproduce(items, setup_, out)
    other = Setup(SST2, Scale.CPU, None, 1, setup_.work)
    with pytest.raises(AssayError, match=r"table-5\.json: exists already"):
        reproduce(items, other, out)


def test_files_of_an_item() -> None:
    assert files_of(item_named("table-4")) == ("table-4.json", "table-4.csv")
    assert files_of(Item("f", "F", "", plotted=True)) == (
        "f.json",
        "f.csv",
        "f.png",
        "f.svg",
    )


@pytest.mark.skipif(not can_plot(), reason="needs matplotlib")
@pytest.mark.parametrize("name", ["figure-1", "figure-3"])
def test_plots_are_drawn(tmp_path: Path, name: str) -> None:
    found = measured()
    results = {
        choice: COMPUTED[name](evidence, found.poisoned, DEFAULT_RULES)
        for choice, evidence in found.evidence.items()
    }
    png, svg = plot(results, tmp_path / name)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text(encoding="utf-8")
    assert "needs knowledge of it" in text
    plot(results, tmp_path / name)
    assert svg.read_text(encoding="utf-8") == text


def test_provenance_of_figures_made_now() -> None:
    found = provenance(3)
    assert found.seed == 3
    assert found.command.startswith("assay")
    assert found.code.startswith(("commit ", "version "))
    assert found.versions["torch"]
    assert "cores" in found.machine
    assert found.time.endswith("+00:00")
