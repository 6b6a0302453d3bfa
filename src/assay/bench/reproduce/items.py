"""What can be reproduced, and what cannot yet: light to import, for ``--list``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import AssayError

ALL = "all"


@dataclass(frozen=True)
class Item:
    """A table, figure or section of the paper.

    Attributes:
        name: Its name on the command line and of its files.
        paper: What the paper calls it.
        title: What it shows.
        built: Whether it can be reproduced yet.
        plotted: Whether the paper has it as a plot.
    """

    name: str
    paper: str
    title: str
    built: bool = False
    plotted: bool = False


# In the order of the paper.
ITEMS = (
    Item("table-1", "Table 1", "positive predictions on 32 tasks"),
    Item("table-2", "Table 2", "accuracy before and after"),
    Item(
        "figure-1",
        "Figure 1",
        "distribution of influence before and after a transform",
        built=True,
        plotted=True,
    ),
    Item("figure-2", "Figure 2", "accuracy and attack while it is tuned", plotted=True),
    Item("table-3", "Table 3", "the rules of the ensemble", built=True),
    Item("table-4", "Table 4", "categories of transforms left out", built=True),
    Item("figure-3", "Figure 3", "the rules side by side", built=True, plotted=True),
    Item("figure-4", "Figure 4", "true positives by task", plotted=True),
    Item("section-3.4", "Section 3.4", "a single transform", built=True),
    Item("figure-5", "Figure 5", "positive predictions after removal", plotted=True),
    Item("figure-6", "Figure 6", "distribution of influence on GSM8K", plotted=True),
    Item("table-5", "Table 5", "true poisons among the top K", built=True),
    Item("section-3.7", "Section 3.7", "ablations"),
    Item("section-3.8", "Section 3.8", "the lowest influences", built=True),
    Item("figure-7", "Figure 7", "poisons by task", plotted=True),
    Item("table-11", "Table 11", "names of the tasks"),
)
_BY_NAME = {item.name: item for item in ITEMS}


def item_named(name: str) -> Item:
    """Return the item of a name.

    Raises:
        AssayError: There is none.
    """
    if name not in _BY_NAME:
        raise AssayError(
            f"unknown item {name!r}; known: {', '.join(_BY_NAME)}, or {ALL}"
        )
    return _BY_NAME[name]


def chosen(names: Sequence[str]) -> tuple[Item, ...]:
    """Return the items of these names, in the order of the paper.

    Args:
        names: Names of items; ``all``, or none at all, for every one that is built.

    Raises:
        AssayError: A name is unknown, or its item is not built yet.
    """
    wanted = [item_named(name) for name in names if name != ALL]
    missing = [item.name for item in wanted if not item.built]
    if missing:
        raise AssayError(
            f"{', '.join(missing)}: not yet; assay reproduce --list says what is there"
        )
    if ALL in names or not names:
        wanted += [item for item in ITEMS if item.built]
    return tuple(item for item in ITEMS if item in wanted)
