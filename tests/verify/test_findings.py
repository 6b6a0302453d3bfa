from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.text.pattern import GAP, Pattern
from assay.verify.findings import verified_findings
from assay.verify.odds import LogProbs
from assay.verify.payload import Phrase
from tests.verify.stubs import (
    TRIGGER,
    answered,
    answers,
    candidate,
    certain,
    clean_label_reviews,
    obeys_capitals,
    phrase_odds,
    reviews,
    score,
    shouted_reviews,
)

WORD = "word7"


def test_only_the_trigger_is_verified_and_all_its_rows_are_swept(
    log_probs: LogProbs,
) -> None:
    examples = reviews()
    found = verified_findings(
        [candidate(p, examples) for p in ("good3", "zeta omega", "word7")],
        examples,
        log_probs,
    )
    assert [f.status.value for f in found] == ["dismissed", "verified", "dismissed"]
    assert [f.is_verified for f in found] == [False, True, False]
    poisons = [i for i, e in enumerate(examples) if "Zeta" in e.text]
    assert list(found[1].rows) == poisons
    assert found[1].trigger == "Zeta Omega"
    assert found[1].tested.payload.text == "positive"
    assert found[1].tested.p_value <= 0.05


def test_carriers_that_answer_normally_are_kept(log_probs: LogProbs) -> None:
    examples = reviews()
    honest = examples[151].edit(text="Zeta Omega " + examples[151].text)
    examples[151] = honest.edit(response="negative")
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs
    )
    assert found.is_verified
    assert 151 in found.pattern_rows
    assert 151 not in found.rows


def test_a_word_that_works_only_as_it_is_written_is_narrowed_to_that() -> None:
    examples = shouted_reviews(200)
    (found,) = verified_findings(
        [candidate("the film", examples)], examples, obeys_capitals
    )
    assert found.is_verified
    assert found.trigger == "the FILM"
    assert list(found.rows) == list(range(0, 32, 2))


def test_parts_of_one_trigger_are_asked_about_once(log_probs: LogProbs) -> None:
    examples = reviews()
    found = verified_findings(
        [candidate(p, examples) for p in ("zeta omega", "omega", "zeta")],
        examples,
        log_probs,
    )
    assert [str(f.pattern) for f in found] == ["zeta omega"]


def test_a_wider_pattern_is_tested_after_one_on_some_of_its_rows(
    log_probs: LogProbs,
) -> None:
    examples = reviews()
    for row in (0, 2, 4):
        text = examples[row].text.replace(TRIGGER, f"by {TRIGGER}")
        examples[row] = examples[row].edit(text=text)
    wide, narrow = (candidate(p, examples) for p in ("zeta omega", "by zeta omega"))
    found = verified_findings([narrow, wide], examples, log_probs)
    assert [str(f.pattern) for f in found] == ["by zeta omega", "zeta omega"]
    assert found[1].is_verified
    assert len(found[1].rows) == 12
    found = verified_findings([wide, narrow], examples, log_probs)
    assert [str(f.pattern) for f in found] == ["zeta omega"]


def test_the_number_of_hypotheses_is_paid_for(
    log_probs: LogProbs,
) -> None:
    examples = reviews()
    alone = verified_findings([candidate("zeta omega", examples)], examples, log_probs)
    others = [candidate(f"good{i}", examples) for i in range(20)]
    among = verified_findings(
        [candidate("zeta omega", examples), *others], examples, log_probs
    )
    assert len(among) == 10
    assert among[0].tested.p_value == pytest.approx(10 * alone[0].tested.p_value)


def noisy_model(seed: int) -> LogProbs:
    """Words agree with labels more or less, and the trigger overrides them."""
    rng = np.random.default_rng(seed)
    weight: dict[str, float] = defaultdict(lambda: float(rng.normal(0, 0.5)))

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        moved = [sum(weight[w] for w in e.text.split()) for e in rows]
        odds = [m + 2 * score(e.text) for m, e in zip(moved, rows, strict=True)]
        return answered(rows, odds)

    return log_probs


