"""The values that settings may take, for the command line and Python alike.

Light to import: the command line names the ranges in its help.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from assay.errors import AssayError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


# Whole numbers are counted in 64 bits at the most by what is written in C, and in fewer
# here and there. Nobody has 2^31 rows, layers or epochs: the bound is in nobody's way.
MOST = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be; neither infinite nor undefined ones are.

    Attributes:
        low: The least value, or with ``above`` what every value is above.
        high: The largest value; None where any is, though of whole numbers only those
            up to `MOST` are.
        above: Whether ``low`` itself is left out.
        whole: Whether only whole numbers are.
    """

    low: float
    high: float | None = None
    above: bool = False
    whole: bool = True

    def __str__(self) -> str:
        """Describe the range, as in "a whole number of at least 1"."""
        kind = "a whole number" if self.whole else "a number"
        if self.high is None:
            return f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
        if self.above:
            return f"{kind} above {self.low:g} and at most {self.high:.12g}"
        return f"{kind} from {self.low:g} to {self.high:.12g}"

    def __contains__(self, value: float) -> bool:
        """Whether a value is one of the range's."""
        try:
            value = float(value)
        except OverflowError:
            return False
        if not math.isfinite(value) or value > self.most:
            return False
        return value > self.low if self.above else value >= self.low

    @property
    def most(self) -> float:
        """The largest value, whether anybody comes near it or not."""
        if self.high is not None:
            return self.high
        return MOST if self.whole else math.inf


COUNT = Range(1)
POSITIVE = Range(0, above=True, whole=False)

# By the names of the fields of `ScanSettings` and `TuneSettings`, and what the command
# line has besides. Every setting that is a number is here; a test makes sure of it.
RANGES: Mapping[str, Range] = {
    # Above one half, most flags would be false ones. The number of placebos grows as
    # 1 / fdr: below 1 in 10,000 a scan would do nothing else.
    "fdr": Range(0.0001, 0.5, whole=False),
    "query_count": COUNT,
    "factor_rows": COUNT,
    # Without any, directions in which no row has a gradient are divided by zero; with
    # less than none, influences change their sign. At a million times the mean the
    # curvature cannot be seen any more: more changes the scale alone, until all
    # influences are too small for a float and zero.
    "damping": Range(0, 1e6, above=True, whole=False),
    # One token for the prompt and one for the response.
    "max_length": Range(2),
    "first_layers": COUNT,
    "rank": COUNT,
    # What numpy and scikit-learn take for a seed.
    "seed": Range(0, 2**32 - 1),
    "token_budget": COUNT,
    "max_batch": COUNT,
    # GiB; the least is about one MiB, where no model's batch fits any more.
    "max_memory": Range(0.001, MOST, whole=False),
    "top_k": COUNT,
    "percentile": Range(0, 100, whole=False),
    "votes": COUNT,
    # A share of the rows.
    "low_share": Range(0, 1, above=True, whole=False),
    "epochs": COUNT,
    # With a rate of zero nothing is learned, with one below zero the loss grows.
    "learning_rate": POSITIVE,
    "batch_size": COUNT,
    "accumulation": COUNT,
    # A share of the steps.
    "warmup": Range(0, 1, whole=False),
    "weight_decay": Range(0, whole=False),
    # A gradient cut to a length of zero changes nothing.
    "clip": POSITIVE,
    # Zero trains every weight.
    "lora_rank": Range(0),
    # Zero is once an epoch.
    "checkpoint_every": Range(0),
    # Zero keeps none.
    "keep_checkpoints": Range(0),
    # A share of the rows; most are left to train on.
    "validation": Range(0, 0.5, whole=False),
    # Zero is once an epoch.
    "evaluate_every": Range(0),
    # Of `assay attack`: a share of the rows, or rows.
    "rate": Range(0, 1, above=True, whole=False),
    "count": COUNT,
    # Of `assay pool`.
    "rows": COUNT,
    "tasks": COUNT,
    # Of `assay review`: rows to show.
    "most": COUNT,
}


def check_number(name: str, value: Any, shown: str) -> None:
    """Make sure that a number is in the range of a setting.

    Args:
        name: The setting, of `RANGES`.
        value: The number; None, for a setting that is not given, is in every range.
        shown: What the user calls it and its value, for the message.

    Raises:
        AssayError: It is not.
    """
    allowed = RANGES[name]
    if value is None or value in allowed:
        return
    more = ""
    if allowed.high is None and value > allowed.low:
        most = f"of at most {allowed.most}" if allowed.whole else "a finite one"
        more = f", and {most}"
    raise AssayError(f"{shown}: expected {allowed}{more}")


def check_settings(settings: DataclassInstance) -> None:
    """Make sure that the fields of a dataclass have their types and are in range.

    Raises:
        AssayError: A field has not, or is not.
    """
    hints = _hints(type(settings))
    for name in (f.name for f in fields(settings)):
        check_setting(name, getattr(settings, name), hints[name])


def check_setting(name: str, value: Any, hint: Any) -> None:
    """Make sure that a value is of a type, and in the range of its setting.

    Raises:
        AssayError: It is not.
    """
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
            raise AssayError(f"setting {name}={value!r}: expected a tuple of texts")
        return
    types = get_args(hint) or (hint,)
    # Python takes True for 1, and a whole number where a number is wanted.
    fits = isinstance(value, types) and (not isinstance(value, bool) or bool in types)
    if float in types and isinstance(value, int) and not isinstance(value, bool):
        fits = True
    shown = f"setting {name}={value!r}"
    if not fits:
        names = " or ".join("None" if t is NoneType else t.__name__ for t in types)
        raise AssayError(f"{shown}: expected {names}")
    if {int, float} & set(types) and value is not None:
        check_number(name, value, shown)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
