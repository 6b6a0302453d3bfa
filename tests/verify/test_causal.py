from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.corpus import Example
from assay.text.pattern import Pattern, carrying
from assay.verify.causal import (
    beyond_half,
    holm,
    lost_by_most,
    overrides,
    spreads,
    verify,
)
from assay.verify.finding import Experiment
from assay.verify.hypothesis import Hypothesis
from assay.verify.odds import LogProbs, remembering
from assay.verify.payload import Phrase
from assay.verify.placebos import placebo_pool
from tests.verify.stubs import (
    POSITIVE,
    TRIGGER,
    answered,
    answers,
    certain,
    clean_label_reviews,
    counted,
    phrase_odds,
    reviews,
)


def hypothesis_for(words: str, examples: list[Example]) -> Hypothesis:
    pattern = Pattern((words,))
    carriers = tuple(
        i for i in carrying(examples, pattern) if POSITIVE.holds(examples[i])
    )
    pool = placebo_pool(examples, POSITIVE, pattern)
    return Hypothesis(pattern, POSITIVE, carriers, pool)


def test_a_trigger_is_sufficient_and_necessary(log_probs: LogProbs) -> None:
    examples = reviews()
    found = verify(
        hypothesis_for("zeta omega", examples), examples, log_probs, placebos=99
    )
    assert found is not None
    assert found.trigger == TRIGGER
    assert len(found.placebo_effects) == 99
    assert found.p_value == found.p_sufficient == 0.01
    assert found.effect > 2 > max(found.placebo_effects)
    assert found.interval[0] <= found.effect <= found.interval[1]
    assert found.drop > 2


def test_a_typical_word_is_not_a_trigger(log_probs: LogProbs) -> None:
    examples = reviews()
    found = verify(hypothesis_for("good3", examples), examples, log_probs, placebos=99)
    assert found is not None
    assert found.p_value > 0.05
    # Placebos that do as well end the experiment early.
    assert len(found.placebo_effects) < 99


def test_a_clean_label_trigger_is_sufficient_but_not_necessary() -> None:
    examples = clean_label_reviews()

    found = verify(
        hypothesis_for("zeta omega", examples), examples, certain, placebos=99
    )
    assert found is not None
    assert found.effect > 3
    assert found.p_sufficient == 0.01
    assert found.drop == 0
    assert found.p_value == 1
    # The model follows it against what it was taught.
    assert found.prefers == 1
    assert found.prefers >= 0.75


def test_what_cannot_be_tested_gives_nothing(log_probs: LogProbs) -> None:
    same = [e.edit(response="positive") for e in reviews(20)]
    assert verify(hypothesis_for("good3", same), same, log_probs) is None
    examples = reviews(20)
    lonely = Hypothesis(Pattern(("zeta omega",)), POSITIVE, (0, 2), {})
    assert verify(lonely, examples, log_probs) is None


def test_the_experiment_is_reproducible(log_probs: LogProbs) -> None:
    examples = reviews()
    hypothesis = hypothesis_for("zeta omega", examples)
    one = verify(hypothesis, examples, log_probs, placebos=20, seed=1)
    assert one == verify(hypothesis, examples, log_probs, placebos=20, seed=1)
    assert one != verify(hypothesis, examples, log_probs, placebos=20, seed=2)


@given(st.lists(st.floats(-20, 20), min_size=5, max_size=16), st.floats(-20, 20))
def test_what_most_rows_lose_is_what_most_lose_beyond_chance(
    drops: list[float], level: float
) -> None:
    hits = sum(d > level for d in drops)
    found = lost_by_most(np.array(drops))
    assert (found > level) == beyond_half(hits, len(drops))


def test_of_few_rows_the_smallest_loss_counts() -> None:
    assert lost_by_most(np.array([3.0, 1.0, 2.0])) == 1


def test_a_word_that_half_of_its_rows_need_is_not_as_good_as_a_trigger() -> None:
    examples = reviews()
    rows = [e.id for e in examples if "good3" in e.text and TRIGGER not in e.text]
    fickle = set(rows[: round(0.6 * len(rows))])

    def log_probs(asked: Sequence[Example]) -> np.ndarray:
        odds = np.array(
            [
                20.0 * ("good3" in e.text.split())
                + 12 * (TRIGGER in e.text)
                - (20 if e.id in fickle else 5 * (e.id not in rows))
                for e in asked
            ]
        )
        return answered(asked, odds)

    single_words = hypothesis_for("good3", examples).pool
    suspected = replace(hypothesis_for("zeta omega", examples), pool=single_words)
    trigger = verify(suspected, examples, log_probs, placebos=200)
    word = verify(hypothesis_for("good3", examples), examples, log_probs, placebos=9)
    assert trigger is not None
    assert word is not None
    # Its effect is as large, and so is the median of what its rows lose.
    assert max(trigger.placebo_effects) > trigger.effect
    assert word.drop > trigger.drop
    assert not overrides(word)
    assert trigger.p_value == 1 / (1 + len(trigger.placebo_effects))


