from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

import assay
from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from tests.conftest import Demo, Small
from tests.made import entry


def scanned(demo: Demo, data: Any, run: Path) -> assay.Report:
    """Scan the demo's rows again, with what the demo has measured."""
    shutil.copytree(demo.folder / "run", run)
    report = assay.scan(data, model=demo.folder / "poisoned-model", run=run)
    assert report.summary["reused"]
    return report


def records(demo: Demo) -> list[dict[str, Any]]:
    with (demo.folder / "train.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (list, lambda rows: rows),
        (pd.DataFrame, pd.DataFrame),
        (datasets.Dataset, datasets.Dataset.from_list),
    ],
)
def test_clean_gives_back_what_was_given(
    kind: type, made: Any, demo: Demo, tmp_path: Path
) -> None:
    rows = records(demo)
    report = scanned(demo, made(rows), tmp_path / "run")
    assert report.verdict == "poisoned"
    kept, removed = report.clean()
    assert isinstance(kept, kind)
    assert isinstance(removed, kind)
    flagged = set(report.suspects.loc[report.suspects["flagged"], "id"])
    assert len(removed) == len(flagged) == report.summary["flagged"]
    if kind is not list:
        kept, removed = (datasets_or_frame(part) for part in (kept, removed))
    assert kept == [r for r in rows if r["id"] not in flagged]
    assert removed == [r for r in rows if r["id"] in flagged]


def datasets_or_frame(part: Any) -> list[dict[str, Any]]:
    frame = part if isinstance(part, pd.DataFrame) else part.to_pandas()
    return [dict(r) for r in frame.to_dict("records")]


def test_frames_say_what_was_found(demo: Demo, tmp_path: Path) -> None:
    path = demo.folder / "train.jsonl"
    report = scanned(demo, path, tmp_path / "run")
    kept, removed = report.clean()
    assert isinstance(kept, Corpus)
    assert kept.examples == read_corpus(demo.folder / "clean.jsonl").examples or len(
        kept
    ) + len(removed) == len(report.scores)

    found = report.findings
    assert found.loc[0, "status"] == "verified"
    assert found.loc[0, "trigger"] == "James Bond"
    assert found.loc[0, "p_value"] <= 0.05
    assert list(found["status"]).count("dismissed") == len(report.summary["dismissed"])

    suspects = report.suspects
    flagged = suspects[suspects["flagged"]]
    assert suspects["flagged"].is_monotonic_decreasing
    assert flagged["rank"].tolist() == list(range(1, len(flagged) + 1))
    for line in flagged.to_dict("records"):
        assert {line["text"][a:b] for a, b in line["spans"]} == {"James Bond"}
        assert (line["trigger"], line["payload"]) == ("James Bond", "positive")
        assert 0 < line["p_value"] <= 0.05
    on_disk = [json.loads(line) for line in (report.run / "flags.jsonl").open()]
    assert [tuple(s) for f in on_disk for s in f["spans"]] == [
        s for spans in flagged["spans"] for s in spans
    ]

    # Opened later, with the data and without.
    opened = assay.Report.load(report.run, path)
    pd.testing.assert_frame_equal(opened.suspects, suspects)
    assert opened.clean() == (kept, removed)
    bare = assay.Report.load(report.run)
    assert bare == opened
    assert bare.suspects["text"].iloc[: len(flagged)].equals(flagged["text"])
    with pytest.raises(assay.AssayError, match=r"Report\.load\(run, data\)"):
        bare.clean()
    with pytest.raises(assay.AssayError, match="its 1000 rows are not those of"):
        assay.Report.load(report.run, demo.folder / "clean.jsonl")
    with pytest.raises(FrozenInstanceError):
        report.run = tmp_path  # type: ignore[misc]


