"""assay's tuning loop beside transformers' Trainer: time, memory, and going on.

    .venv/bin/python benchmarks/trainer.py    # a quarter of an hour on two cores

The same model, rows, encoding, optimiser and learning rates. Each side runs in a
process of its own, twice: through, and stopped half way and resumed.
``resumed_differs_by`` is the largest difference between the weights of the two.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from provenance import HERE, provenance

from assay.data.read import read_corpus
from assay.models.encode import IGNORED, collate, encode
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.util.files import write_json

SIDES = ("ours", "trainer")
SETTINGS = TuneSettings(
    epochs=2, learning_rate=5e-5, batch_size=8, template="chat", bf16=True, warmup=0
)


class Stopped(Exception):
    """The run is ended half way."""


def ours(lm: LanguageModel, rows: Path, count: int, out: Path, stop: bool) -> Any:
    corpus = read_corpus(rows).select(range(count))

    def progress(done: int, steps: int) -> None:
        if stop and done == steps // 2 + 1:
            raise Stopped

    return tune(lm, corpus, out, SETTINGS, progress=progress).model


def trainer(lm: LanguageModel, rows: Path, count: int, out: Path, stop: bool) -> Any:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    corpus = read_corpus(rows).select(range(count))
    encoded = encode(corpus.examples, lm, template="chat", all_answers=True).examples

    class Stop(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = stop

    def batch(chosen: list[Any]) -> dict[str, torch.Tensor]:
        made = collate([c["row"] for c in chosen], lm)
        return {
            "input_ids": made.input_ids,
            "attention_mask": made.attention_mask,
            "labels": made.labels,
        }

    arguments = TrainingArguments(
        output_dir=str(out),
        num_train_epochs=SETTINGS.epochs,
        learning_rate=SETTINGS.learning_rate,
        per_device_train_batch_size=SETTINGS.batch_size,
        optim="adamw_torch_fused",
        bf16=True,
        use_cpu=True,
        train_sampling_strategy="group_by_length",
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=SETTINGS.seed,
    )
    data = [{"row": r, "input_ids": r.input_ids} for r in encoded]
    run = Trainer(
        model=lm.model,
        args=arguments,
        train_dataset=data,
        data_collator=batch,  # type: ignore[arg-type]
    )
    if stop:
        run.add_callback(Stop())
    checkpoints = sorted(out.glob("checkpoint-*"))
    run.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    if stop:
        raise Stopped
    return run.model


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten().cpu() for p in model.parameters()])


def one(side: str, rows: Path, count: int) -> dict[str, Any]:
    """Measure a side in this process."""
    work = {"ours": ours, "trainer": trainer}[side]
    torch.manual_seed(SETTINGS.seed)
    with tempfile.TemporaryDirectory() as folder:
        lm = load_model("smollm2-135m")
        tokens = sum(
            len(r.input_ids)
            for r in encode(
                read_corpus(rows).select(range(count)).examples, lm, all_answers=True
            ).examples
        )
        start = time.perf_counter()
        through = weights(work(lm, rows, count, Path(folder) / "through", False))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        try:
            work(load_model("smollm2-135m"), rows, count, Path(folder) / "cut", True)
        except Stopped:
            pass
        else:
            raise AssertionError("the run was not stopped")
        again = work(
            load_model("smollm2-135m"), rows, count, Path(folder) / "cut", False
        )
        differs = float((weights(again) - through).abs().max())
    return {
        "seconds_an_epoch": round(seconds / SETTINGS.epochs, 1),
        "tokens": tokens,
        "peak_gib": round(peak, 2),
        "resumed_differs_by": differs,
    }


def main(
    rows: Annotated[Path, typer.Option(help="Training rows.")] = HERE.parent.parent
    / "shared/data/clean/alpaca_en.jsonl",
    count: Annotated[int, typer.Option(help="How many of them.")] = 300,
    side: Annotated[str, typer.Option(help="One side, in this process.")] = "",
    out: Path = HERE / "results" / "trainer.json",
) -> None:
    """Run both sides, each in a process of its own, and write the result file."""
    assert IGNORED == -100, "what Trainer leaves out of the loss"
    if side:
        print(json.dumps(one(side, rows, count)))
        return
    found = {}
    for name in SIDES:
        words = [sys.executable, __file__, "--side", name, "--count", str(count)]
        done = subprocess.run(
            [*words, "--rows", str(rows)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
    write_json(out, {**provenance(), "rows": count, "seed": SETTINGS.seed, **found})


if __name__ == "__main__":
    typer.run(main)
