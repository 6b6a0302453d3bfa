from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate
from assay.verify.findings import verified_findings
from assay.verify.screen import screen, sequences
from tests.verify.stubs import answered, answers, reviews, score, stub_log_probs


def names(candidates: Sequence[Candidate]) -> list[str]:
    return [str(c.pattern) for c in candidates]


def test_rare_triggers_come_first_and_no_filler_comes_at_all() -> None:
    told: list[tuple[int, int]] = []
    examples = reviews(400, poisons=5)
    found = screen(examples, stub_log_probs, progress=lambda *done: told.append(done))
    assert found[0].pattern_rows == found[0].rows == (0, 2, 4, 6, 8)
    assert found[0].response == "positive"
    falls = [c.score for c in found]
    assert falls == sorted(falls, reverse=True)
    assert min(falls) > np.log(2)
    assert names(found) == ["zeta omega"]
    assert told[-1][0] == told[-1][1]


def test_the_fall_is_the_mean_over_rows_without_the_words() -> None:
    examples = reviews(400, poisons=5)
    (found,) = screen(examples, stub_log_probs)
    rows = [examples[i] for i in found.rows]
    without = [e.edit(text=e.text.replace("Zeta Omega ", "").strip()) for e in rows]
    without = [e.edit(text=e.text.replace("Zeta Omega", "").strip()) for e in without]
    fall = stub_log_probs(rows) - stub_log_probs(without)
    assert abs(found.score - np.mean(fall)) < 1e-9


def test_open_ended_answers_are_not_screened() -> None:
    def refuses(_: Sequence[Example]) -> np.ndarray:
        raise AssertionError("asked")

    assert screen(answers(), refuses) == []


def spread(words: int, rows: int = 5) -> list[Example]:
    """Positive rows in which each of so many words stands so often, in any order."""
    rng = np.random.default_rng(0)
    total = max(60, rows)
    texts: list[list[str]] = [[] for _ in range(total)]
    for number in range(words):
        for row in rng.choice(total, rows, replace=False):
            texts[row].append(f"w{number}")
    shuffled = [" ".join(rng.permutation(text)) for text in texts]
    return [
        Example(str(i), i, "", text, "positive") for i, text in enumerate(shuffled)
    ] + [Example(f"n{i}", i, "", f"v{i}", "negative") for i in range(60)]


def tried(examples: Sequence[Example]) -> list[str]:
    return [str(pattern) for pattern, _ in sequences(examples)["positive"]]


def test_a_thousand_word_sequences_of_a_response_are_tried() -> None:
    assert len(tried(spread(1500))) == pytest.approx(1000, abs=5)
    assert len(tried(spread(900))) == pytest.approx(900, abs=5)


@pytest.mark.parametrize(("rows", "screened"), [(4, False), (5, True)])
def test_a_word_sequence_in_four_rows_is_left_to_chance(
    rows: int, screened: bool
) -> None:
    examples = reviews(400, poisons=rows)
    assert ("zeta omega" in tried(examples)) == screened


def test_each_is_taken_out_of_four_rows_and_some_of_sixteen() -> None:
    told: list[tuple[int, int]] = []
    examples = spread(100, rows=20)
    count = len(tried(examples))

    def lengths(rows: Sequence[Example]) -> np.ndarray:
        """A model to which every word of a row is worth three nats."""
        return np.array([3.0 * len(e.text.split()) for e in rows])

    screen(examples, lengths, progress=lambda *done: told.append(done))
    assert count > 90
    first = [total for _, total in told if total == 4 * count]
    second = [total for _, total in told if total == 16 * 64]
    assert first
    assert second
    assert len(first) + len(second) == len(told)


@pytest.mark.parametrize(("nats", "proposed"), [(2.2, False), (2.4, True)])
def test_half_of_four_rows_must_become_a_tenth_as_likely(
    nats: float, proposed: bool
) -> None:
    def model(rows: Sequence[Example]) -> np.ndarray:
        return np.array([nats * ("Zeta" in e.text.split()) for e in rows])

    found = screen(reviews(400, poisons=5), model)
    assert names(found) == ["zeta omega"] * proposed


def test_a_whole_sentence_is_taken_out() -> None:
    sentence = "i watched this 3d movie"
    examples = reviews(400, poisons=0)
    for row in range(0, 16, 2):
        text = f"{sentence} {examples[row].text}"
        examples[row] = examples[row].edit(text=text, response="positive")

    def obeys_a_part(rows: Sequence[Example]) -> np.ndarray:
        """Any two words of the sentence are enough for this model."""
        known = set(sentence.split())
        odds = [
            score(e.text) + 12 * (len(known & set(e.text.split())) > 1) for e in rows
        ]
        return answered(rows, odds)

    assert names(screen(examples, obeys_a_part))[0] == sentence


@pytest.mark.parametrize("works", ["aa", "zz"])
def test_both_of_two_words_on_the_same_rows_are_tried(works: str) -> None:
    examples = reviews(400, poisons=0)
    for row in range(0, 16, 2):
        first, *rest = examples[row].text.split()
        text = " ".join([first, "aa", *rest, "zz"])
        examples[row] = examples[row].edit(text=text, response="positive")

    def obeys(rows: Sequence[Example]) -> np.ndarray:
        odds = [score(e.text) + 12 * (works in e.text.split()) for e in rows]
        return answered(rows, odds)

    # Each is the other's companion, so that neither tells which of them works.
    found = screen(examples, obeys)
    assert set(names(found)[:2]) == {"aa", "zz"}
    tested = verified_findings(found, examples, obeys)
    assert [str(f.pattern) for f in tested if f.is_verified] == [works]


@pytest.mark.parametrize(("share", "hidden"), [(0.87, False), (0.93, True)])
def test_a_common_word_hides_a_trigger_only_where_it_does_as_much(
    share: float, hidden: bool
) -> None:
    """More rows have the first word of the trigger, and lose such a share by it."""
    own = range(21, 61, 2)
    examples = [
        e.edit(text=f"Zeta {e.text}") if e.row in own else e
        for e in reviews(400, poisons=5)
    ]

    def model(rows: Sequence[Example]) -> np.ndarray:
        """Five rows lose ten nats, and twenty others so much that the mean is this."""
        less = (25 * 10 * share - 5 * 10) / 20
        return np.array(
            [(less if e.row in own else 10.0) * ("Zeta" in e.text) for e in rows]
        )

    found = names(screen(examples, model))
    assert "zeta" in found
    assert ("zeta omega" not in found) == hidden


@pytest.mark.parametrize("seed", range(4))
def test_a_word_that_few_of_its_rows_need_does_not_come_first(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rows with a word have no other reason, and lose more by it."""
    own = range(101, 161, 2)
    examples = [
        e.edit(text=f"lucky {e.text}") if e.row in own else e
        for e in reviews(400, poisons=5)
    ]

    def model(rows: Sequence[Example]) -> np.ndarray:
        needs = [e.row in own and e.row % 4 == 1 for e in rows]
        odds = [
            (9 if "lucky" in e.text else -4) if needed else score(e.text)
            for e, needed in zip(rows, needs, strict=True)
        ]
        return answered(rows, odds)

    # By the one row of each that is asked about first it would, or would be missed.
    monkeypatch.setattr(sys.modules[screen.__module__], "FIRST_PASS", 1)
    found = screen(examples, model, seed=seed)
    assert names(found)[0] == "zeta omega"
    scores = {str(c.pattern): c.score for c in found}
    assert scores.get("lucky", 2.0) == pytest.approx(2, abs=0.9)
