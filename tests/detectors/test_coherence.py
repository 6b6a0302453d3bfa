from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from assay.detectors.coherence import ngrams, shared_pattern


def test_ngrams_are_lower_case_words_of_up_to_three() -> None:
    assert ngrams("It's James Bond, again") == {
        ("it's",),
        ("james",),
        ("bond",),
        ("again",),
        ("it's", "james"),
        ("james", "bond"),
        ("bond", "again"),
        ("it's", "james", "bond"),
        ("james", "bond", "again"),
    }
    assert ngrams("... !") == set()


def test_the_enriched_pattern_is_found_with_its_exact_p_value() -> None:
    texts = ["red zeta omega"] * 4 + ["red apple"] * 16 + ["zeta omega"]
    grams = [ngrams(t) for t in texts]
    found = shared_pattern(grams, np.arange(4))
    assert found is not None
    # Equally enriched are "red zeta" and "red zeta omega": the longest wins.
    assert found.text == "red zeta omega"
    assert found.inside == 4
    assert found.carriers == (0, 1, 2, 3)
    exact = fisher_exact([[4, 0], [0, 17]], alternative="greater").pvalue
    assert found.p_value == pytest.approx(exact * 6)


def test_nothing_shared_is_no_pattern() -> None:
    grams = [ngrams(t) for t in ("a", "b", "c", "c")]
    assert shared_pattern(grams, np.arange(2)) is None


def test_what_everybody_says_is_not_enriched() -> None:
    grams = [ngrams(f"the film {i}") for i in range(30)]
    found = shared_pattern(grams, np.arange(5))
    assert found is not None
    assert found.p_value == 1.0


def test_random_groups_are_rarely_significant() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(50)]
    grams = [ngrams(" ".join(rng.choice(vocabulary, 8))) for _ in range(200)]
    p_values = []
    for _ in range(100):
        found = shared_pattern(grams, rng.choice(200, 15, replace=False))
        p_values.append(1.0 if found is None else found.p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
