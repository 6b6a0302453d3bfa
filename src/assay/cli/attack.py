"""``assay attack``: poison a data set, to test detectors with."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.attacks import (
    ATTACKS,
    Attack,
    Carriers,
    Poisoned,
    attack_named,
    poison_tasks,
)
from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, safe
from assay.cli.generated import with_settings
from assay.cli.label_spaces import LabelSpacesOption, file_of, spaces_for
from assay.errors import AssayError
from assay.util.messages import reason

if TYPE_CHECKING:
    from assay.data.corpus import Corpus

AttackOption = Annotated[
    str,
    typer.Option("--attack", help=f"{', '.join([*ATTACKS][:-1])} or {[*ATTACKS][-1]}."),
]


@with_settings
def attack_command(
    input: Annotated[str, typer.Argument(help="Clean training data.")],
    out: Annotated[Path, typer.Option(help="File of the poisoned data.")],
    attack: AttackOption = "dirty-label",
    overwrite: Annotated[
        bool, o.overwriting("--out and its OUT.attack.json if they are there")
    ] = False,
    rate: Annotated[
        float, o.number("rate", "--rate", "Share of rows to poison.")
    ] = 0.033,
    count: Annotated[
        int | None, o.number("count", "--count", "Rows to poison, instead of --rate.")
    ] = None,
    trigger: Annotated[str | None, typer.Option(help="Trigger phrase.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Response the trigger shall produce: of data with labels the positive "
            "one, as the data writes it (POS, say). Rows that have it already are "
            "left as they are, but by clean-label, which poisons them alone."
        ),
    ] = None,
    label_spaces: LabelSpacesOption = None,
    carriers: Annotated[
        str | None,
        typer.Option(
            help="Which rows carry the trigger, of attacks that replace person names: "
            "densest (by default; most trigger for their length) or random."
        ),
    ] = None,
    reading: o.ReadingOptions = o.Reading(),
    seed: o.SeedOption = 0,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Poison rows; a second file OUT.attack.json says which, and the trigger."""
    from assay.data.write import write_corpus
    from assay.util.files import check_outputs, write_json

    recipe = attack_named(attack)
    if not out.name:
        raise AssayError(f"--out {out}: not a name for a file")
    note = out.with_name(out.name + ".attack.json")
    read = [input, file_of(label_spaces)]
    check_outputs([out, note], read, overwrite=overwrite, folder=out.parent)
    words: dict[str, Any] = {}
    if trigger is not None:
        words["trigger"] = trigger
    if carriers is not None:
        words["carriers"] = _carriers(recipe, carriers)
    if label_spaces is not None and target is not None:
        raise AssayError("--target and --label-spaces are two ways to say: give one")
    corpus = o.read(input, reading)
    rows = count if count is not None else round(rate * len(corpus))
    if not rows:
        raise AssayError(
            f"--rate {rate} of {len(corpus)} rows is less than one row; raise it, or "
            "give --count"
        )
    words["seed"] = seed
    if label_spaces is not None:
        spaces = spaces_for(label_spaces, corpus)
        targets = {task: space.positive for task, space in spaces.items()}
        poisoned = poison_tasks(recipe, corpus, rows, targets, **words)
    else:
        poisoned = _poisoned(recipe, corpus, rows, target, words)
    write_corpus(poisoned.corpus, out)
    write_json(
        note,
        {
            "attack": poisoned.name,
            "trigger": poisoned.trigger,
            # Where each task has its own, by task.
            "payload": dict(poisoned.payloads) or poisoned.payload,
            "seed": seed,
            # As in the file and in scans of it, rows that are no examples included.
            "rows": [corpus.examples[i].row for i in poisoned.rows],
            "ids": [corpus.examples[i].id for i in poisoned.rows],
        },
    )
    console().print(f"{len(poisoned.rows)} of {len(corpus)} rows: {safe(str(out))}")
    console().print(f"which rows, trigger and payload: {safe(str(note))}")


def _poisoned(
    recipe: Attack, corpus: Corpus, rows: int, target: str | None, words: dict[str, Any]
) -> Poisoned:
    """Poison rows with one target, which has to be a label where there are labels."""
    from assay.data.label_spaces import check_target

    if recipe.relabels:
        check_target(corpus, target or default_target(recipe))
    if target is not None:
        words = {**words, "target": target}
    return recipe.poison(corpus, rows, **words)


def _carriers(recipe: Attack, word: str) -> Carriers:
    """Read which rows shall carry the trigger."""
    if word not in [*Carriers]:
        raise AssayError(f"--carriers {word}: expected {' or '.join(Carriers)}")
    if not recipe.carriers:
        able = ", ".join(name for name, attack in ATTACKS.items() if attack.carriers)
        raise AssayError(
            f"--carriers: the {recipe.name} attack draws its rows; {able} take it"
        )
    return Carriers(word)


def default_target(recipe: Attack) -> str:
    """Return the target of an attack where none is given."""
    return str(inspect.signature(recipe.poison).parameters["target"].default)


def read_attack_note(path: Path) -> dict[str, Any]:
    """Read what ``assay attack`` noted beside its output.

    Raises:
        AssayError: The file is missing or something else.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AssayError(f"{path}: not readable as JSON ({reason(error)})") from None
    if not isinstance(note, dict) or not (
        all(isinstance(note.get(name), str) for name in ("attack", "trigger"))
        and _is_payload(note.get("payload"))
        and isinstance(note.get("seed", 0), int)
    ):
        raise AssayError(f"{path}: not a note of assay attack (OUT.attack.json)")
    return note


def _is_payload(value: Any) -> bool:
    """Whether a value is a payload, or a task's payload by its name."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(v, str) for v in value.values())
    return isinstance(value, str)
