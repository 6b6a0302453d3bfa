"""Scan one tiny random model of every language model architecture of transformers.

.venv/bin/python benchmarks/architectures.py               # all that are missing
.venv/bin/python benchmarks/architectures.py opt qwen2_moe # these, again
.venv/bin/python benchmarks/tables.py                      # write the page

Every architecture is built, planned, scanned (with experiments, and with influences)
and given rows that are longer than its positions, in a process of its own. Losses and
gradients are compared with those of the model's own forward pass, row by row.
Outcomes go to results/architectures.json one by one: a run goes on where another ended.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from architecture_builds import Unbuildable, architectures, build
from provenance import provenance
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from assay.cli import app
from assay.data.generated import generated_reviews
from assay.data.read import read_corpus
from assay.errors import AssayError
from assay.influence.modules import linear_modules, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.probe import trackable
from assay.models.encode import IGNORED, EncodedExample, encode
from assay.models.language_model import LanguageModel
from assay.models.load import load_model, save_model
from assay.models.tiny import word_tokenizer

RESULT = Path(__file__).parent / "results" / "architectures.json"
SEED = 0
ROWS = 24
SECONDS = 900
# Of a loss or a gradient; sums in another order differ by about 1e-6.
EXACT = 1e-3
SCANNED, REFUSED, UNBUILT, FAULT = "scanned", "refused", "cannot be built", "FAULT"
INFLUENCE = ["--influence", "--detector", "voting", "--query-count", "2"]
INFLUENCE += ["--factor-rows", "8", "--rank", "2", "--no-verify"]


def write_rows(folder: Path) -> list[str]:
    """Write the data; return its texts, for the tokenizer."""
    reviews = generated_reviews(ROWS, seed=SEED)
    rows = [
        {"instruction": "judge the film", "input": text, "output": label}
        for text, label in reviews
    ]
    # About 100 tokens in one row: every model here has 64 positions.
    long = [{**rows[0], "input": " ".join(t for t, _ in reviews[:9])}, *rows[1:]]
    for name, lines in (("rows", rows), ("long", long)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    return [" ".join(row.values()) for row in rows]


@contextmanager
def _captured(log: Path) -> Any:
    """Send what is written to stdout and stderr into a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(file)


def command(log: Path, *words: str) -> dict[str, Any]:
    """Run a command of assay: its status, and what it said."""
    with _captured(log):
        try:
            # Not `assay.cli.run`, which may turn what is unforeseen into a line.
            status = app(args=list(words), standalone_mode=False)
            error, fault = None, None
        except AssayError as refusal:
            line = str(refusal).replace(str(log.parent), "…")
            status, error, fault = 2, line, None
        except BaseException as unforeseen:
            status, error, fault = 3, repr(unforeseen), traceback.format_exc()
    said = [line.strip() for line in log.read_text().splitlines()]
    return {
        "status": status or 0,
        "error": error,
        "fault": fault,
        "warnings": [x for x in said if x.startswith("warning:")],
    }


def own_losses(lm: LanguageModel, row: EncodedExample) -> Tensor:
    """Summed loss of a row by the model's own forward pass."""
    ids, labels = torch.tensor([row.input_ids]), torch.tensor(row.labels)
    mask = torch.ones_like(ids)
    if lm.is_encoder_decoder:
        more = {"labels": labels[None], "use_cache": False}
        output = lm.model(input_ids=ids, attention_mask=mask, **more)
        logits = output.logits[0, : len(labels)]
    else:
        output = lm.model(input_ids=ids, attention_mask=mask, use_cache=False)
        logits, labels = output.logits[0, :-1], labels[1:]
    return torch.nn.functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED, reduction="sum"
    )


def exactness(lm: LanguageModel, rows: list[EncodedExample]) -> dict[str, Any]:
    """Largest relative errors of losses and of layers' gradients of rows in a batch."""
    lm.model.eval()
    modules = trackable(lm, linear_modules(lm.model, shared=True))
    found: dict[str, Tensor] = {}
    losses = torch.zeros(len(rows))

    def sink_for(positions: Any, _: Any) -> Callable[..., None]:
        def sink(name: str, x: Tensor, g: Tensor) -> None:
            gradients = torch.einsum("bto,bti->boi", g, x)
            found.setdefault(name, torch.zeros(len(rows), *gradients.shape[1:]))
            found[name][list(positions)] = gradients

        return sink

    def done(positions: Any, output: Any) -> None:
        losses[list(positions)] = output.loss.detach()

    backward_pass(lm, rows, modules, sink_for, PassSettings(), done=done)
    worst_loss = worst = 0.0
    largest = max(float(f.norm()) for f in found.values())
    expected = {n: torch.zeros(len(rows), *weight_shape(m)) for n, m in modules.items()}
    for place, row in enumerate(rows):
        lm.model.zero_grad()
        loss = own_losses(lm, row)
        loss.backward()
        worst_loss = max(worst_loss, float((losses[place] - loss).abs() / loss.abs()))
        for name, module in modules.items():
            weight = module.weight.grad
            if weight is None:
                continue
            grad = weight.T if isinstance(module, Conv1D) else weight
            if module.bias is not None:
                grad = torch.cat([grad, module.bias.grad[:, None]], 1)
            expected[name][place] = grad
    for name, theirs in expected.items():
        off = float((found.get(name, torch.zeros_like(theirs)) - theirs).norm())
        worst = max(worst, off / max(float(theirs.norm()), 1e-4 * largest))
    return {"layers": len(modules), "loss_error": worst_loss, "gradient_error": worst}


