"""``assay attack``: poison a data set, to test detectors with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.attacks import ATTACKS, attack_named
from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, safe
from assay.cli.generated import with_settings
from assay.errors import AssayError
from assay.util.messages import reason

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
        str | None, typer.Option(help="Response the trigger shall produce.")
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
    check_outputs([out, note], [input], overwrite=overwrite, folder=out.parent)
    corpus = o.read(input, reading)
    rows = count if count is not None else round(rate * len(corpus))
    if not rows:
        raise AssayError(
            f"--rate {rate} of {len(corpus)} rows is less than one row; raise it, or "
            "give --count"
        )
    words: dict[str, Any] = {}
    if trigger is not None:
        words["trigger"] = trigger
    if target is not None:
        words["target"] = target
    poisoned = recipe.poison(corpus, rows, seed=seed, **words)
    write_corpus(poisoned.corpus, out)
    write_json(
        note,
        {
            "attack": poisoned.name,
            "trigger": poisoned.trigger,
            "payload": poisoned.payload,
            "seed": seed,
            # As in the file and in scans of it, rows that are no examples included.
            "rows": [corpus.examples[i].row for i in poisoned.rows],
            "ids": [corpus.examples[i].id for i in poisoned.rows],
        },
    )
    console().print(f"{len(poisoned.rows)} of {len(corpus)} rows: {safe(str(out))}")
    console().print(f"which rows, trigger and payload: {safe(str(note))}")


def read_attack_note(path: Path) -> dict[str, Any]:
    """Read what ``assay attack`` noted beside its output.

    Raises:
        AssayError: The file is missing or something else.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AssayError(f"{path}: not readable as JSON ({reason(error)})") from None
    texts = ("attack", "trigger", "payload")
    if not isinstance(note, dict) or not (
        all(isinstance(note.get(name), str) for name in texts)
        and isinstance(note.get("seed", 0), int)
    ):
        raise AssayError(f"{path}: not a note of assay attack (OUT.attack.json)")
    return note
