"""Fine-tuning: one plain, deterministic loop that survives being killed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.models.adapters import add_lora
from assay.models.encode import IGNORED, EncodedExample, collate, encode, warn_truncated
from assay.models.kept_checkpoints import (
    forget_after,
    keep_checkpoint,
    kept_checkpoints,
)
from assay.models.language_model import LanguageModel
from assay.models.load import load_model, save_model
from assay.models.loss import response_losses
from assay.models.optimizers import optimizer_for
from assay.models.positions import check_positions
from assay.models.training_log import Line, TrainingLog
from assay.models.tune_folder import (
    CHECKPOINT,
    DONE,
    check_folder,
    checkpoint_state,
    damaged,
)
from assay.models.tune_settings import TuneSettings
from assay.models.validation import held_out, undisturbed, validation_loss

log = logging.getLogger("assay")

# Measures a model after so many steps: names of measures to their values.
Evaluate = Callable[[LanguageModel, int], Mapping[str, float]]


def run_key(lm_name: str, corpus: Corpus, settings: TuneSettings) -> str:
    """Name a tuning run: same key, same weights."""
    text = json.dumps([lm_name, corpus.content_hash(), asdict(settings)])
    return hashlib.sha256(text.encode()).hexdigest()


def noted_as(base: str, corpus: Corpus, settings: TuneSettings) -> dict[str, Any]:
    """Describe a tuning run, as its folder notes it."""
    key = run_key(base, corpus, settings)
    return {"key": key, "base": base, "settings": asdict(settings)}


def rate_at(step: int, steps: int, settings: TuneSettings) -> float:
    """Learning rate, as a share of the peak, of 0-based optimiser step ``step``."""
    warms = settings.warmup and settings.schedule != "constant"
    warm = max(1, round(settings.warmup * steps)) if warms else 0
    left = (steps - step) / max(1, steps - warm)
    if step < warm:
        return (step + 1) / warm
    if settings.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    return left if settings.schedule == "linear" else 1.0


def epoch_batches(
    rows: list[EncodedExample], batch_size: int, seed: int
) -> list[list[int]]:
    """Shuffle positions into batches whose rows have similar length."""
    rng = random.Random(seed)
    order = list(range(len(rows)))
    rng.shuffle(order)
    batches = []
    window = batch_size * 16
    for start in range(0, len(order), window):
        # Sorting within a window spares padding and keeps the order random.
        near = sorted(
            order[start : start + window], key=lambda i: len(rows[i].input_ids)
        )
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    rng.shuffle(batches)
    return batches


def _save_checkpoint(
    path: Path,
    key: str,
    step: int,
    trained: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    lines: list[Line],
) -> None:
    """Keep what `_restore` goes back to."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        "key": key,
        "step": step,
        "model": {n: p.detach() for n, p in trained.items()},
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": cuda,
        "log": lines,
    }
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise AssayError(f"{path}: cannot save a checkpoint: {error}") from None


def tuned_how(model: str) -> TuneSettings | None:
    """Return how `tune` made a model folder; None where it did not."""
    marker = Path(model) / DONE
    try:
        noted = json.loads(marker.read_text(encoding="utf-8"))["settings"]
        return TuneSettings(**noted)
    except (OSError, ValueError, KeyError, TypeError, AssayError):
        return None


