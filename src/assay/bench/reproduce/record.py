"""The file of an item: its figures with all that tells where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from assay.bench.reproduce.printed import PRINTED
from assay.bench.reproduce.provenance import Provenance
from assay.bench.reproduce.results import Unit, Value
from assay.errors import AssayError
from assay.settings import QueryChoice
from assay.util.files import replacing, write_json

# What the files and the page say of a choice of test inputs.
CHOSEN = {
    QueryChoice.RANDOM: "random test inputs",
    QueryChoice.KEYWORDS: "test inputs with the trigger "
    "(needs knowledge of the trigger)",
}


@dataclass(frozen=True)
class Facts:
    """What a study was of, in words and numbers for the page.

    Attributes:
        study: Its name.
        scale: How large it was.
        data: What the rows are.
        model: What was tuned.
        rows: Training rows.
        poisons: Poisons among them.
        queries: Test inputs of each scan.
        accuracy: Of the tuned model.
        attack_success: Share of test inputs with the trigger that give the payload.
        payload_untriggered: Share of those without it that do.
    """

    study: str
    scale: str
    data: str
    model: str
    rows: int
    poisons: int
    queries: int
    accuracy: float
    attack_success: float
    payload_untriggered: float


@dataclass(frozen=True)
class Record:
    """An item with its figures.

    Attributes:
        item: Its name.
        key: Hash of everything that the figures depend on.
        facts: What they were measured on.
        values: Choice of test inputs to the figures.
        provenance: Where they come from.
    """

    item: str
    key: str
    facts: Facts
    values: Mapping[QueryChoice, tuple[Value, ...]]
    provenance: Provenance

    def write(self, folder: Path) -> None:
        """Write the item's JSON and CSV.

        Raises:
            AssayError: They cannot be written.
        """
        write_json(
            folder / f"{self.item}.json",
            {
                "item": self.item,
                "key": self.key,
                "facts": asdict(self.facts),
                "results": {
                    choice.value: {
                        "test_inputs": CHOSEN[choice],
                        "values": [asdict(v) for v in values],
                    }
                    for choice, values in self.values.items()
                },
                "provenance": asdict(self.provenance),
            },
        )
        with replacing(folder / f"{self.item}.csv") as partial:
            self.table().to_csv(partial, index=False)

    def table(self) -> pd.DataFrame:
        """Return the figures as a table, ours beside the printed ones."""
        known = {(p.measure, p.of): p for p in PRINTED[self.item]}
        rows = []
        for choice, values in self.values.items():
            for v in values:
                printed = known.get((v.measure, v.of))
                rows.append(
                    {
                        "item": self.item,
                        "test_inputs": choice.value,
                        "needs_knowledge_of_the_trigger": choice
                        == QueryChoice.KEYWORDS,
                        "measure": v.measure,
                        "of": v.of,
                        "unit": v.unit.value,
                        "ours": v.value,
                        "printed": printed.value if printed else None,
                    }
                )
        return pd.DataFrame(rows)


def read_record(path: Path) -> Record:
    """Read the file of an item.

    Raises:
        AssayError: It is none.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            found["item"],
            found["key"],
            Facts(**found["facts"]),
            {
                QueryChoice(choice): tuple(
                    Value(**{**v, "unit": Unit(v["unit"])}) for v in result["values"]
                )
                for choice, result in found["results"].items()
            },
            Provenance(**found["provenance"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise AssayError(
            f"{path}: not a file of assay reproduce; name another --out, or give "
            "--overwrite to replace it"
        ) from None


def is_own(path: Path, key: str) -> bool:
    """Whether the file of an item is of the very study that is asked for."""
    try:
        return read_record(path).key == key
    except AssayError:
        return False