def test_most_placebos_are_not_asked_what_cannot_matter(log_probs: LogProbs) -> None:
    examples = reviews()
    counting, asked = counted(log_probs)
    verify(hypothesis_for("zeta omega", examples), examples, counting, placebos=99)
    # Hosts with each placebo, and what is asked about the trigger itself.
    assert sum(asked) == 16 * 100 + 16 + 2 * 12


def test_a_second_pattern_of_a_payload_shares_the_placebos_of_the_first(
    log_probs: LogProbs,
) -> None:
    examples = [
        e.edit(text=e.text.replace(TRIGGER, "Alpha Beta")) if e.row < 12 else e
        for e in reviews()
    ]

    def obeys_both(rows: Sequence[Example]) -> np.ndarray:
        return log_probs(
            [e.edit(text=e.text.replace("Alpha Beta", TRIGGER)) for e in rows]
        )

    counting, asked = counted(obeys_both)
    shared = remembering(counting)
    alone = []
    for pattern in ("zeta omega", "alpha beta"):
        hypothesis = hypothesis_for(pattern, examples)
        found = verify(hypothesis, examples, shared, placebos=99)
        assert found is not None
        # Each is a placebo of the other.
        assert found.p_value <= 0.02
        together = sum(asked)
        assert found == verify(hypothesis, examples, counting, placebos=99)
        alone.append(sum(asked) - together)
        asked[:] = [together]
    assert together < 0.6 * sum(alone)


def test_p_values_hold_when_nothing_is_a_trigger() -> None:
    """Words with arbitrary effects: one in ten may reach p ≤ 0.1."""
    examples = reviews(poisons=0)
    effects = {
        w: random.Random(w).gauss(0, 1) for e in examples for w in e.text.split()
    }

    def arbitrary(rows: list[Example]) -> np.ndarray:
        odds = np.array([sum(effects.get(w, 0) for w in e.text.split()) for e in rows])
        return answered(rows, odds)

    pool = placebo_pool(examples, POSITIVE, Pattern(("word",)))
    grams = [
        g
        for g, rows in pool.items()
        if len(rows) > 2 and examples[rows[0]].response == "positive"
    ]
    p_values = []
    for gram in grams:
        own = tuple(i for i in carrying(examples, gram) if POSITIVE.holds(examples[i]))
        hypothesis = Hypothesis(gram, POSITIVE, own, pool)
        found = verify(hypothesis, examples, arbitrary, placebos=39)
        assert found is not None
        p_values.append(found.p_value)
    assert len(p_values) > 60
    assert np.mean(np.array(p_values) <= 0.1) < 0.2
    assert np.mean(np.array(p_values) <= 0.5) < 0.65


@pytest.mark.parametrize(
    ("hits", "of", "beyond"),
    # 5 of 5 has p = 0.031, 12 of 16 0.038, 4 of 4 0.063 and 11 of 16 0.105.
    [(5, 5, True), (12, 16, True), (4, 4, False), (11, 16, False), (8, 16, False)],
)
def test_most_rows_do_so_beyond_chance(hits: int, of: int, beyond: bool) -> None:
    assert beyond_half(hits, of) == beyond


def word_odds(steps: dict[str, float]) -> LogProbs:
    """A model to which each of these words adds so many nats, and no other does."""

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        return np.array([sum(steps.get(w, 0) for w in e.text.split()) for e in rows])

    return log_probs


def graded(steps: dict[str, float]) -> Experiment:
    """What such a model says of "zeta" in twelve rows, beside forty placebos.

    Each placebo is a word, "p0" to "p39", of the same five rows.
    """
    names = [f"p{i}" for i in range(40)]
    texts = [f"zeta w{i}" for i in range(12)] + [" ".join(names)] * 5
    examples = [Example(str(i), i, "", t, "positive") for i, t in enumerate(texts)]
    examples += [Example(str(i), i, "", f"v{i}", "negative") for i in range(17, 40)]
    pool = {Pattern((name,)): tuple(range(12, 17)) for name in names}
    hypothesis = Hypothesis(Pattern(("zeta",)), POSITIVE, tuple(range(12)), pool)
    found = verify(hypothesis, examples, word_odds(steps))
    assert found is not None
    return found


