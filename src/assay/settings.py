"""How a scan is run: light to import, since the command line shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError
from assay.names import DEFAULT
from assay.paper_rules import DEFAULT_RULES, PaperRules
from assay.util.ranges import check_settings
from assay.verify.thresholds import FDR

if TYPE_CHECKING:
    from assay.influence.passes import PassSettings

Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


class QueryChoice(StrEnum):
    """How test inputs are chosen.

    Attributes:
        RANDOM: Drawn at random.
        KEYWORDS: Those with the highest concentration of given words: the paper's
            choice (section 3.4), which needs knowledge of the trigger.
        CANDIDATES: Those with the highest concentration of the words of candidates
            that no experiment has tested yet, which needs none.
    """

    RANDOM = "random"
    KEYWORDS = "keywords"
    CANDIDATES = "candidates"


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is run.

    Numbers have to be in the ranges of `assay.util.ranges.RANGES`.

    Attributes:
        detector: Whose flags count, of ``assay.names.DETECTORS``; the scores of the
            others are kept too.
        verify: Flag only what an experiment on the model confirms.
        fdr: Tolerated share of false flags, in expectation.
        retrain: Where the base model is known, tune it once more, without the rows in
            doubt, if other experiments do not decide.
        influence: Measure influences on transformed inputs for the other detectors too.
        query_count: Test inputs to draw for the influence detectors.
        query_choice: How test inputs are chosen: random; keywords, those with most of
            --keywords in them, as the paper does, which needs knowledge of the
            trigger; or candidates, those with most of the words that are suspected
            and not tested yet, which needs none and one more pass over the rows.
        keywords: Words for --query-choice keywords, each as an option of its own.
        transforms: A transform of the test inputs, by name; repeat it for several. The
            paper's six by default; the page on the method lists them.
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
        damping: Damping of the curvature, relative to its mean in each layer.
        template: Prompt template: auto, chat, plain, alpaca or tk-instruct.
        max_length: Longest example in tokens.
        bf16: Run the model under bfloat16 autocast.
        modules: Regular expression of the linear layers to track; all by default.
        first_layers: Track the first transformer blocks only, this many.
        rank: Side of each layer's projected gradient.
        seed: Seed of projections, draws, FastICA and proxy tuning.
        attribution: How influence is computed: ekfac, identity, diagonal, datainf (LoRA
            models only) or repsim.
        token_budget: Padded tokens in a batch.
        max_batch: Rows in a batch.
        checkpointing: Recompute activations block by block: less memory, a third more
            time.
        factors: Curvature from another run, its factors.safetensors, of the same model
            and data.
        max_memory: GiB a scan may take besides the model; what is free by default.
    """

    detector: str = DEFAULT
    verify: bool = True
    fdr: float = FDR
    retrain: bool = True
    influence: bool = False
    query_count: int = 32
    query_choice: str = QueryChoice.RANDOM.value
    keywords: tuple[str, ...] = ()
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
        if self.query_choice not in [*QueryChoice]:
            raise AssayError(
                f"unknown query_choice {self.query_choice!r}; known: "
                f"{', '.join(QueryChoice)}"
            )
        if (self.query_choice == QueryChoice.KEYWORDS) != bool(self.keywords):
            raise AssayError(
                "--keywords are for --query-choice keywords, which needs some: "
                "--query-choice keywords --keywords 'James Bond'"
            )
        if not all(word.strip() for word in self.keywords):
            raise AssayError("--keywords: expected words, not a blank text")
        # Making the rules checks their choices.
        _ = self.rules

    @property
    def passes(self) -> PassSettings:
        """How rows go through the model."""
        from assay.influence.passes import PassSettings

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
        from assay.detectors import INFLUENCE

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
