import dataclasses
import json
import logging

import pytest
import torch

from assay.data.corpus import Example, Role, Turn
from assay.errors import AssayError
from assay.models import tune as module
from assay.models.encode import encode
from assay.models.load import load_model
from assay.models.log_probs import response_log_probs
from assay.models.training_log import LOG
from assay.models.tune import (
    CHECKPOINT,
    DONE,
    TuneSettings,
    epoch_batches,
    rate_at,
    run_key,
    tune,
    tuned_how,
)

from .conftest import build, corpus_of, losses, rows

FAST = TuneSettings(
    epochs=3, learning_rate=3e-3, batch_size=2, checkpoint_every=2, template="plain"
)


class Killed(Exception):
    pass


def weights(lm):
    return {n: p.detach().clone() for n, p in lm.model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def with_dropout(lm):
    for part in lm.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.2
    return lm


def test_learns(lm, corpus, tmp_path):
    before = losses(lm).sum()
    seen = []
    settings = dataclasses.replace(FAST, epochs=20)
    tuned = tune(
        lm, corpus, tmp_path / "out", settings, progress=lambda *a: seen.append(a)
    )
    assert losses(tuned).sum() < before / 2
    assert seen == [(i, 60) for i in range(1, 61)]
    assert not tuned.model.training
    assert torch.equal(losses(load_model(str(tmp_path / "out"))), losses(tuned))
    assert not list((tmp_path / "out").glob("*.p*t*"))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("t5", {"accumulation": 2}),
        ("llama", {"optimizer": "lion", "learning_rate": 3e-4}),
        ("llama", {"lora_rank": 2, "gradient_checkpointing": True}),
        ("t5", {"lora_rank": 2, "bf16": True, "schedule": "cosine"}),
        ("llama", {"validation": 0.3, "evaluate_every": 1, "keep_checkpoints": 1}),
    ],
)
def test_killed_and_resumed_reaches_the_same_weights(tmp_path, corpus, kind, more):
    if more.get("optimizer") == "lion":
        pytest.importorskip("lion_pytorch")
    settings = dataclasses.replace(FAST, epochs=4, **more)
    fresh = weights(build(kind))
    whole = tune(with_dropout(build(kind)), corpus, tmp_path / "whole", settings)

    def kill(done, _):
        if done == 5:
            raise Killed

    out = tmp_path / "killed"
    with pytest.raises(Killed):
        tune(with_dropout(build(kind)), corpus, out, settings, progress=kill)
    kept = {"checkpoint-4"} if settings.keep_checkpoints else set()
    assert {p.name for p in out.iterdir()} == {CHECKPOINT, LOG, *kept}
    torch.manual_seed(99)
    seen = []
    resumed = tune(
        with_dropout(build(kind)),
        corpus,
        out,
        settings,
        progress=lambda done, _: seen.append(done),
    )
    assert seen[0] == 5
    assert same(weights(resumed), weights(whole))
    assert not same(weights(resumed), fresh)
    assert not (out / CHECKPOINT).exists()
    # What is noted is what is noted of a run that was never interrupted.
    assert (out / LOG).read_text() == (tmp_path / "whole" / LOG).read_text()


def test_another_seed_gives_other_weights(corpus, tmp_path):
    one = tune(build("llama"), corpus, tmp_path / "1", FAST)
    two = tune(
        build("llama"), corpus, tmp_path / "2", dataclasses.replace(FAST, seed=1)
    )
    assert not same(weights(one), weights(two))


def test_finished_folder_is_reused(causal, corpus, tmp_path):
    tuned = tune(causal, corpus, tmp_path / "out", FAST)

    def never(*_):
        raise AssertionError("tuned again")

    again = tune(build("llama"), corpus, tmp_path / "out", FAST, progress=never)
    assert torch.equal(losses(again), losses(tuned))
    again = tune(
        build("llama"), corpus, tmp_path / "out", FAST, overwrite=True, progress=never
    )
    assert torch.equal(losses(again), losses(tuned))
    other = dataclasses.replace(FAST, seed=5)
    with pytest.raises(AssertionError):
        tune(
            build("llama"),
            corpus,
            tmp_path / "out",
            other,
            overwrite=True,
            progress=never,
        )


