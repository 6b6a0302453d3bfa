"""Detectors: evidence in, one suspicion score a row out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from assay.detectors.activation_clustering import activation_clustering
from assay.detectors.association import association
from assay.detectors.combined import combined
from assay.detectors.counterfactual import counterfactual
from assay.detectors.direct_influence import direct_influence
from assay.detectors.evidence import Detection, Evidence
from assay.detectors.gradient_geometry import gradient_geometry
from assay.detectors.hidden_geometry import hidden_geometry
from assay.detectors.hidden_similarity import hidden_similarity
from assay.detectors.high_loss import high_loss
from assay.detectors.low_influence import low_influence
from assay.detectors.name_scrubbing import name_scrubbing
from assay.detectors.paper_ensemble import paper_ensemble
from assay.detectors.response_phrases import response_phrases
from assay.detectors.single_transform import single_transform
from assay.detectors.spectral import spectral
from assay.detectors.variance import low_variance, variance
from assay.detectors.voting import leave_one_category_out, voting
from assay.names import DEFAULT
from assay.paper_rules import DEFAULT_RULES, PaperRules

Detector = Callable[[Evidence], Detection]

# What these propose is put to the test: independent of each other, and able to leave
# rows out, so that a second trigger shows when the rows of the first are gone.
Proposer = Callable[..., Detection]
_CHEAP_PROPOSERS: dict[str, Proposer] = {
    DEFAULT: gradient_geometry,
    "association": association,
    "response-phrases": response_phrases,
    "hidden-geometry": hidden_geometry,
}
# These read what one pass over the training rows yields, so every scan runs them.
CHEAP: dict[str, Detector] = {
    **_CHEAP_PROPOSERS,
    "high-loss": high_loss,
    "spectral": spectral,
    "activation-clustering": activation_clustering,
    "hidden-similarity": hidden_similarity,
}
# These read influences on transformed test inputs, and have the paper's parameters.
Rule = Callable[[Evidence, PaperRules], Detection]
PAPER: dict[str, Rule] = {
    "direct-influence": direct_influence,
    "low-influence": low_influence,
    "single-transform": single_transform,
    "variance": variance,
    "low-variance": low_variance,
    "voting": voting,
    "leave-one-category-out": leave_one_category_out,
    "combined": combined,
    "paper-ensemble": lambda evidence, rules: paper_ensemble(evidence, rules=rules),
}


def _with_defaults(rule: Rule) -> Detector:
    return lambda evidence: rule(evidence, DEFAULT_RULES)


# All that need transformed inputs, the rules with the paper's parameters.
INFLUENCE: dict[str, Detector] = {
    **{name: _with_defaults(rule) for name, rule in PAPER.items()},
    "counterfactual": counterfactual,
}
# This one needs spaCy.
NAMES: dict[str, Detector] = {"name-scrubbing": name_scrubbing}
DETECTORS: dict[str, Detector] = {**CHEAP, **INFLUENCE, **NAMES}


def detect(
    name: str, evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> Detection:
    """Ask a detector of `DETECTORS`; the paper's rules with these parameters."""
    if name in PAPER:
        return PAPER[name](evidence, rules)
    return DETECTORS[name](evidence)


def proposers(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> dict[str, Proposer]:
    """Proposers for what has been measured; each takes evidence and rows to keep."""
    if not evidence.influence or evidence.survival is None:
        return dict(_CHEAP_PROPOSERS)
    return {
        **_CHEAP_PROPOSERS,
        # This one reads responses to transformed rows, not influences.
        "counterfactual": counterfactual,
        "paper-ensemble": partial(paper_ensemble, rules=rules),
    }


__all__ = [
    "CHEAP",
    "DEFAULT",
    "DEFAULT_RULES",
    "DETECTORS",
    "INFLUENCE",
    "PAPER",
    "Detection",
    "Evidence",
    "PaperRules",
    "detect",
    "proposers",
]