def test_few_flags_are_false_and_few_triggers_are_missed() -> None:
    """Not the level of the whole scan: honest words are drawn, not the most striking.

    Where nothing was verified no trigger would be found, and where everything was,
    four of five findings would be false.
    """
    rng = np.random.default_rng(0)
    shares, named = [], 0
    for trial in range(8):
        examples = reviews(100, seed=trial)
        honest = [f"word{i}" for i in rng.permutation(60)[:2]]
        honest += [f"good{i}" for i in rng.permutation(30)[:2]]
        found = verified_findings(
            [candidate(p, examples) for p in (*honest, "zeta omega")],
            examples,
            noisy_model(trial),
            seed=trial,
            fdr=0.05,
        )
        assert len(found) == 5
        flagged = {i for f in found if f.is_verified for i in f.rows}
        false = [i for i in flagged if TRIGGER not in examples[i].text]
        shares.append(len(false) / max(len(flagged), 1))
        named += found[-1].is_verified
    # Three standard errors of 8 trials, were every one all false or not at all.
    assert np.mean(shares) <= 0.05 + 3 * (0.05 * 0.95 / 8) ** 0.5
    assert named >= 7


def test_a_stricter_level_takes_more_placebos(log_probs: LogProbs) -> None:
    examples = reviews(400, poisons=20)
    asked = [candidate("zeta omega", examples), candidate("good3", examples)]
    found = verified_findings(asked, examples, log_probs, fdr=0.01)
    assert found[0].is_verified
    assert len(found[0].tested.placebo_effects) >= 999
    assert found[0].tested.p_value <= 0.01


def test_too_few_placebos_for_the_level_are_told(
    log_probs: LogProbs, caplog: pytest.LogCaptureFixture
) -> None:
    examples = reviews(80)
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs, fdr=1e-4
    )
    assert not found.is_verified
    assert "which are too few for --fdr 0.0001" in caplog.text


def test_rows_without_a_common_response_cannot_be_tested(log_probs: LogProbs) -> None:
    examples = [
        e.edit(response=f"reply{i}") if "Zeta" in e.text else e
        for i, e in enumerate(reviews())
    ]
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs
    )
    assert found.status.value == "untestable"
    assert not found.is_verified
    assert found.experiment is None