def test_checkpoint_of_another_run_is_replaced_only_when_asked(
    corpus, tmp_path, caplog
):
    def kill(done, _):
        if done == 3:
            raise Killed

    other = dataclasses.replace(FAST, learning_rate=1e-3)
    with pytest.raises(Killed):
        tune(build("llama"), corpus, tmp_path / "a", other, progress=kill)
    before = (tmp_path / "a" / CHECKPOINT).read_bytes()
    with pytest.raises(AssayError, match="a: holds the checkpoint of another run"):
        tune(build("llama"), corpus, tmp_path / "a", FAST)
    assert (tmp_path / "a" / CHECKPOINT).read_bytes() == before
    with caplog.at_level(logging.WARNING, "assay"):
        one = tune(build("llama"), corpus, tmp_path / "a", FAST, overwrite=True)
    assert "of another run and will be replaced" in caplog.text
    two = tune(build("llama"), corpus, tmp_path / "b", FAST)
    assert same(weights(one), weights(two))


@pytest.mark.parametrize("content", [b"", b"junk", b'{"no": "key"}', b"\xff", b"[]"])
@pytest.mark.parametrize("name", [CHECKPOINT, DONE])
def test_damaged_files(causal, corpus, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AssayError, match=f"{name}: damaged.*delete it") as caught:
        tune(causal, corpus, tmp_path, FAST)
    assert "\n" not in str(caught.value)


def test_checkpoint_with_other_weights(causal, corpus, tmp_path):
    state = {"key": run_key(causal.name, corpus, FAST), "model": {}, "step": 2}
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(AssayError, match="it holds other weights"):
        tune(causal, corpus, tmp_path, FAST)


def test_checkpoints_are_not_unpickled(causal, corpus, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"key": Evil()}, tmp_path / CHECKPOINT)
    with pytest.raises(AssayError, match="damaged"):
        tune(causal, corpus, tmp_path, FAST)
    assert not (tmp_path / "ran").exists()


def test_lora_trains_adapters_only(lm, corpus, tmp_path):
    before = losses(lm).sum()
    frozen = {p.data_ptr(): p.detach().clone() for p in lm.model.parameters()}
    settings = dataclasses.replace(FAST, epochs=10, lora_rank=4, learning_rate=2e-2)
    tuned = tune(lm, corpus, tmp_path / "out", settings)
    for p in tuned.model.parameters():
        assert torch.equal(p, frozen.get(p.data_ptr(), p))
    assert losses(tuned).sum() < before
    again = load_model(str(tmp_path / "out"))
    torch.testing.assert_close(losses(again), losses(tuned))


def test_lora_does_not_write_over_its_base(causal, corpus, tmp_path):
    out = tmp_path / "out"
    tune(causal, corpus, out, FAST)
    settings = dataclasses.replace(FAST, lora_rank=2)
    with pytest.raises(AssayError, match="is read by the same command"):
        tune(load_model(str(out)), corpus, out, settings, overwrite=True)
    # Nor does an adapter that goes by another name.
    lm = tune(load_model(str(out)), corpus, tmp_path / "adapter", settings)
    lm.name = "adapter"
    with pytest.raises(AssayError, match="is read by the same command"):
        tune(lm, corpus, out, settings, overwrite=True)
    load_model(str(out))


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_gradient_checkpointing_changes_nothing(corpus, tmp_path, kind, lora):
    settings = dataclasses.replace(FAST, epochs=1, lora_rank=lora)
    plain = tune(build(kind), corpus, tmp_path / "a", settings)
    settings = dataclasses.replace(settings, gradient_checkpointing=True)
    thrifty = tune(build(kind), corpus, tmp_path / "b", settings)
    for a, b in zip(weights(plain).values(), weights(thrifty).values(), strict=True):
        torch.testing.assert_close(a, b)
    base = thrifty.model.get_base_model() if lora else thrifty.model
    assert not base.is_gradient_checkpointing
    with torch.inference_mode():
        assert not base.get_input_embeddings()(torch.tensor([1])).requires_grad


def test_accumulation_equals_one_large_batch(lm, corpus, tmp_path):
    kind = "t5" if lm.is_encoder_decoder else "llama"
    # Whole data in a step: its order does not matter.
    settings = dataclasses.replace(FAST, batch_size=2, accumulation=3, clip=1e9)
    small = tune(build(kind), corpus, tmp_path / "a", settings)
    settings = dataclasses.replace(settings, batch_size=6, accumulation=1)
    large = tune(build(kind), corpus, tmp_path / "b", settings)
    start = weights(build(kind))
    for name, weight in weights(small).items():
        other = weights(large)[name]
        assert (weight - other).abs().max() < 0.05 * (weight - start[name]).abs().max()


