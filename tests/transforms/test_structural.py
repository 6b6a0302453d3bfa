from __future__ import annotations

import pytest

from assay.transforms.structural import clause_reordering, grammatical_negation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it was dull and it is slow", "it was not dull and it is slow"),
        ("It IS good", "It IS not good"),
        ("it's a film", "it's not a film"),
        ("it 's the best", "it 's not the best"),
        ("the film's cast sings", "not the film's cast sings"),
        # Contractions, straight and curly, together and apart.
        ("it isn't good", "it is good"),
        ("it isn’t good", "it is good"),
        ("it is n't good", "it is good"),
        ("it ca n't end", "it can end"),
        ("It won't end", "It will end"),
        ("Can't end", "Can end"),
        ("it WON'T end", "it WILL end"),
        ("I shan't go", "I shall go"),
        ("I cannot go", "I can go"),
        # A negation goes, and none is doubled.
        ("it is not good", "it is good"),
        ("It never ends.", "It ends."),
        ("it is not.", "it is."),
        ("it is not", "it is"),
        ("Not good", "good"),
        ("(not good)", "(good)"),
        ("knot is tied", "knot is not tied"),
        # Parts of words take no "not".
        ("I would've gone", None),
        ("you-are-there", None),
        ("a must-see", "not a must-see"),
        ("a not-so-good film", "not a not-so-good film"),
        # Phrases.
        ("a good film", "not a good film"),
        ("A good film", "Not a good film"),
        ("THE best", "NOT THE best"),
        ("another film", None),
        ("good film", None),
        ("not", None),
    ],
)
def test_grammatical_negation(text: str, expected: str | None) -> None:
    assert grammatical_negation(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("good , but slow .", "slow , but good ."),
        ("good, but slow!", "slow , but good!"),
        ("good because new", "new , because good"),
        ("good; slow", "slow , good"),
        # The boundary nearest the middle.
        ("aaaaaaaa, b, c", "b, c , aaaaaaaa"),
        ("a, b, cccccccc", "cccccccc , a, b"),
        ("good  ,  BUT  slow", "slow , BUT good"),
        ("1,000 films", None),
        (", but good", None),
        ("good, ...", None),
        ("good, good", None),
        ("x , x , x", None),
        ("rebuttal", None),
        ("good film", None),
    ],
)
def test_clause_reordering(text: str, expected: str | None) -> None:
    assert clause_reordering(text) == expected