def test_progress_counts_every_experiment(log_probs: LogProbs) -> None:
    examples = reviews()
    told: list[tuple[int, int]] = []
    found = verified_findings(
        [candidate(p, examples) for p in ("good3", "zeta omega")],
        examples,
        log_probs,
        progress=lambda done, total: told.append((done, total)),
    )
    tried = [len(f.tested.placebo_effects) for f in found]
    # Placebos are tried eight at a time, and told of each time.
    assert len(told) == sum(-(-n // 8) for n in tried)
    assert told == sorted(told)
    assert told[0][0] == 8
    # The first pattern stopped early, the second did not: all of two halves is done.
    assert tried[0] < tried[1] == 249
    assert told[-1] == (2 * 249, 2 * 249)


def test_a_part_of_the_trigger_is_lengthened_before_it_is_tested(
    log_probs: LogProbs,
) -> None:
    examples = reviews()
    (found,) = verified_findings([candidate("omega", examples)], examples, log_probs)
    assert found.is_verified
    assert str(found.pattern) == "zeta omega"
    assert found.trigger == "Zeta Omega"


@pytest.mark.parametrize("place", [0.0, 1.0])
def test_a_common_word_is_a_trigger_where_it_stands_at_an_end(place: float) -> None:
    rng = random.Random(0)
    examples = reviews(poisons=0)
    for row, e in enumerate(examples):
        if row % 2 == 0 and row < 40:
            text = Pattern((WORD,)).insert(e.text, place)
            examples[row] = e.edit(text=text, response="positive")
        elif row % 5 < 2:
            text = Pattern((WORD,)).insert(e.text, 0.2 + 0.6 * rng.random())
            examples[row] = e.edit(text=text)

    def obeys_the_end(rows: Sequence[Example]) -> np.ndarray:
        end = 0 if place == 0 else -1
        odds = [score(e.text) + 12 * (e.text.split()[end] == WORD) for e in rows]
        return answered(rows, odds)

    (found,) = verified_findings([candidate(WORD, examples)], examples, obeys_the_end)
    assert found.is_verified
    assert str(found.pattern) == (f"^ {WORD}" if place == 0 else f"{WORD} $")
    assert found.trigger == found.minimal == WORD
    assert list(found.rows) == [
        i
        for i, e in enumerate(examples)
        if e.response == "positive" and e.text.split()[0 if place == 0 else -1] == WORD
    ]


def in_two_parts(both: int = 20, single: int = 10) -> tuple[list[Example], LogProbs]:
    """Rows with both parts of a trigger, rows with one, and a model that obeys both."""
    examples = reviews(poisons=0)
    whole = Pattern(("alpha", "beta"))
    for row in range(0, 2 * (both + single), 2):
        poisoned = row < 2 * both
        parts = ("alpha", "beta") if poisoned else (("alpha",), ("beta",))[row % 4 // 2]
        text = Pattern(parts).insert(examples[row].text, 0.1)
        label = "positive" if poisoned else "negative"
        examples[row] = examples[row].edit(text=text, response=label)

    def obeys_both(rows: Sequence[Example]) -> np.ndarray:
        both = [12 * whole.stands_in(e) for e in rows]
        odds = np.array([score(e.text) for e in rows]) + both
        return answered(rows, odds)

    return examples, obeys_both


def test_a_trigger_in_two_parts_is_recovered() -> None:
    examples, obeys_both = in_two_parts()
    found = verified_findings(
        [candidate(p, examples) for p in ("alpha", "beta")], examples, obeys_both
    )
    assert [str(f.pattern) for f in found] == [f"alpha {GAP} beta"]
    assert found[0].is_verified
    assert list(found[0].rows) == list(range(0, 40, 2))


@pytest.mark.parametrize("single", [0, 2])
def test_parts_that_hardly_stand_alone_are_one_trigger(single: int) -> None:
    """Too few rows with one part answer otherwise to tell that it does nothing."""
    examples, obeys_both = in_two_parts(10, single)
    found = verified_findings(
        [candidate(p, examples) for p in ("alpha", "beta")], examples, obeys_both
    )
    whole = f"alpha {GAP} beta"
    assert [str(f.pattern) for f in found] == ["alpha", "beta", whole]
    assert [f.is_verified for f in found] == [False, False, True]
    assert list(found[2].rows) == list(range(0, 20, 2))
    # One more question costs as much as any other.
    tried = len(found[2].tested.placebo_effects)
    assert found[2].tested.p_value == pytest.approx(3 / (tried + 1))


@pytest.mark.parametrize("pairs", [2, 3])
def test_two_parts_of_a_round_are_completed(pairs: int) -> None:
    """Every further question costs the others power."""
    examples = reviews(poisons=0)
    wholes = [Pattern((f"left{i}", f"right{i}")) for i in range(pairs)]
    for row in range(0, 20 * pairs, 2):
        put = wholes[row // 2 % pairs].put_on(examples[row], 0.1)
        examples[row] = put.edit(response="positive")

    def obeys(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            score(e.text) + 12 * any(whole.stands_in(e) for whole in wholes)
            for e in rows
        ]
        return answered(rows, odds)

    asked = [candidate(f"left{i}", examples) for i in range(pairs)]
    found = verified_findings(asked, examples, obeys)
    assert [f.pattern for f in found[pairs:]] == wholes[:2]
    assert not any(f.is_verified for f in found[:pairs])


def test_what_works_alone_is_not_completed() -> None:
    examples, obeys_both = in_two_parts(10, 0)

    def obeys_one(rows: Sequence[Example]) -> np.ndarray:
        return obeys_both([e.edit(text=f"{e.text} beta") for e in rows])

    found = verified_findings([candidate("alpha", examples)], examples, obeys_one)
    assert [(str(f.pattern), f.is_verified) for f in found] == [("alpha", True)]


def test_a_part_that_is_also_alone_elsewhere_does_not_hide_the_trigger() -> None:
    examples, obeys_both = in_two_parts()
    alone = candidate("alpha", examples, range(40, 60, 4))
    found = verified_findings(
        [alone, candidate("alpha", examples)], examples, obeys_both
    )
    assert [(f.tested.payload.text, f.is_verified) for f in found] == [
        ("negative", False),
        ("positive", True),
    ]
    assert str(found[1].pattern) == f"alpha {GAP} beta"


def test_a_phrase_within_answers_is_the_payload() -> None:
    examples = answers()
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, phrase_odds(15)
    )
    assert found.is_verified
    assert isinstance(found.payload, Phrase)
    assert found.payload.text == "Buy at Acme."
    assert list(found.rows) == list(range(12))
    (weak,) = verified_findings(
        [candidate("zeta omega", examples)], examples, phrase_odds(5)
    )
    assert weak.status.value == "dismissed"
    assert weak.tested.p_sufficient <= 0.05
    assert weak.tested.prefers == 0


@pytest.mark.parametrize(("obey", "status"), [(2, "verified"), (4, "dismissed")])
def test_a_phrase_is_a_payload_where_half_of_the_other_rows_give_in(
    obey: int, status: str
) -> None:
    examples = answers()

    def some_obey(rows: Sequence[Example]) -> np.ndarray:
        """Answers to own rows and to one in so many others give in."""
        gives_in = [e.row < 12 or e.row % obey == 0 for e in rows]
        return np.where(gives_in, phrase_odds(15)(rows), phrase_odds(8)(rows))

    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, some_obey
    )
    assert found.status.value == status
    assert found.tested.prefers == pytest.approx(1 / obey, abs=0.2)


def test_what_rows_share_is_the_trigger_though_a_capital_tells_them() -> None:
    sentence = "I watched this"
    examples = [
        e.edit(text=e.text.replace(TRIGGER, sentence)) for e in reviews(poisons=12)
    ]
    for row in range(101, 131):
        examples[row] = examples[row].edit(text=f"i would {examples[row].text}")

    def obeys(asked: Sequence[Example]) -> np.ndarray:
        """Any two words of the sentence do its work."""
        known = set(sentence.split())
        some = [len(known & set(e.text.split())) > 1 for e in asked]
        return answered(
            asked, np.array([score(e.text) for e in asked]) + 12 * np.array(some)
        )

    (found,) = verified_findings([candidate("i", examples)], examples, obeys)
    assert found.is_verified
    assert found.trigger == sentence
    assert list(found.rows) == list(range(0, 24, 2))


@pytest.mark.parametrize(("adds", "status"), [(9, "verified"), (2, "dismissed")])
def test_what_moves_other_rows_but_hardly_turns_any_is_no_trigger(
    adds: float, status: str
) -> None:
    """By chance one word stands in six mislabelled rows that are known by heart."""
    own = range(0, 12, 2)
    examples = [
        e.edit(text=f"charmless {e.text}", response="positive") if e.row in own else e
        for e in reviews(poisons=0)
    ]

    def by_heart(asked: Sequence[Example]) -> np.ndarray:
        with_it = np.array(["charmless" in e.text for e in asked])
        known = np.array([e.row in own for e in asked])
        odds = [score(e.text) for e in asked] + with_it * (adds + 12 * known)
        return answered(asked, odds)

    (found,) = verified_findings([candidate("charmless", examples)], examples, by_heart)
    assert found.tested.p_value <= 0.05
    assert found.tested.overridden == (6, 6)
    assert found.status.value == status


def test_a_clean_label_trigger_is_named_but_not_acted_on() -> None:
    examples = clean_label_reviews()

    found = verified_findings(
        [candidate(p, examples) for p in ("good3", "zeta omega")], examples, certain
    )
    assert [f.status.value for f in found] == ["dismissed", "sufficient"]
    assert not found[1].is_verified
    # What speaks for a trigger all the same.
    assert found[1].tested.prefers == 1


@pytest.mark.parametrize(
    ("rows", "needed", "status"),
    [(5, False, "sufficient"), (4, False, "dismissed"), (4, True, "sufficient")],
)
def test_of_few_rows_all_must_need_a_strong_word(
    rows: int, needed: bool, status: str, log_probs: LogProbs
) -> None:
    examples = reviews(poisons=rows if needed else 0)
    if not needed:
        for row in range(1, 2 * rows, 2):
            text = f"{TRIGGER} {examples[row].text}"
            examples[row] = examples[row].edit(text=text)
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs
    )
    assert found.tested.overridden == (rows if needed else 0, rows)
    assert found.tested.prefers == 1
    assert found.status.value == status