def positions(folder: Path, model: str) -> dict[str, Any]:
    """Give the model rows that are longer than 64 tokens."""
    data = str(folder / "long.jsonl")
    words = ["plan", data, "--model", model, "--out", str(folder / "long")]
    words += ["--template", "plain"]
    first = command(folder / "long.log", *words)
    if first["fault"]:
        return {"fault": first["fault"]}
    if first["error"] is None:
        warned = [w for w in first["warnings"] if "was made for" in w]
        scan = command(folder / "long.log", "scan", *words[1:], "--no-verify")
        return {"fault": scan["fault"] or scan["error"], "warned": bool(warned)}
    if "--max-length" not in first["error"]:
        return {"fault": first["error"]}
    most = first["error"].rsplit(" ", 1)[1]
    scan = command(
        folder / "long.log",
        *("scan", *words[1:], "--no-verify", "--max-length", most),
    )
    return {"fault": scan["fault"] or scan["error"], "takes": int(most)}


def outcome(kind: str, mapping: str, folder: Path) -> dict[str, Any]:
    """Build and scan one architecture."""
    texts = write_rows(folder)
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(SEED)
    try:
        model, notes = build(kind, mapping, tokenizer)
        lm = LanguageModel(
            model, tokenizer, kind, bool(model.config.is_encoder_decoder)
        )
        save_model(lm, folder / "model")
    except Unbuildable as error:
        return {"outcome": UNBUILT, "line": str(error)}
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        trace = traceback.format_exc()
        return {"outcome": UNBUILT, "line": line, "unforeseen": trace}
    found: dict[str, Any] = {
        "built": type(model).__name__,
        "weights": sum(p.numel() for p in model.parameters()),
        "notes": notes,
    }
    path, data = str(folder / "model"), str(folder / "rows.jsonl")
    common = [data, "--model", path, "--template", "plain", "--out"]
    plan = command(folder / "plan.log", "plan", *common, str(folder / "run"))
    scan = command(
        folder / "scan.log",
        *("scan", *common, str(folder / "run"), "--rank", "4", "--no-retrain"),
    )
    influence = command(
        folder / "influence.log", "scan", *common, str(folder / "run2"), *INFLUENCE
    )
    runs = {"plan": plan, "scan": scan, "influence": influence}
    faults = {n: r["fault"] for n, r in runs.items() if r["fault"]}
    refusals = {n: r["error"] for n, r in runs.items() if r["status"] == 2}
    if faults:
        return {"outcome": FAULT, **found, "faults": faults}
    if refusals:
        told = len(refusals) == 3 and len(set(refusals.values())) == 1
        line = plan["error"] or next(iter(refusals.values()))
        if told and "\n" not in line:
            return {"outcome": REFUSED, **found, "line": line}
        return {"outcome": FAULT, **found, "faults": refusals}
    found["warnings"] = plan["warnings"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lm = load_model(path)
        corpus = read_corpus(data)
        rows = encode(corpus.examples, lm, template="plain").examples[:6]
        found |= exactness(lm, rows)
    found["positions"] = positions(folder, path)
    problems = {}
    if not found["loss_error"] < EXACT or not found["gradient_error"] < EXACT:
        problems["exactness"] = "losses or gradients are wrong"
    if found["positions"].get("fault"):
        problems["positions"] = found["positions"]["fault"]
    if problems:
        return {"outcome": FAULT, **found, "faults": problems}
    return {"outcome": SCANNED, **found}


def in_a_process(kind: str, mapping: str, work: Path) -> dict[str, Any]:
    """Run `outcome` in a child that may crash or hang."""
    folder = work / f"{mapping}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            random.seed(SEED)
            found = outcome(kind, mapping, folder)
            (folder / "outcome.json").write_text(json.dumps(found))
            status = 0
        except BaseException:
            (folder / "crash.txt").write_text(traceback.format_exc())
        finally:
            os._exit(status)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() - start > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"outcome": FAULT, "faults": {"time": f"over {SECONDS} s"}}
        time.sleep(0.05)
    if not (folder / "outcome.json").is_file():
        crash = folder / "crash.txt"
        told = crash.read_text() if crash.is_file() else "the process died"
        return {"outcome": FAULT, "faults": {"crash": told}}
    found = json.loads((folder / "outcome.json").read_text())
    found["seconds"] = round(time.monotonic() - start, 1)
    return found


def main() -> None:
    """Try the architectures that are asked for, or those that have no outcome yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--again", help="try those of this outcome again")
    parser.add_argument("--keep", type=Path, help="folder for models and logs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    # What commands import when they run: once, for all processes.
    importlib.import_module("assay.api")
    result: dict[str, Any] = {"outcomes": {}}
    if RESULT.is_file():
        result = json.loads(RESULT.read_text())
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        for mapping, kind in architectures():
            name = f"{mapping}/{kind}"
            known = result["outcomes"].get(name)
            wanted = kind in options.kinds or name in options.kinds
            if not options.kinds:
                wanted = known is None or known["outcome"] == options.again
            if not wanted:
                continue
            found = in_a_process(kind, mapping, work)
            if options.keep is None:
                shutil.rmtree(work / f"{mapping}-{kind}", ignore_errors=True)
            result["outcomes"][name] = found
            told = found.get("line") or next(iter(found.get("faults", {}).items()), "")
            last = str(told).strip().replace("\\n", "\n").splitlines()[-1:] or [""]
            print(f"{name}: {found['outcome']} {last[0][:150]}", flush=True)
            about = provenance() | {"seed": SEED, "rows": ROWS, "seconds": SECONDS}
            result = about | {"outcomes": dict(sorted(result["outcomes"].items()))}
            partial = RESULT.with_suffix(".partial")
            partial.write_text(json.dumps(result, indent=1) + "\n")
            partial.replace(RESULT)


if __name__ == "__main__":
    main()
