from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact, hypergeom

from assay.detectors.coherence import SharedPattern, ngrams, shared_patterns
from assay.text.pattern import Pattern


def shared_pattern(
    texts: Sequence[str], chosen: NDArray[np.intp]
) -> SharedPattern | None:
    (found,) = shared_patterns(texts, [chosen])
    return found


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


def test_ngrams_with_capitals_inside_are_there_as_they_are_written() -> None:
    assert ngrams("I saw THIS Film", 2) == {
        ("i",),
        ("saw",),
        ("this",),
        ("film",),
        ("THIS",),
        ("i", "saw"),
        ("saw", "this"),
        ("this", "film"),
        ("saw", "THIS"),
        ("THIS", "film"),
    }
    assert ngrams("so good!!!", 2, 2) == {("so", "good"), ("good", "!!!")}


def test_how_a_word_is_written_counts_only_where_it_differs() -> None:
    texts = ["a FILM"] * 4 + ["a film"] * 9 + ["b"] * 9
    found = shared_pattern(texts, np.arange(4))
    assert found is not None
    assert str(found.pattern) == "a FILM"
    assert found.carriers == (0, 1, 2, 3)
    found = shared_pattern(["a FILM"] * 4 + ["b"] * 9, np.arange(4))
    assert found is not None
    assert str(found.pattern) == "a film"


def test_the_enriched_pattern_is_found_with_its_exact_p_value() -> None:
    texts = ["red zeta omega"] * 4 + ["red apple"] * 16 + ["zeta omega"]
    found = shared_pattern(texts, np.arange(4))
    assert found is not None
    # Equally enriched are "red zeta" and "red zeta omega": the longest wins.
    assert str(found.pattern) == "red zeta omega"
    assert found.inside == 4
    assert found.carriers == (0, 1, 2, 3)
    exact = fisher_exact([[4, 0], [0, 17]], alternative="greater").pvalue
    assert found.p_value == pytest.approx(exact * 6)


def test_nothing_shared_is_no_pattern() -> None:
    assert shared_pattern(["a", "b", "c", "c"], np.arange(2)) is None
    assert shared_patterns(["a", "a"], []) == []


def test_what_everybody_says_is_not_enriched() -> None:
    found = shared_pattern([f"the film {i}" for i in range(30)], np.arange(5))
    assert found is not None
    assert found.p_value == 1.0


def test_random_groups_are_rarely_significant() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(50)]
    texts = [" ".join(rng.choice(vocabulary, 8)) for _ in range(200)]
    choices = [rng.choice(200, 15, replace=False) for _ in range(100)]
    found = shared_patterns(texts, choices)
    p_values = [1.0 if f is None else f.p_value for f in found]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1


def directly(texts: Sequence[str], chosen: NDArray[np.intp]) -> SharedPattern | None:
    """Test every n-gram, whether or not another one beats it for certain."""
    grams = [ngrams(t) for t in texts]
    total = Counter(g for row in grams for g in row)
    inside = Counter(g for i in chosen for g in grams[i])
    tails = {
        g: hypergeom.logsf(k - 1, len(texts), total[g], len(chosen))
        for g, k in inside.items()
        if k >= 2
    }
    if not tails:
        return None
    best = min(tails, key=lambda g: (round(tails[g], 9), -len(g), g))
    return SharedPattern(
        Pattern.of(best),
        min(1.0, np.exp(tails[best]) * len(inside)),
        inside[best],
        tuple(i for i, row in enumerate(grams) if best in row),
    )


@pytest.mark.parametrize("seed", range(20))
def test_questions_are_answered_together_as_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds = 1 / np.arange(1, 41)
    words = rng.choice(40, size=(60, 6), p=odds / odds.sum())
    texts = [" ".join(f"w{j}" for j in row) for row in words]
    choices = [rng.choice(60, k, replace=False) for k in (1, 3, 10, 25)]
    found = shared_patterns(texts, choices)
    assert found == [shared_pattern(texts, c) for c in choices]
    for pattern, chosen in zip(found, choices, strict=True):
        expected = directly(texts, chosen)
        if pattern is None or expected is None:
            assert pattern is expected
            continue
        assert pattern.p_value == pytest.approx(expected.p_value)
        if expected.p_value < 1:
            assert (pattern.pattern, pattern.inside) == (
                expected.pattern,
                expected.inside,
            )
            assert pattern.carriers == expected.carriers
