import dataclasses
import json

import pytest
import torch

from assay.errors import AssayError
from assay.models.encode import encode
from assay.models.kept_checkpoints import kept_checkpoints
from assay.models.load import load_model
from assay.models.log_probs import response_log_probs
from assay.models.training_log import LOG, TrainingLog
from assay.models.tune import DONE, tune, tuned_how
from assay.models.tune_settings import TuneSettings
from assay.models.validation import held_out, undisturbed, validation_loss

from .conftest import build, corpus_of, rows

FAST = TuneSettings(epochs=3, learning_rate=3e-3, batch_size=2, template="plain")


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def same(one, two):
    pairs = zip(one.model.parameters(), two.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_rows_are_held_out_by_share():
    examples = rows() * 10
    kept, out = held_out(examples, 0.05, 0)
    assert len(out) == 3
    assert len(kept) == 57
    assert held_out(examples, 0.05, 0)[1] == out
    assert held_out(examples, 0.05, 1)[1] != out
    assert held_out(examples, 0.0, 0) == (examples, [])
    # One at least, and one at least is left.
    assert len(held_out(rows(), 0.01, 0)[1]) == 1
    with pytest.raises(AssayError, match=r"--validation 0.5 of 1 rows leaves none"):
        held_out(rows()[:1], 0.5, 0)


def test_the_loss_is_the_mean_over_tokens(lm):
    encoded = encode(rows(), lm, template="plain").examples
    tokens = sum(label != -100 for row in encoded for label in row.labels)
    expected = -response_log_probs(lm, rows(), template="plain").sum() / tokens
    lm.model.train()
    assert validation_loss(lm, encoded) == pytest.approx(expected, rel=1e-5)


def test_every_step_is_noted(causal, corpus, tmp_path):
    settings = dataclasses.replace(
        FAST, validation=0.3, schedule="constant_with_warmup", warmup=0.5
    )
    tuned = tune(causal, corpus, tmp_path / "out", settings)
    found = lines(tmp_path / "out")
    # Four of six rows in batches of two, three epochs; 0 is the untrained model.
    assert [line["step"] for line in found] == list(range(7))
    assert [line["epoch"] for line in found] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert [line["learning_rate"] for line in found[1:]] == pytest.approx(
        [1e-3, 2e-3, 3e-3, 3e-3, 3e-3, 3e-3]
    )
    assert found[0]["loss"] is None
    assert all(line["loss"] > 0 for line in found[1:])
    assert [i for i, x in enumerate(found) if "validation_loss" in x] == [0, 2, 4, 6]
    _, out = held_out(rows(), 0.3, 0)
    encoded = encode(out, tuned, template="plain").examples
    assert found[-1]["validation_loss"] == pytest.approx(
        validation_loss(tuned, encoded)
    )


def test_the_first_loss_is_that_of_the_untrained_model(causal, corpus, tmp_path):
    encoded = encode(rows(), causal, template="plain").examples
    before = validation_loss(causal, encoded)
    tune(causal, corpus, tmp_path, dataclasses.replace(FAST, batch_size=6))
    found = lines(tmp_path)
    assert found[0]["step"] == 1
    assert found[0]["loss"] == pytest.approx(before, rel=1e-5)
    assert found[-1]["loss"] < before


def test_rows_that_are_held_out_are_not_learned(tmp_path):
    settings = dataclasses.replace(FAST, validation=0.5, epochs=2)
    kept, out = held_out(rows(), 0.5, 0)
    other = [e if e in kept else e.edit(response="food") for e in rows()]
    one = tune(build("llama"), corpus_of(rows()), tmp_path / "1", settings)
    two = tune(build("llama"), corpus_of(other), tmp_path / "2", settings)
    assert out
    assert same(one, two)
    losses = [lines(tmp_path / n)[-1]["validation_loss"] for n in "12"]
    assert losses[0] != losses[1]


def test_what_is_measured_changes_nothing(corpus, tmp_path):
    def dropping():
        lm = build("llama")
        for part in lm.model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.2
        return lm

    seen = []

    def measure(lm, step):
        seen.append((step, lm.model.training))
        return {"draw": float(torch.rand(9).sum()), "nothing": float("nan")}

    settings = dataclasses.replace(FAST, evaluate_every=4)
    plain = tune(dropping(), corpus, tmp_path / "1", settings)
    watched = tune(dropping(), corpus, tmp_path / "2", settings, evaluate=measure)
    assert same(plain, watched)
    # Before the first step, every four, and after the last.
    assert seen == [(0, False), (4, False), (8, False), (9, False)]
    assert [x["step"] for x in lines(tmp_path / "2") if "draw" in x] == [0, 4, 8, 9]
    assert lines(tmp_path / "2")[0]["nothing"] is None


def test_a_measure_cannot_take_the_place_of_the_loss():
    history = TrainingLog(2)
    history.step(1, 0.5, 0.1)
    with pytest.raises(AssayError, match="'loss' is a field of "):
        history.evaluated({"loss": 1.0})


def test_the_newest_checkpoints_are_kept_as_models(corpus, tmp_path):
    settings = dataclasses.replace(FAST, checkpoint_every=2, keep_checkpoints=2)
    out = tmp_path / "out"
    tuned = tune(build("llama"), corpus, out, settings)
    # Of nine steps, 2, 4, 6 and 8 were saved.
    assert list(kept_checkpoints(out)) == [6, 8]
    kept = load_model(str(out / "checkpoint-8"))
    assert not same(kept, tuned)
    assert tuned_how(str(out / "checkpoint-8")) == settings
    assert json.loads((out / "checkpoint-8" / DONE).read_text())["step"] == 8
    # A checkpoint is no finished run.
    with pytest.raises(AssayError, match="holds a model of another run"):
        tune(build("llama"), corpus, out / "checkpoint-8", settings)


def test_checkpoints_of_another_run_go_with_it(corpus, tmp_path):
    settings = dataclasses.replace(FAST, checkpoint_every=2, keep_checkpoints=9)
    tune(build("llama"), corpus, tmp_path, settings)
    (tmp_path / "checkpoint-99").mkdir()
    (tmp_path / "checkpoint-99" / "mine").write_text("mine")
    fewer = dataclasses.replace(FAST, checkpoint_every=5, keep_checkpoints=1)
    tune(build("llama"), corpus, tmp_path, fewer, overwrite=True)
    assert list(kept_checkpoints(tmp_path)) == [5]
    assert (tmp_path / "checkpoint-99" / "mine").read_text() == "mine"


def test_what_is_drawn_while_measuring_is_not_missed_by_training():
    lm = build("llama")
    lm.model.train()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with undisturbed(lm):
        assert not lm.model.training
        torch.rand(7)
    assert lm.model.training
    assert torch.equal(torch.rand(3), expected)