def _restore(
    path: Path,
    key: str,
    model: Any,
    trained: dict[str, Any],
    optimizer: torch.optim.Optimizer,
) -> tuple[int, list[Line]]:
    """Go back to a checkpoint of this run.

    Returns:
        The steps done, 0 without one, and the log of them.
    """
    state = checkpoint_state(path)
    if state is None:
        return 0, []
    if state["key"] != key:
        log.warning("%s is of another run and will be replaced", path)
        return 0, []
    try:
        if state["model"].keys() != trained.keys():
            raise ValueError("it holds other weights")
        model.load_state_dict(state["model"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        return int(state["step"]), list(state["log"])
    except Exception as error:
        raise damaged(path, error) from error


def _made_ready(lm: LanguageModel, settings: TuneSettings) -> dict[str, Any]:
    """Add adapters and checkpointing as asked for; return what is to be trained."""
    if settings.lora_rank:
        add_lora(lm, settings.lora_rank)
    if settings.gradient_checkpointing:
        lm.model.gradient_checkpointing_enable()
        # Transformers 5 has done it by now; a second hook could not be removed.
        if not hasattr(lm.model, "_require_grads_hook"):
            lm.model.enable_input_require_grads()
    return {n: p for n, p in lm.model.named_parameters() if p.requires_grad}


def tune(
    lm: LanguageModel,
    corpus: Corpus,
    out: Path,
    settings: TuneSettings,
    *,
    overwrite: bool = False,
    evaluate: Evaluate | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LanguageModel:
    """Tune a model on a corpus and save it in a folder.

    A finished folder with the same model, data and settings is loaded instead; an
    unfinished one goes on from its last checkpoint to the same weights it would
    have reached uninterrupted. A folder with anything else in it is refused.

    Beside the model, ``training.jsonl`` tells of each step its ``step``, ``epoch``,
    ``loss`` and ``learning_rate``, and of each that was evaluated its
    ``validation_loss`` and what ``evaluate`` returned. It is brought up to date with
    every checkpoint.

    Args:
        lm: The model to tune; its weights change.
        corpus: Training data.
        out: Folder for the model.
        settings: How to tune.
        overwrite: Whether another model or run that is in the folder may be replaced;
            never is the model to tune, or a folder with the data in it.
        evaluate: Measures the model as it is after so many steps, before the first,
            after every ``evaluate_every`` of them and after the last; it changes
            nothing of what the run ends with. `assay.models.tasks.curve` makes one.
        progress: Called with optimiser steps done and in all.

    Returns:
        The tuned model, in evaluation mode.

    Raises:
        AssayError: No rows, a loss that is not finite, a folder that is damaged,
            read or holds something else, or a full disk.
    """
    if not len(corpus):
        raise AssayError(f"{corpus.source}: no rows to tune on")
    about = noted_as(lm.name, corpus, settings)
    # A model in memory may come from a folder of another name than its own, and an
    # adapter needs the model that it was made for.
    base = lm.model.get_base_model() if hasattr(lm.model, "peft_config") else lm.model
    read = [corpus.source, lm.name, base.name_or_path]
    if check_folder(out, about, read, overwrite=overwrite):
        log.info("reusing the model tuned earlier in %s", out)
        tuned = load_model(str(out))
        tuned.model.eval()
        return tuned
    trained_on, held = held_out(corpus.examples, settings.validation, settings.seed)
    rows, validation = (_encoded(lm, some, settings) for some in (trained_on, held))
    torch.manual_seed(settings.seed)
    trained = _made_ready(lm, settings)
    model = lm.model
    optimizer = optimizer_for(list(trained.values()), settings)
    per_epoch = math.ceil(
        math.ceil(len(rows) / settings.batch_size) / settings.accumulation
    )
    steps = per_epoch * settings.epochs
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssayError(f"{out}: cannot create the folder: {error}") from None
    checkpoint = out / CHECKPOINT
    start, lines = _restore(checkpoint, about["key"], model, trained, optimizer)
    history = TrainingLog(per_epoch, lines)
    if start:
        log.info("going on from step %d of %d in %s", start, steps, out)
    forget_after(out, start)
    if start and settings.keep_checkpoints and start not in kept_checkpoints(out):
        keep_checkpoint(lm, out, about, start, settings.keep_checkpoints)

    def measure(step: int) -> None:
        """Note what there is to measure after a step."""
        if validation:
            with undisturbed(lm):
                loss = validation_loss(lm, validation, bf16=settings.bf16)
            history.evaluated({"validation_loss": loss})
        if evaluate is not None:
            with undisturbed(lm):
                history.evaluated(evaluate(lm, step))

    every = settings.checkpoint_every or per_epoch
    evaluated = settings.evaluate_every or per_epoch
    device = next(model.parameters()).device.type
    model.train()
    if not start and (validation or evaluate is not None):
        history.step(0, None, 0.0)
        measure(0)
    done = 0
    for epoch in range(settings.epochs):
        batches = epoch_batches(rows, settings.batch_size, settings.seed * 1000 + epoch)
        for first in range(0, len(batches), settings.accumulation):
            done += 1
            if done <= start:
                continue
            group = batches[first : first + settings.accumulation]
            rate = settings.learning_rate * rate_at(done - 1, steps, settings)
            loss = _step(
                lm, rows, group, optimizer, trained, settings, device, done, rate
            )
            history.step(done, loss, rate)
            if done % evaluated == 0 or done == steps:
                measure(done)
            if progress is not None:
                progress(done, steps)
            if done % every == 0 and done < steps:
                _save_checkpoint(
                    checkpoint, about["key"], done, trained, optimizer, history.lines
                )
                history.write(out)
                if settings.keep_checkpoints:
                    keep_checkpoint(lm, out, about, done, settings.keep_checkpoints)
    model.eval()
    optimizer.zero_grad()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_disable()
        model.disable_input_require_grads()
    _finish(lm, out, about, history)
    return lm


def _encoded(
    lm: LanguageModel, examples: list[Example], settings: TuneSettings
) -> list[EncodedExample]:
    """Encode rows, say how many are cut, and make sure that the model can take them."""
    encoded = encode(
        examples,
        lm,
        template=settings.template,
        max_length=settings.max_length,
        all_answers=True,
    )
    warn_truncated(encoded, settings.max_length)
    check_positions(lm, encoded.examples)
    return encoded.examples


def _finish(
    lm: LanguageModel, out: Path, about: dict[str, Any], history: TrainingLog
) -> None:
    """Save the tuned model, and note of which run it is."""
    finished = out / DONE
    partial = finished.with_suffix(".partial")
    try:
        # Killed in between, an earlier run must not claim these weights.
        finished.unlink(missing_ok=True)
        save_model(lm, out)
        history.write(out)
        partial.write_text(json.dumps(about, indent=1))
        partial.replace(finished)
        (out / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AssayError(f"{out}: cannot save the model: {error}") from error


def _step(
    lm: LanguageModel,
    rows: list[EncodedExample],
    group: list[list[int]],
    optimizer: torch.optim.Optimizer,
    trained: dict[str, Any],
    settings: TuneSettings,
    device: str,
    step: int,
    rate: float,
) -> float:
    """Take one optimiser step on the mean response-token loss of the group.

    Returns:
        That loss, before the step.
    """
    for options in optimizer.param_groups:
        options["lr"] = rate
    tokens = sum(
        label != IGNORED for batch in group for i in batch for label in rows[i].labels
    )
    total = 0.0
    for positions in group:
        batch = collate([rows[i] for i in positions], lm)
        with torch.autocast(device, torch.bfloat16, enabled=settings.bf16):
            output = response_losses(lm.model, batch, lm.is_encoder_decoder)
        # Without an eos token, every response of a group can be empty.
        loss = output.loss.sum() / max(1, tokens)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AssayError(
                f"the loss is {value:g} at step {step}: lower --learning-rate"
                + (" or try --no-bf16" if settings.bf16 else "")
            )
        total += value
        loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(list(trained.values()), settings.clip)
    if not torch.isfinite(norm):
        raise AssayError(
            f"the gradient is not finite at step {step}: lower --learning-rate"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total
