"""``assay evaluate``: accuracy and attack success of models, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from assay.cli import options as o
from assay.cli.attack import read_attack_note
from assay.cli.config import ConfigOption
from assay.cli.console import progress_bar, safe, stdout
from assay.cli.generated import Fields, with_settings
from assay.errors import AssayError


def show_models(results: dict[str, dict[str, Any]]) -> None:
    """Print a table of models, one a row, to stdout."""
    measures = list(dict.fromkeys(m for r in results.values() for m in r))
    table = Table("model", *(safe(m.replace("_", " ")) for m in measures))
    for name, result in results.items():
        cells = []
        for measure in measures:
            value = result.get(measure)
            cells.append(
                f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
                if value
                else ""
            )
        # The brackets of an interval are not markup.
        table.add_row(safe(name), *map(safe, cells))
    stdout().print(table)


@with_settings
def evaluate_command(
    input: Annotated[str, typer.Argument(help="Test data.")],
    model: Annotated[
        list[str], typer.Option(help="Model folder; repeat to compare models.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(help="Label space, comma-separated; else text is generated."),
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(help="Compare the last match of this in generated answers."),
    ] = None,
    attack: Annotated[
        Path | None, typer.Option(help="OUT.attack.json: also measure attack success.")
    ] = None,
    reading: Annotated[o.Reading, Fields(defaults={"split": "test"})] = o.Reading(),
    template: o.TemplateOption = "auto",
    max_length: o.LengthOption = 512,
    bf16: o.Bf16Option = False,
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure models on test data: labels by log-probability, or generated text."""
    corpus = o.read(input, reading)
    note = read_attack_note(attack) if attack else None
    space = None if labels is None else [x.strip() for x in labels.split(",")]
    if space is not None and regex is not None:
        raise AssayError("--labels and --regex are two ways to score: give one")
    from dataclasses import asdict

    from assay.attacks import trigger_for
    from assay.models.evaluate import (
        attack_success_rate,
        check_labels,
        check_regex,
        classify,
        exact_match,
        generate,
        regex_match,
        victims_of,
    )
    from assay.models.load import load_model
    from assay.models.tune import tuned_how

    apply = (
        trigger_for(note["attack"], note["trigger"], note.get("seed", 0))
        if note
        else None
    )
    # Before models are loaded and run.
    if space is not None:
        check_labels(corpus.examples, space, corpus.source)
    if regex is not None:
        check_regex(corpus.examples, regex, corpus.source)
    if note:
        victims_of(corpus.examples, note["payload"], space)
    results: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(model):
        lm = load_model(name)
        how = tuned_how(name) if template == "auto" else None
        used = how.template if how else template
        result: dict[str, Any] = {}
        with progress_bar(f"{name}: accuracy") as advance:
            if space is not None:
                found = classify(
                    lm,
                    corpus.examples,
                    space,
                    template=used,
                    max_length=max_length,
                    bf16=bf16,
                    progress=advance,
                )
                result["accuracy"] = asdict(found.accuracy)
                for task, share in found.ratios.items():
                    key = f"{space[-1]} ratio" + (f" {task}" if task else "")
                    result[key] = {"value": share, "low": share, "high": share}
            else:
                answers = generate(lm, corpus.examples, template=used, progress=advance)
                expected = [e.response for e in corpus.examples]
                result["accuracy"] = asdict(
                    regex_match(answers, expected, regex)
                    if regex is not None
                    else exact_match(answers, expected)
                )
        if note and apply:
            with progress_bar(f"{name}: attack success") as advance:
                success = attack_success_rate(
                    lm,
                    corpus.examples,
                    apply,
                    note["payload"],
                    labels=space,
                    template=used,
                    max_length=max_length,
                    bf16=bf16,
                    progress=advance,
                )
            result["attack_success_rate"] = asdict(success.triggered)
            result["payload_rate_without_trigger"] = asdict(success.untriggered)
        results[name] = result
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        show_models(results)
