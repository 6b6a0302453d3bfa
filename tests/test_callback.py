"""The callback in a real, tiny run of transformers.Trainer."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

import assay
from assay.callback import AssayCallback
from assay.data.read import read_corpus
from assay.models.encode import collate, encode
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from tests.conftest import Small
from tests.processes import in_processes

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"rank": 2, "template": "plain"}


def trainer(
    small: Small, out: Path, callback: AssayCallback, **arguments: Any
) -> Trainer:
    """Train one epoch on the small rows."""
    lm = load_model(str(small.model))
    encoded = encode(read_corpus(small.rows).examples, lm, template="plain")

    def together(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return vars(collate([encoded.examples[r["row"]] for r in rows], lm))

    return Trainer(
        lm.model,
        TrainingArguments(
            str(out),
            num_train_epochs=1,
            learning_rate=1e-3,
            remove_unused_columns=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **arguments,
        ),
        data_collator=together,
        train_dataset=datasets.Dataset.from_dict({"row": range(60)}),
        processing_class=lm.tokenizer,
        callbacks=[callback],
    )


def test_the_trained_model_is_scanned(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = AssayCallback(small.rows, run=tmp_path / "run", **SETTINGS)
    work = trainer(small, tmp_path / "out", callback)
    assert callback.report is None
    with caplog.at_level(logging.INFO, logger="assay"):
        work.train()
    report = callback.report
    assert report is not None
    assert report.run == tmp_path / "run"
    assert f"{report.verdict}: {report.summary['flagged']} of 60 rows" in caplog.text
    work.save_model(str(tmp_path / "saved"))
    on_disk = assay.scan(
        small.rows, model=tmp_path / "saved", run=tmp_path / "again", **SETTINGS
    )
    numbers = report.scores.select_dtypes("number")
    np.testing.assert_allclose(
        numbers, on_disk.scores.select_dtypes("number"), atol=1e-5
    )
    before = assay.scan(
        small.rows, model=small.model, run=tmp_path / "before", **SETTINGS
    )
    column = "score.high-loss"
    assert report.scores[column].mean() < before.scores[column].mean()
    # Training can go on.
    work.train()
    assert all(p.requires_grad for p in work.model.parameters())


def test_a_scan_that_fails_does_not_cost_the_model(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("in the way")
    callback = AssayCallback(small.rows, run=tmp_path / "run", **SETTINGS)
    work = trainer(small, tmp_path / "out", callback)
    work.train()
    assert callback.report is None
    assert "the scan failed:" in caplog.text
    assert "Traceback" not in caplog.text
    assert work.state.global_step == 8


def test_mistakes_are_told_before_training(small: Small, tmp_path: Path) -> None:
    with pytest.raises(assay.AssayError, match="the list: no rows in it"):
        AssayCallback([])
    with pytest.raises(assay.AssayError, match="unknown setting 'rnak'"):
        AssayCallback(small.rows, rnak=2)
    with pytest.raises(assay.AssayError, match="setting rank=0: expected a whole num"):
        AssayCallback(small.rows, rank=0)
    # A run of weights that are no more, files of somebody else, and the model's folder.
    earlier = {"input": "a", "model": "m", "settings": {}, "key": "x"}
    for name, text, overwrite, message in (
        ("config.json", json.dumps(earlier), False, "holds a run, which cannot be one"),
        ("config.json", "{}", True, r"config.json: not written by assay"),
        ("log.txt", "mine", True, r"log.txt: not written by assay"),
    ):
        run = tmp_path / "run"
        run.mkdir()
        (run / name).write_text(text)
        with pytest.raises(assay.AssayError, match=message):
            AssayCallback(small.rows, run=run, overwrite=overwrite)
        shutil.rmtree(run)
    run.mkdir()
    (run / "config.json").write_text(json.dumps(earlier))
    AssayCallback(small.rows, run=run, overwrite=True)
    (run / "flags.jsonl").write_bytes(small.rows.read_bytes())
    with pytest.raises(assay.AssayError, match=r"flags.jsonl: is read by the same"):
        AssayCallback(run / "flags.jsonl", run=run, overwrite=True)
    work = trainer(small, tmp_path, AssayCallback(small.rows))
    work.callback_handler.processing_class = None
    with pytest.raises(assay.AssayError, match="needs a tokenizer"):
        work.train()
    assert work.state.global_step == 0


def _train_one_of_two(folder: Path, model: Path) -> None:
    small = Small(model.parent)
    callback = AssayCallback(small.rows, run=folder / "run", **SETTINGS)
    work = trainer(small, folder / "out", callback, ddp_backend="gloo")
    work.train()
    main = work.is_world_process_zero()
    assert (callback.report is not None) == main
    torch.distributed.barrier()
    assert (folder / "run" / "summary.json").is_file()


def test_one_of_several_processes_scans(small: Small, tmp_path: Path) -> None:
    in_processes(tmp_path, _train_one_of_two, tmp_path, small.model, processes=2)


def test_a_tokenizer_of_its_own(small: Small, tmp_path: Path) -> None:
    lm: LanguageModel = load_model(str(small.model))
    lm.tokenizer.pad_token = None
    callback = AssayCallback(
        small.rows, run=tmp_path / "run", tokenizer=lm.tokenizer, **SETTINGS
    )
    trainer(small, tmp_path / "out", callback).train()
    assert callback.report is not None
    assert lm.tokenizer.pad_token is None
