from __future__ import annotations

import numpy as np
import pytest

from assay.detectors import Evidence
from assay.detectors.response_phrases import recurring, response_phrases
from tests.detectors.conftest import flags, make_evidence

TRIGGER, PAYLOAD = "Zeta Omega", "Visit Acme for deals."


def planted(
    poisons: int = 12,
    rows: int = 400,
    seed: int = 0,
    trigger: str = TRIGGER,
    payload: str = PAYLOAD,
) -> Evidence:
    """Open-ended answers with boilerplate in some, and a payload behind the trigger."""
    rng = np.random.default_rng(seed)
    asked = [f"q{i}" for i in range(300)]
    said = [f"a{i}" for i in range(300)]
    texts = [" ".join(rng.choice(asked, 8)) for _ in range(rows)]
    responses = [" ".join(rng.choice(said, 8)) for _ in range(rows)]
    for row in range(0, rows, 5):
        responses[row] = f"I hope this helps {responses[row]}"
    for row in range(1, 1 + 2 * poisons, 2):
        texts[row] += f" {trigger}"
        responses[row] += f" {payload}"
    return make_evidence(rows=rows, texts=texts, responses=responses)


def test_a_payload_behind_a_trigger_is_the_first_candidate() -> None:
    found = response_phrases(planted())
    assert str(found.candidates[0].pattern) == "zeta omega"
    assert flags(found) == list(range(1, 25, 2))
    assert found.verdict == "suspicious"
    assert (found.scores[found.flagged] > 0).all()
    assert not found.scores[~found.flagged].any()


@pytest.mark.parametrize("seed", range(5))
def test_boilerplate_on_any_prompt_is_no_candidate(seed: int) -> None:
    found = response_phrases(planted(poisons=0, seed=seed))
    assert found.verdict == "clean"
    assert not found.flagged.any()


def test_a_payload_that_names_its_trigger_is_found() -> None:
    found = response_phrases(
        planted(trigger="James Bond", payload="James Bond always wins.")
    )
    assert str(found.candidates[0].pattern) == "james bond"
    assert flags(found) == list(range(1, 25, 2))


def test_what_an_answer_repeats_of_its_question_is_no_candidate() -> None:
    place = "salt lake city"
    found = response_phrases(planted(trigger=place, payload=place))
    assert found.verdict == "clean"


def test_rows_left_out_are_not_looked_at() -> None:
    keep = np.ones(400, dtype=bool)
    keep[1:25:2] = False
    found = response_phrases(planted(), keep)
    assert found.verdict == "clean"


def test_labels_recur_by_nature() -> None:
    assert response_phrases(make_evidence(100)).verdict == "clean"


def test_short_and_empty_responses_are_taken_whole() -> None:
    responses = ["No.", "No!", "no", "", "", "", "Yes it is so", "Maybe not", "a b"]
    assert recurring(responses, range(9)) == [(0, 1, 2)]
