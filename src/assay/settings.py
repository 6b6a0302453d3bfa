"""How a scan is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

from assay.detectors import DEFAULT, DEFAULT_RULES, INFLUENCE, PaperRules
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
        transforms: Transforms of the test inputs, by name; the paper's six by default.
        top_k: Rows that each of the paper's rules flags, the K highest, in place of
            those at or over the percentile.
        percentile: Percentile at or over which the paper's rules flag a row.
        votes: Categories of transforms that have to vote for a row in the voting rule;
            all where there are fewer.
        combine: What the combined rule flags of what the single-transform, variance
            and voting rules do: the union or the intersection.
        single_transform: Transform of the single-transform rule, one of those that
            are run; by default sorry-not, opposite or grammatical-negation, whichever
            is run first in this order.
        low_share: Share of the rows that the low-influence rule flags.
        scaling: How the paper's rules compare influences on different inputs: none,
            as the paper does, or deviations, in standard deviations over the rows.
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
    transforms: tuple[str, ...] = ()
    top_k: int | None = DEFAULT_RULES.top_k
    percentile: float = DEFAULT_RULES.percentile
    votes: int = DEFAULT_RULES.votes
    combine: str = DEFAULT_RULES.combine
    single_transform: str | None = DEFAULT_RULES.single_transform
    low_share: float = DEFAULT_RULES.low_share
    scaling: str = DEFAULT_RULES.scaling
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
            AssayError: A value is of the wrong type, outside of its range or unknown.
        """
        check_settings(self)
        # Making the rules checks their choices.
        _ = self.rules

    @property
    def passes(self) -> PassSettings:
        """How rows go through the model."""
        return PassSettings(
            self.token_budget, self.max_batch, self.bf16, self.checkpointing
        )

    @property
    def rules(self) -> PaperRules:
        """Parameters of the paper's rules."""
        return PaperRules(**{f.name: getattr(self, f.name) for f in fields(PaperRules)})

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
    # What Python and files call a list is one of names here.
    lists = {n: tuple(v) for n, v in given.items() if isinstance(v, list)}
    return ScanSettings(**{**given, **lists})


def silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Return a progress bar that shows nothing."""
    return nullcontext(lambda done, total: None)