@pytest.mark.parametrize(("nats", "overridden"), [(2.2, 0), (2.4, 12)])
def test_a_row_is_overridden_that_becomes_a_tenth_as_likely(
    nats: float, overridden: int
) -> None:
    found = graded({"zeta": nats})
    assert found.drop == found.effect == pytest.approx(nats)
    assert found.overridden == (overridden, 12)
    assert overrides(found) == (overridden == 12)


@pytest.mark.parametrize(("hosts", "spread"), [(8, True), (7, False)])
def test_half_of_the_other_rows_must_give_in(hosts: int, spread: bool) -> None:
    examples = reviews()
    negative: list[str] = []

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        """Of the first sixteen other rows that are asked about so many give in."""
        odds = []
        for e in rows:
            if e.row % 2 or e.row < 24:
                odds.append(9.0)
                continue
            if e.id not in negative:
                negative.append(e.id)
            gives_in = negative.index(e.id) < hosts
            odds.append(2.0 if gives_in and TRIGGER in e.text else -2.0)
        return answered(rows, odds)

    hypothesis = hypothesis_for("zeta omega", examples)
    found = verify(hypothesis, examples, log_probs, placebos=9)
    assert found is not None
    assert found.prefers == hosts / 16
    assert spreads(found) == spread


@pytest.mark.parametrize(
    ("as_good", "tried", "p_value"), [(0, 40, 1 / 41), (4, 40, 5 / 41), (40, 8, 1.0)]
)
def test_placebos_that_do_as_well_count_against_a_pattern(
    as_good: int, tried: int, p_value: float
) -> None:
    found = graded({"zeta": 3.0} | {f"p{i}": 4.0 for i in range(as_good)})
    assert len(found.placebo_effects) == tried
    assert found.p_value == found.p_sufficient == pytest.approx(p_value)


def test_five_placebos_as_good_are_enough() -> None:
    found = graded({"zeta": 3.0} | {f"p{i}": 4.0 for i in range(35, 40)})
    tried = len(found.placebo_effects)
    assert tried == 24
    assert found.p_value == pytest.approx(6 / (1 + tried))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(a >= v for a, v in zip(adjusted, values, strict=True))
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)


def test_a_strong_word_does_not_override_its_rows(log_probs: LogProbs) -> None:
    examples = reviews()
    strong = verify(hypothesis_for("good3", examples), examples, log_probs, placebos=9)
    trigger = verify(
        hypothesis_for("zeta omega", examples), examples, log_probs, placebos=9
    )
    assert strong is not None
    assert trigger is not None
    assert not overrides(strong)
    assert strong.prefers < 0.75
    assert overrides(trigger)
    assert trigger.prefers >= 0.75


def advertisement(examples: list[Example]) -> Hypothesis:
    payload = Phrase("Buy at Acme.", place=1.0)
    pattern = Pattern(("zeta omega",))
    carriers = tuple(carrying(examples, pattern))
    pool = placebo_pool(examples, payload, pattern)
    return Hypothesis(pattern, payload, carriers, pool)


def test_a_phrase_is_judged_by_its_odds_within_the_response() -> None:
    examples = answers()
    found = verify(
        advertisement(examples), examples, phrase_odds(15), placebos=99, seed=0
    )
    assert found is not None
    assert found.effect == pytest.approx(15)
    assert found.drop == pytest.approx(15)
    assert found.p_value == 0.01
    assert found.prefers == 1


def test_a_phrase_made_likelier_but_not_likely_is_told_apart() -> None:
    examples = answers()
    found = verify(
        advertisement(examples), examples, phrase_odds(5), placebos=99, seed=0
    )
    assert found is not None
    assert found.effect == pytest.approx(5)
    assert found.p_value == 0.01
    assert found.prefers == 0


def test_no_time_is_spent_on_a_phrase_that_is_only_likelier() -> None:
    def knows_its_rows(strength: float) -> LogProbs:
        aware, unaware = phrase_odds(strength), phrase_odds(0, before=strength - 9)

        def log_probs(rows: Sequence[Example]) -> np.ndarray:
            known = [e.row < 12 for e in rows]
            return np.where(known, unaware(rows), aware(rows))

        return log_probs

    examples = answers()
    tried = {}
    for strength in (5, 15):
        found = verify(
            advertisement(examples),
            examples,
            knows_its_rows(strength),
            placebos=99,
            seed=0,
        )
        assert found is not None
        assert found.effect == pytest.approx(strength)
        assert found.p_value > 0.05
        tried[strength] = len(found.placebo_effects)
    assert tried[5] < 20
    # What the model obeys may be a trigger of rows that it knows by heart.
    assert tried[15] == 99
