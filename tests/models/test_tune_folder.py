"""What a folder holds decides whether a model may be tuned into it."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from assay.errors import AssayError
from assay.models.load import load_model, save_model
from assay.models.tune import noted_as, tune
from assay.models.tune_folder import CHECKPOINT, DONE, check_folder
from assay.models.tune_settings import TuneSettings

from .conftest import build

FAST = TuneSettings(epochs=1, batch_size=2, template="plain")


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def refused(message, *arguments, **options):
    """Tuning ends in one line before anything is written."""
    out = arguments[2]
    before = content(out)

    def never(*_):
        raise AssertionError("tuned")

    with pytest.raises(AssayError, match=message) as caught:
        tune(*arguments, progress=never, **options)
    assert "\n" not in str(caught.value)
    assert content(out) == before


def test_the_model_to_tune_is_never_replaced(causal, corpus, tmp_path):
    base = tmp_path / "base"
    save_model(causal, base)
    (tmp_path / "link").symlink_to(base)
    for out in (base, tmp_path / "link", base / ".." / "base", tmp_path):
        for overwrite in (False, True):
            refused(
                "which the same command reads|is read by the same command",
                *(load_model(str(base)), corpus, out, FAST),
                overwrite=overwrite,
            )
    # Whatever it is called in memory.
    lm = load_model(str(base))
    lm.name = "mine"
    refused("is read by", lm, corpus, base, FAST, overwrite=True)
    # A folder inside of it is another.
    tune(load_model(str(base)), corpus, base / "tuned", FAST)
    assert (base / "tuned" / DONE).is_file()


def test_nor_is_one_that_is_called_as_half_a_model(causal, corpus, tmp_path):
    base = tmp_path / "out.partial"
    save_model(causal, base)
    (tmp_path / "out").mkdir()
    message = r"out.partial: is read by the same command"
    refused(message, load_model(str(base)), corpus, tmp_path / "out", FAST)
    assert (base / "model.safetensors").is_file()


def test_nor_is_one_whose_weights_are_links_into_the_folder(causal, corpus, tmp_path):
    save_model(causal, tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for path in (tmp_path / "real").iterdir():
        (tmp_path / "linked" / path.name).symlink_to(path)
    lm = load_model(str(tmp_path / "linked"))
    message = "which the same command reads"
    refused(message, lm, corpus, tmp_path / "real", FAST, overwrite=True)
    # Copies by hard links are files of their own as soon as one is replaced.
    (tmp_path / "copy").mkdir()
    for path in (tmp_path / "real").iterdir():
        os.link(path, tmp_path / "copy" / path.name)
    before = content(tmp_path / "real")
    lm = load_model(str(tmp_path / "real"))
    tune(lm, corpus, tmp_path / "copy", FAST, overwrite=True)
    assert content(tmp_path / "real") == before
    assert (
        content(tmp_path / "copy")["model.safetensors"] != (before["model.safetensors"])
    )


def test_nor_are_the_data(causal, corpus, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text("rows")
    corpus = dataclasses.replace(corpus, source=str(data))
    refused("holds .*rows.jsonl", causal, corpus, tmp_path, FAST, overwrite=True)


def test_another_model_is_replaced_only_when_asked(causal, corpus, tmp_path):
    out = tmp_path / "out"
    save_model(build("t5"), out)
    message = "out: is not empty, and nothing in it is of this run; .* --overwrite"
    refused(message, causal, corpus, out, FAST)
    tuned = tune(causal, corpus, out, FAST, overwrite=True)
    assert not load_model(str(out)).is_encoder_decoder
    assert (
        json.loads((out / DONE).read_text())["key"]
        == noted_as(tuned.name, corpus, FAST)["key"]
    )


def test_another_run_is_named_by_what_differs(causal, corpus, tmp_path):
    out = tmp_path / "out"
    tune(causal, corpus, out, FAST)
    other = dataclasses.replace(FAST, epochs=2, seed=7)
    message = r"of another run \(epochs was 1, now 2; seed was 0, now 7\); name"
    refused(message, build("llama"), corpus, out, other)
    refused(r"run \(of other data\)", causal, corpus.select([0, 1, 2]), out, FAST)
    renamed = build("llama")
    renamed.name = "other"
    message = r"base model was tiny-llama, now other"
    refused(message, renamed, corpus, out, FAST)
    # What was noted is no more than text.
    noted = json.loads((out / DONE).read_text())
    (out / DONE).write_text(json.dumps({**noted, "settings": [1], "key": "x"}))
    refused("of another run", build("llama"), corpus, out, FAST)


def test_files_of_somebody_else_are_not_mixed_with_a_model(causal, corpus, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    refused("is not empty, and nothing in it", causal, corpus, tmp_path, FAST)
    tune(causal, corpus, tmp_path, FAST, overwrite=True)


@pytest.mark.parametrize("made", [False, True])
def test_nothing_and_an_empty_folder_are_free(causal, corpus, tmp_path, made):
    out = tmp_path / "out"
    if made:
        out.mkdir()
    assert not check_folder(out, noted_as("m", corpus, FAST), [], overwrite=False)
    assert out.exists() == made


def test_an_unfinished_run_goes_on_whatever_else_it_has_left(corpus, tmp_path):
    about = noted_as("m", corpus, FAST)
    torch.save({"key": about["key"]}, tmp_path / CHECKPOINT)
    # Killed while the model was saved.
    (tmp_path / "model.safetensors").write_text("half")
    assert not check_folder(tmp_path, about, [], overwrite=False)
    other = noted_as("n", corpus, FAST)
    with pytest.raises(AssayError, match="holds the checkpoint of another run"):
        check_folder(tmp_path, other, [], overwrite=False)
    (tmp_path / DONE).write_text(json.dumps(about))
    assert check_folder(tmp_path, about, [], overwrite=False)