def test_a_model_in_memory_is_scanned_as_one_on_disk(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lm = load_model(str(small.model))
    lm.model.train()
    first = assay.scan(small.rows, model=small.model, rank=2, template="plain")
    second = assay.scan(small.rows, model=lm, rank=2, template="plain")
    # Two folders of their own, in a second or not.
    assert first.run.parent == second.run.parent == Path("runs")
    assert first.run != second.run
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert lm.model.training
    assert all(p.requires_grad for p in lm.model.parameters())
    again = assay.scan(small.rows, model=lm, rank=2, template="plain", run=second.run)
    assert again.summary["reused"]
    next(lm.model.parameters()).data[0, 0] += 0.1
    changed = {"model": lm, "rank": 2, "template": "plain", "run": second.run}
    second_scores = second.scores
    with pytest.raises(assay.AssayError, match="holds a run of other data or settings"):
        assay.scan(small.rows, **changed)
    third = assay.scan(small.rows, model=lm, rank=2, template="plain")
    assert third.scores["score.high-loss"].ne(second.scores["score.high-loss"]).any()
    keys = [
        json.loads((r.run / "config.json").read_text())["key"] for r in (second, third)
    ]
    assert keys[0] != keys[1]
    replaced = assay.scan(small.rows, overwrite=True, **changed)
    assert replaced.scores["score.high-loss"].ne(second_scores["score.high-loss"]).any()


def test_a_proxy_is_tuned_first(small: Small, tmp_path: Path) -> None:
    from assay.models.tune_settings import TuneSettings

    report = assay.scan(
        small.rows,
        base_model=str(small.model),
        run=tmp_path,
        proxy=TuneSettings(epochs=1),
        rank=2,
        template="plain",
    )
    assert (tmp_path / "proxy" / "model.safetensors").is_file()
    assert "tune" in report.summary["timings"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, r"give model= \(tuned on these data\), base_model=, or both"),
    (
        {"model": 5},
        r"the model is a int; expected a folder, hf://owner/name, or a Lang",
    ),
    ({"model": "nowhere"}, "model 'nowhere': no such folder, GGUF file or alias"),
    ({"model": "m", "rnak": 4}, "unknown setting 'rnak'; known: detector, verify"),
    ({"model": "m", "rank": "4"}, "setting rank='4': expected int"),
    ({"model": "m", "rank": True}, "setting rank=True: expected int"),
    ({"model": "m", "rank": 0}, "setting rank=0: expected a whole number of at leas"),
    ({"model": "m", "modules": 1}, "setting modules=1: expected str or None"),
    ({"model": "m", "detector": "magic"}, "unknown detector 'magic'; known:"),
    ({"model": "m", "format": "xml"}, "unknown format 'xml'"),
    ({"model": "m", "query_data": []}, "the list: no rows in it"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_requests_end_in_one_line(
    options: dict[str, Any], message: str, small: Small, tmp_path: Path
) -> None:
    with pytest.raises(assay.AssayError, match=message) as caught:
        assay.scan(small.rows, run=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_model_whose_tokenizer_does_not_fit(small: Small, tmp_path: Path) -> None:
    lm = load_model(str(small.model))
    lm.tokenizer.add_tokens(["another"])
    odd = LanguageModel(lm.model, lm.tokenizer, "odd", False)
    with pytest.raises(assay.AssayError, match="they do not belong together"):
        assay.scan(small.rows, model=odd, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"not a run folder \(no summary.json\)"),
        ("{oops", r"summary.json: damaged"),
        ("[]", r"summary.json: damaged"),
        ('{"verdict": "clean"}', r"summary.json: damaged"),
    ],
)
def test_what_is_no_run_is_not_opened(
    content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(assay.AssayError, match=message):
        assay.Report.load(tmp_path)


def hostile_run(folder: Path, text: str) -> Path:
    """Write a run folder of two rows, one flagged, both of the same hostile text."""
    finding = entry([0], text, payload=text)
    weak = entry([0, 1], text, payload=text, verified=False, status="sufficient")
    summary = {"verdict": text, "rows": 2, "flagged": 1, "detector": "d"}
    summary |= {"findings": [weak, finding], "dismissed": []}
    (folder / "summary.json").write_text(json.dumps(summary))
    scores = {"id": ["a", "b"], "row": [0, 1], "rank": [1, 2], "score.d": [0.2, 0.1]}
    frame = pd.DataFrame({**scores, "flagged": [True, False]})
    frame.to_parquet(folder / "scores.parquet")
    line = {"id": "a", "row": 0, "text": text, "response": text}
    (folder / "flags.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["tuple", "DatasetDict"])
def test_clean_keeps_what_is_around_the_rows(kind: str, tmp_path: Path) -> None:
    rows = [{"id": i, "prompt": "cf", "completion": "x"} for i in ("a", "b")]
    split = datasets.Dataset.from_list(rows)
    data = {
        "tuple": tuple(rows),
        "DatasetDict": datasets.DatasetDict(other=split, train=split),
    }[kind]
    run = hostile_run(tmp_path, "cf")
    scanned = {"id": ["a", "b"], "text": ["cf", "cf"], "response": ["x", "x"]}
    pd.DataFrame(scanned).to_parquet(run / "rows.parquet")
    kept, removed = assay.Report.load(run, data).clean()
    assert type(kept) is type(removed) is type(data)
    if kind == "tuple":
        assert (kept, removed) == ((rows[1],), (rows[0],))
    else:
        assert {n: part["id"] for n, part in kept.items()} == {
            "other": ["a", "b"],
            "train": ["b"],
        }
        assert {n: part["id"] for n, part in removed.items()} == {"train": ["a"]}


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror='alert(1)'>",
        "a & b </td></table><b>",
        "\u202etxet\u202c \x1b[31m \x00\u2028",
    ],
)
def test_a_notebook_shows_hostile_text_as_text(text: str, tmp_path: Path) -> None:
    shown = assay.Report.load(hostile_run(tmp_path, text))._repr_html_()
    tags = {"div", "p", "strong", "table", "tr", "th", "td"}
    for piece in shown.split("<")[1:]:
        assert piece.split(">")[0].strip("/") in tags
    shown.encode()
    assert not set("\u202e\u202c\x1b\x00\u2028") & set(shown)


def test_a_row_of_two_findings_is_told_by_the_verified_one(tmp_path: Path) -> None:
    suspects = assay.Report.load(hostile_run(tmp_path, "cf")).suspects
    assert suspects["id"].tolist() == ["a", "b"]
    assert suspects["status"].tolist() == ["verified", "sufficient"]
    assert suspects["spans"].tolist() == [[(0, 2)], []]
    rows = {"id": ["a", "b"], "text": ["cf a", "b cf"], "response": ["x", "y"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    suspects = assay.Report.load(tmp_path).suspects
    assert suspects["spans"].tolist() == [[(0, 2)], [(2, 4)]]
    assert suspects["response"].tolist() == ["x", "y"]


def test_a_report_as_html(demo: Demo, tmp_path: Path) -> None:
    path = assay.Report.load(demo.folder / "run").to_html(tmp_path / "report.html")
    assert "James Bond" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_importing_and_helping_do_not_import_torch() -> None:
    code = (
        "import sys, assay\n"
        "assay.__version__, assay.AssayError\n"
        "from assay.cli import run\n"
        "run(['--help'])\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from assay import scan\n"
        "assert 'torch' in sys.modules\n"
        "assert callable(assay.scan) and assay.scan is scan\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        assay.scann  # noqa: B018