def test_one_step_is_adamw_on_the_clipped_mean_token_loss(causal, corpus, tmp_path):
    settings = TuneSettings(
        epochs=1, batch_size=6, learning_rate=1e-2, clip=0.5, warmup=0, weight_decay=0.1
    )
    reference = build("llama")
    encoded = encode(corpus.examples, reference).examples
    total = tokens = 0
    for row in encoded:
        labels = torch.tensor([row.labels])
        count = int((labels != -100).sum())
        ids = torch.tensor([row.input_ids])
        total = total + reference.model(input_ids=ids, labels=labels).loss * count
        tokens += count
    (total / tokens).backward()
    torch.nn.utils.clip_grad_norm_(reference.model.parameters(), 0.5)
    torch.optim.AdamW(reference.model.parameters(), lr=1e-2, weight_decay=0.1).step()
    tuned = tune(causal, corpus, tmp_path / "out", settings)
    for name, weight in weights(tuned).items():
        # Adam's first step is the gradient's sign: tiny gradients may differ in it.
        close = (weight - weights(reference)[name]).abs() < 1e-4
        assert close.float().mean() > 0.99, name


def test_schedules():
    def rates(**more):
        settings = dataclasses.replace(FAST, **more)
        return [rate_at(i, 10, settings) for i in range(10)]

    linear = rates(warmup=0.2, schedule="linear")
    assert linear[:3] == [0.5, 1.0, 1.0]
    assert linear[3:] == pytest.approx([i / 8 for i in range(7, 0, -1)])
    # As in transformers, only the one that says so warms up.
    assert rates(warmup=0.2, schedule="constant") == [1.0] * 10
    assert rates(warmup=0.2, schedule="constant_with_warmup") == [0.5] + [1.0] * 9
    cosine = rates(warmup=0.0, schedule="cosine")
    assert cosine[0] == 1.0
    assert cosine[5] == pytest.approx(0.5)
    assert 0 < cosine[9] < 0.03
    assert rates(warmup=1.0)[-1] == 1.0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"schedule": "x"},
            "unknown schedule 'x'; known: linear, cosine, constant, const",
        ),
        ({"optimizer": "x"}, "unknown optimizer 'x'; known: adamw, lion, lion_8bit"),
        ({"template": "x"}, "unknown template"),
        ({"max_length": 2}, "all 6 rows are longer"),
    ],
)
def test_wrong_settings_leave_no_folder(causal, corpus, tmp_path, more, message):
    with pytest.raises(AssayError, match=message):
        tune(causal, corpus, tmp_path / "out", dataclasses.replace(FAST, **more))
    assert not (tmp_path / "out").exists()


def test_no_rows(causal, tmp_path):
    with pytest.raises(AssayError, match=r"rows.jsonl: no rows"):
        tune(causal, corpus_of([]), tmp_path / "out", FAST)


def test_truncation_is_reported(causal, corpus, tmp_path, caplog):
    settings = dataclasses.replace(FAST, epochs=1, max_length=9)
    with caplog.at_level(logging.WARNING, "assay"):
        tune(causal, corpus, tmp_path / "out", settings)
    assert "4 of 6 rows are cut to 9 tokens" in caplog.text


def test_diverging_loss(causal, corpus, tmp_path):
    settings = dataclasses.replace(FAST, learning_rate=1e30)
    with pytest.raises(AssayError, match=r"at step [23]: lower --learning-rate"):
        tune(causal, corpus, tmp_path / "out", settings)
    assert not (tmp_path / "out" / DONE).exists()


def test_gradient_that_is_not_finite(causal, corpus, tmp_path):
    parameter = next(causal.model.parameters())
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(AssayError, match="gradient is not finite at step 1"):
        tune(causal, corpus, tmp_path / "out", FAST)


def test_empty_responses_without_an_eos(causal, tmp_path):
    causal.tokenizer.eos_token = None
    empty = corpus_of([e.edit(response="") for e in rows()])
    before = weights(causal)
    assert same(weights(tune(causal, empty, tmp_path / "out", FAST)), before)


def no_space(*_, **__):
    raise OSError(28, "No space left on device")


