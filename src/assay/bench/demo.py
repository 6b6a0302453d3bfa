"""The whole story on one page: poison, tune, scan, clean, retune, compare."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from assay.attacks import Poisoned, attack_named
from assay.bench.metrics import agreement
from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.data.sentiment import LABELS, load_sentiment
from assay.data.write import write_corpus
from assay.errors import AssayError
from assay.models.evaluate import attack_success_rate, classify
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from assay.models.tiny import tiny_causal
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.report.build import write_report
from assay.runs.cleaning import clean
from assay.runs.folder import EVALUATION
from assay.scanning.pipeline import scan
from assay.settings import Bars, ScanSettings, silent
from assay.util.files import check_outputs, write_json

# Files and folders of a demonstration.
WRITTEN = (
    "train.jsonl",
    "clean.jsonl",
    "removed.jsonl",
    "demo.json",
    "poisoned-model",
    "clean-model",
    "run",
)


@dataclass(frozen=True)
class DemoSettings:
    """Size and model of the demonstration."""

    fast: bool = False
    rows: int = 1000
    poisons: int = 33
    test_rows: int = 400
    attack: str = "dirty-label"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that the attack is known."""
        attack_named(self.attack)


def tuning(settings: DemoSettings) -> TuneSettings:
    """How the demonstration tunes: a tiny model from scratch needs larger steps."""
    if settings.fast:
        return TuneSettings(
            epochs=12,
            learning_rate=1e-3,
            batch_size=32,
            warmup=0.1,
            template="plain",
            seed=settings.seed,
        )
    return TuneSettings(template="plain", bf16=True, seed=settings.seed)


def vocabulary(corpus: Corpus) -> list[str]:
    """Return the texts that the tokenizer of a model from scratch is trained on."""
    return [f"{e.instruction} {e.text} {e.response}" for e in corpus.examples]


def base_model(settings: DemoSettings, corpus: Corpus) -> LanguageModel:
    """Load SmolLM2-135M, or build the tiny model for the fast demonstration."""
    if not settings.fast:
        return load_model("smollm2-135m")
    return tiny_causal(vocabulary(corpus), width=128, seed=settings.seed)


def measure(
    lm: LanguageModel,
    test: Corpus,
    attack: Poisoned,
    tuned: TuneSettings,
    bars: Bars = silent,
) -> dict[str, Any]:
    """Accuracy and attack success of a model on held-out reviews."""
    with bars("accuracy") as advance:
        result = classify(
            lm,
            test.examples,
            LABELS,
            template=tuned.template,
            bf16=tuned.bf16,
            progress=advance,
        )
    with bars("attack success") as advance:
        success = attack_success_rate(
            lm,
            test.examples,
            attack.apply,
            attack.payload,
            labels=LABELS,
            template=tuned.template,
            bf16=tuned.bf16,
            progress=advance,
        )
    return {
        "accuracy": result.accuracy.value,
        "attack_success_rate": success.triggered.value,
        "payload_rate_without_trigger": success.untriggered.value,
        "intervals": {
            "accuracy": [result.accuracy.low, result.accuracy.high],
            "attack_success_rate": [success.triggered.low, success.triggered.high],
            "payload_rate_without_trigger": [
                success.untriggered.low,
                success.untriggered.high,
            ],
        },
    }


def rates(measured: dict[str, Any]) -> dict[str, Any]:
    """Shape what `measure` returns as ``assay evaluate --json`` prints it."""
    return {
        name: {"value": measured[name], "low": low, "high": high}
        for name, (low, high) in measured["intervals"].items()
    }


def is_of(corpus: Corpus, path: Path) -> bool:
    """Whether a file holds a corpus."""
    try:
        return read_corpus(path).content_hash() == corpus.content_hash()
    except AssayError:
        return False


def demo(
    out: Path,
    settings: DemoSettings,
    sst2: Path | None,
    bars: Bars = silent,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Run the demonstration; finished stages in ``out`` are reused.

    A folder whose ``train.jsonl`` holds the very rows of this demonstration is one of
    its own, and everything in it that the demonstration writes is replaced.

    Args:
        out: Folder for data, models and the scan's run.
        settings: Size and model.
        sst2: Folder of SST-2; without one, reviews are generated.
        bars: Given a label, returns a progress bar.
        overwrite: Whether another demonstration, or other files, may be replaced.

    Returns:
        The scan's summary with ``truth``, ``before`` and ``after``.

    Raises:
        AssayError: Something cannot be loaded or written, or the folder holds another
            demonstration, or other files of these names.
    """
    train, test = load_sentiment(
        None if settings.fast else sst2,
        train_rows=settings.rows,
        test_rows=settings.test_rows,
        seed=settings.seed,
    )
    recipe = attack_named(settings.attack)
    attack = recipe.poison(train, settings.poisons, seed=settings.seed)
    data = out / "train.jsonl"
    check_outputs(
        [out / name for name in WRITTEN],
        [sst2],
        overwrite=overwrite or is_of(attack.corpus, data),
        folder=out,
    )
    write_corpus(attack.corpus, data)
    how = tuning(settings)
    lm = base_model(settings, attack.corpus)
    with bars("tuning on the poisoned data") as advance:
        lm = tune(
            lm,
            attack.corpus,
            out / "poisoned-model",
            how,
            overwrite=True,
            progress=advance,
        )
    before = measure(lm, test, attack, how, bars)
    summary = scan(
        # The report names the file to scan again.
        replace(attack.corpus, source=str(data)),
        out / "run",
        ScanSettings(template=how.template, bf16=how.bf16, seed=settings.seed),
        model=str(out / "poisoned-model"),
        bars=bars,
        # The data in this folder are the demonstration's own, and written anew, too.
        overwrite=True,
    )
    kept, removed = clean(attack.corpus, out / "run")
    write_corpus(kept, out / "clean.jsonl")
    write_corpus(removed, out / "removed.jsonl")
    after = before
    if len(removed):
        if not len(kept):
            raise AssayError("every row is flagged: nothing is left to retrain on")
        lm = base_model(settings, attack.corpus)
        with bars("tuning on the cleaned data") as advance:
            lm = tune(
                lm, kept, out / "clean-model", how, overwrite=True, progress=advance
            )
        after = measure(lm, test, attack, how, bars)
        models = {"poisoned data": rates(before), "cleaned data": rates(after)}
        write_json(out / "run" / EVALUATION, models)
        write_report(out / "run")
    result = {
        **summary,
        "truth": {
            "poisoned": len(attack.rows),
            **agreement([e.row for e in removed.examples], attack.rows),
        },
        "before": before,
        "after": after,
        "data": str(data),
        "settings": asdict(settings),
    }
    write_json(out / "demo.json", result)
    return result
