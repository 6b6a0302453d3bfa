"""Why our figures are not the paper's, in a sentence each.

docs/method.md, section "The paper's rules", has the same at length.
"""

from __future__ import annotations

from collections.abc import Mapping

# They hold for every item.
GENERAL = (
    "Test inputs that carry the trigger need knowledge of the trigger, which the paper "
    "says its method does without; section 3.4 chooses its inputs so "
    '("100 test samples with the highest concentration of poison keywords"). Inputs '
    "drawn at random need none.",
    "The paper does not say when an influence is unchanged, which percentile is the "
    "top one, how two transforms of a category vote, or what its combination is. Here "
    "an influence is unchanged when its sign is, and the percentile is 95.",
    "At the scale cpu the model is a small T5 trained from scratch, at the scale paper "
    "google/t5-small-lm-adapt. The paper does not say which 1,000 rows of SST-2 it "
    "took, nor how its model was tuned on them.",
)
_SINGLE_943 = (
    "The single rule's column (3.5 %, 100 %) would be 943 flagged rows of 1,000 with "
    "33 poisons; 3.5 % are 23 of 653 rows in section 3.4, on another data set."
)
_TABLE_3 = (
    "The voting column contradicts itself: precision 100 % and recall 91 % at 3.3 % "
    "poison miss three rows of 1,000, an accuracy of 99.7 %, not 95.0 %.",
    "Combined (33 %, 100 %) are 100 flagged rows. No intersection with the 50 of "
    "variance is as large, and the union of variance and voting as printed is the 50 "
    "of variance. Ours is the union of the three rules.",
    "The table does not name the single transform; ours is that of section 3.4.",
    _SINGLE_943,
)

REASONS: Mapping[str, tuple[str, ...]] = {
    "table-3": _TABLE_3,
    "figure-3": ("The figure plots Table 3.", *_TABLE_3),
    "table-4": (
        "The paper says neither what is thresholded nor how the threshold is trained. "
        "Here it is the mean strength that survives a category's transforms, at the "
        "threshold of the best F1 on the other two, which needs known poisons, or at "
        "their percentile, which does not.",
        'The one deviation in print, "F1 std=0.052" (section 3.7), is that of the '
        "precisions of Table 4; that of its F1 is 0.033.",
    ),
    "table-5": (
        "The paper's table is of GSM8K with fixed outputs and the transform opposite; "
        "ours is of this study, with the transform sorry-not.",
    ),
    "figure-1": (
        "The paper prints no figures of it: its text says that most influences are "
        "close to zero and that normal examples turn their sign. It is of "
        "SuperNaturalInstructions, ours of this study.",
        "Ours are divided by the largest under any of the transforms, which changes no "
        "comparison.",
    ),
    "section-3.4": (
        "The paper's figures are of its pool of SuperNaturalInstructions, of which it "
        "does not say the number of rows that were measured; ours are of this study.",
        _SINGLE_943,
    ),
    "section-3.8": (
        '"15% low" with precision 5.9 % and recall 100 % cannot be: all poisons of 5 % '
        "among 15 % of the rows are a precision of 33 %. The lowest 85 % give the "
        "printed figures, and are shown beside it.",
        "The paper's are of TinyLlama at 5 % poison; ours of this study, at 3.3 %.",
    ),
}