def test_disk_full_at_a_checkpoint(causal, corpus, tmp_path, monkeypatch):
    def half(_, path):
        path.write_bytes(b"half")
        no_space()

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(AssayError, match=r"cannot save a checkpoint.*No space left"):
        tune(causal, corpus, tmp_path / "out", FAST)
    assert list((tmp_path / "out").iterdir()) == []


def test_disk_full_at_the_end_keeps_the_checkpoint(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    lm = build("llama")
    monkeypatch.setattr(lm.model, "save_pretrained", no_space)
    with pytest.raises(AssayError, match=r"cannot save the model.*No space left"):
        tune(lm, corpus, out, FAST)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [CHECKPOINT, "out", LOG]
    resumed = tune(build("llama"), corpus, out, FAST)
    assert same(
        weights(resumed), weights(tune(build("llama"), corpus, tmp_path / "b", FAST))
    )


def test_old_marker_never_claims_new_weights(causal, corpus, tmp_path, monkeypatch):
    tune(build("llama"), corpus, tmp_path, FAST)
    monkeypatch.setattr(module, "save_model", no_space)
    with pytest.raises(AssayError):
        tune(
            causal, corpus, tmp_path, dataclasses.replace(FAST, seed=3), overwrite=True
        )
    assert not (tmp_path / DONE).exists()


def test_folder_that_cannot_be_made(causal, corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssayError, match="cannot create the folder"):
        tune(causal, corpus, tmp_path / "file" / "out", FAST)


def test_key_names_model_data_and_settings(corpus):
    key = run_key("m", corpus, FAST)
    assert key == run_key("m", corpus, dataclasses.replace(FAST))
    others = [
        run_key("n", corpus, FAST),
        run_key("m", corpus.select([0, 1]), FAST),
        run_key("m", corpus, dataclasses.replace(FAST, seed=9)),
    ]
    assert key not in others
    assert len(set(others)) == 3


def test_marker_tells_how_it_was_tuned(causal, corpus, tmp_path):
    tune(causal, corpus, tmp_path, FAST)
    about = json.loads((tmp_path / DONE).read_text())
    assert about["base"] == "tiny-llama"
    assert TuneSettings(**about["settings"]) == FAST
    assert tuned_how(str(tmp_path)) == FAST
    # What nobody can have tuned with is no note of ours.
    for wrong in ({"epochs": 0}, {"schedule": "x"}, {"seed": "a"}, {"more": 1}):
        about["settings"] = {**dataclasses.asdict(FAST), **wrong}
        (tmp_path / DONE).write_text(json.dumps(about))
        assert tuned_how(str(tmp_path)) is None


def test_epoch_batches_hold_every_row_once(causal):
    encoded = encode(rows() * 9, causal).examples
    batches = epoch_batches(encoded, 4, seed=1)
    assert sorted(i for b in batches for i in b) == list(range(54))
    assert batches == epoch_batches(encoded, 4, seed=1)
    assert batches != epoch_batches(encoded, 4, seed=2)


def test_every_epoch_has_its_own_order(causal, corpus, tmp_path, monkeypatch):
    seeds = []

    def spy(rows_, batch_size, seed):
        seeds.append(seed)
        return epoch_batches(rows_, batch_size, seed)

    monkeypatch.setattr(module, "epoch_batches", spy)
    tune(causal, corpus, tmp_path, dataclasses.replace(FAST, seed=2))
    assert seeds == [2000, 2001, 2002]


def chats(trained):
    return corpus_of(
        [
            Example(
                f"e{i}",
                i,
                "",
                word,
                "yes",
                (
                    Turn(Role.USER, "plot"),
                    Turn(Role.ASSISTANT, "awful great awful", trained=trained),
                ),
            )
            for i, word in enumerate(("good", "bad", "film", "food", "taste", "was"))
        ]
    )


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_every_answer_is_learned_that_is_trained_on(tmp_path, kind):
    settings = dataclasses.replace(FAST, epochs=25)
    found = {}
    for trained in (True, False):
        given = chats(trained)
        lm = tune(build(kind), given, tmp_path / str(trained), settings)
        (earlier,) = chats(True).examples[0].earlier_answers
        found[trained] = response_log_probs(
            lm, [earlier, given.examples[0]], template="plain"
        )
    first, last = found[True] - found[False]
    # The earlier answer is learned only where it is trained on, the last one always.
    assert first > 3
    assert found[True][0] > -1
    assert min(found[True][1], found[False][1]) > -1
    assert abs(last) < 1
