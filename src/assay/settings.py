"""How a scan is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

from assay.detectors import DEFAULT, INFLUENCE
from assay.errors import AssayError
from assay.influence.passes import PassSettings
from assay.util.ranges import check_settings
from assay.verify.thresholds import FDR

Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is run.

    Numbers have to be in the ranges of `assay.util.ranges.RANGES`.

    Attributes:
        detector: The detector whose flags count; the others' scores are kept too.
        verify: Test the default detector's candidates on the model and flag only what
            passes.
        fdr: Tolerated share of false flags, in expectation.
        retrain: Where the base model is known, tune it once more to decide on words
            that other experiments leave undecided.
        influence: Measure influences on transformed inputs even where the detector
            does not need them.
        queries: Test inputs whose loss the influences are about.
        factor_rows: Rows the curvature is estimated on.
        damping: Damping relative to a layer's mean eigenvalue.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run the model under bfloat16 autocast.
        modules: Regular expression of the linear layers to track; all by default.
        first_layers: Track the first transformer blocks only.
        rank: Side of each layer's projected gradient.
        seed: Seed of projections, draws, FastICA and proxy tuning.
        attribution: How influence is computed, of `assay.influence.attribution`.
        token_budget: Padded tokens in a batch.
        max_batch: Rows in a batch.
        checkpointing: Recompute activations block by block to save memory.
        factors: File of factors fitted by another scan of the same model and data.
        max_memory: Gigabytes (2^30) that may be used besides the model; what is free
            by default.
    """

    detector: str = DEFAULT
    verify: bool = True
    fdr: float = FDR
    retrain: bool = True
    influence: bool = False
    queries: int = 32
    factor_rows: int = 128
    damping: float = 0.1
    template: str = "auto"
    max_length: int = 512
    bf16: bool = False
    modules: str | None = None
    first_layers: int | None = None
    rank: int = 16
    seed: int = 0
    attribution: str = "ekfac"
    token_budget: int = 2048
    max_batch: int = 32
    checkpointing: bool = False
    factors: str | None = None
    max_memory: float | None = None

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            AssayError: A value is of the wrong type or outside of its range.
        """
        check_settings(self)

    @property
    def passes(self) -> PassSettings:
        """How rows go through the model."""
        return PassSettings(
            self.token_budget, self.max_batch, self.bf16, self.checkpointing
        )

    @property
    def needs_influence(self) -> bool:
        """Whether transformed inputs have to be scored."""
        return self.influence or self.detector in INFLUENCE


def scan_settings(given: Mapping[str, Any]) -> ScanSettings:
    """Make settings of keyword arguments.

    Raises:
        AssayError: A name is unknown, or a value of the wrong type or out of range.
    """
    known = [f.name for f in fields(ScanSettings)]
    for name in given:
        if name not in known:
            raise AssayError(f"unknown setting {name!r}; known: {', '.join(known)}")
    return ScanSettings(**given)


def silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Return a progress bar that shows nothing."""
    return nullcontext(lambda done, total: None)
