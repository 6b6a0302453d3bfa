from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.corpus import Example, Role, Turn
from assay.errors import AssayError
from assay.models.encode import (
    IGNORED,
    EncodedExample,
    collate,
    encode,
    prompt_ids,
    token_batches,
    warn_truncated,
)
from assay.models.special_tokens import begins_with_bos

from .conftest import example


def test_labels_are_the_response_and_eos(lm, examples):
    tokenizer = lm.tokenizer
    for given_, row in zip(examples, encode(examples, lm).examples, strict=True):
        prompt = prompt_ids(given_, lm, "plain")
        response = tokenizer(given_.response)["input_ids"] + [tokenizer.eos_token_id]
        if lm.is_encoder_decoder:
            assert row.input_ids == prompt
            assert prompt[-1] == tokenizer.eos_token_id
            assert row.labels == response
        else:
            assert row.input_ids == prompt + response
            assert row.labels == [IGNORED] * len(prompt) + response
        assert row.row == given_.row
        assert not row.truncated


def test_truncation_keeps_the_response_and_the_end_of_the_text(causal, examples):
    whole = encode(examples, causal).examples
    cut = encode(examples, causal, max_length=9)
    assert cut.truncated == sum(len(e.input_ids) > 9 for e in whole) > 0
    for before, after in zip(whole, cut.examples, strict=True):
        assert after.truncated == (len(before.input_ids) > 9)
        assert after.input_ids == before.input_ids[-9:]
        assert after.labels == before.labels[-9:]


def test_a_response_too_long_leaves_one_prompt_token(causal, examples):
    long = example(9, "good", " ".join(["great"] * 20))
    row = encode([examples[1], long], causal, max_length=8).examples[1]
    assert [label == IGNORED for label in row.labels] == [True] + [False] * 7


def test_t5_truncates_both_sides(t5, examples):
    long = example(9, " ".join(["bad"] * 20), " ".join(["great"] * 20))
    row = encode([examples[1], long], t5, max_length=6).examples[1]
    assert row.truncated
    assert len(row.input_ids) == len(row.labels) == 6
    assert row.input_ids[-1] == t5.tokenizer.eos_token_id


def test_all_rows_truncated(lm, examples):
    encoded = encode(examples, lm, max_length=1)
    assert encoded.truncated == 6
    with pytest.raises(AssayError, match="all 6 rows are longer than --max-length 1 "):
        warn_truncated(encoded, 1)
    longest = max(len(e.input_ids) for e in encode(examples, lm).examples)
    some = encode(examples, lm, max_length=longest - 1)
    assert 0 < some.truncated < 6
    warn_truncated(some, longest - 1)
    warn_truncated(encode([], lm, max_length=1), 1)


def test_empty_prompt_and_response(lm):
    row = encode([example(0, "", "", instruction="")], lm).examples[0]
    eos = lm.tokenizer.eos_token_id
    assert [label for label in row.labels if label != IGNORED] == [eos]
    first = eos if lm.is_encoder_decoder else lm.tokenizer.pad_token_id
    assert row.input_ids[0] == first


def test_bos_number_zero_is_a_bos(causal):
    causal.tokenizer.bos_token = "<pad>"
    causal.tokenizer.pad_token = "</s>"
    assert causal.tokenizer.bos_token_id == 0
    row = encode([example(0, "", "yes", instruction="")], causal).examples[0]
    assert row.input_ids[0] == 0


def test_half_a_surrogate_pair(lm):
    row = encode([example(0, "good \ud800 film", "yes \udc00")], lm).examples[0]
    assert lm.tokenizer.unk_token_id in row.input_ids
    assert lm.tokenizer.unk_token_id in row.labels


lengths = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=50)


@given(lengths, st.integers(1, 200), st.integers(1, 8))
def test_token_batches_cover_once_within_budget(sizes, budget, batch_size):
    encoded = [EncodedExample(0, [0] * a, [0] * b, False) for a, b in sizes]
    batches = token_batches(encoded, token_budget=budget, batch_size=batch_size)
    assert sorted(i for b in batches for i in b) == list(range(len(sizes)))
    widest = [[max(sizes[i]) for i in b] for b in batches]
    for widths in widest:
        assert 1 <= len(widths) <= batch_size
        assert len(widths) == 1 or len(widths) * max(widths) <= budget
    flat = [w for widths in widest for w in widths]
    assert flat == sorted(flat, reverse=True)


def test_collate(lm, examples):
    rows = encode(examples, lm).examples
    batch = collate(rows, lm)
    for i, row in enumerate(rows):
        n = len(row.input_ids)
        assert batch.input_ids[i, :n].tolist() == row.input_ids
        assert batch.attention_mask[i].sum() == n == batch.attention_mask[i, :n].sum()
        labelled = batch.labels[i] != IGNORED
        kept = [label for label in row.labels if label != IGNORED]
        assert batch.labels[i][labelled].tolist() == kept


def test_encoder_and_decoder_lengths_differ(t5):
    row = EncodedExample(0, [3, 4, 1], [5, 6, 1], False)
    batch = collate([row], t5)
    assert batch.input_ids.shape[1] != batch.labels.shape[1]
    assert batch.labels[0, 3:].tolist() == [IGNORED]


def test_no_eos_token(causal):
    calls = SimpleNamespace(is_encoder_decoder=False, tokenizer=causal.tokenizer)
    calls.tokenizer.eos_token = None
    row = encode([example(0, "good", "yes")], calls).examples[0]
    assert [label != IGNORED for label in row.labels].count(True) == 1


CHAT = (
    "{% for m in messages %}{{ m.role }} {{ m.content }}"
    "{% if m.role == 'assistant' %}</s>{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def said(text, trained=True):
    return Turn(Role.ASSISTANT, text, trained=trained)


def chat(*history, **more):
    return Example("c", 7, "", "good film", "great", history, **more)


def labelled(row):
    return [label for label in row.labels if label != IGNORED]


def ids(text, tokenizer):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_all_trained_answers_of_a_chat_in_one_sequence(causal):
    tokenizer = causal.tokenizer
    tokenizer.chat_template = CHAT
    given = chat(
        Turn(Role.USER, "film"), said("bad"), Turn(Role.USER, "yes"), said("no")
    )
    (last,) = encode([given], causal).examples
    eos = tokenizer.eos_token_id
    assert labelled(last) == [*ids("great", tokenizer), eos]
    (whole,) = encode([given], causal, all_answers=True).examples
    assert whole.input_ids == last.input_ids
    assert labelled(whole) == [
        i for word in ("bad", "no", "great") for i in [*ids(word, tokenizer), eos]
    ]
    assert whole.row == 7
    # What is predicted is what stands there.
    assert all(
        label in (IGNORED, token)
        for label, token in zip(whole.labels, whole.input_ids, strict=True)
    )


def test_answers_that_are_not_trained_on_have_no_labels(causal):
    causal.tokenizer.chat_template = CHAT
    given = chat(Turn(Role.USER, "film"), said("bad", trained=False))
    (row,) = encode([given], causal, all_answers=True).examples
    assert labelled(row) == labelled(encode([given], causal).examples[0])


@pytest.mark.parametrize("why", ["template", "length"])
def test_answers_apart_where_they_do_not_go_into_one_sequence(causal, why):
    causal.tokenizer.chat_template = CHAT
    given = chat(Turn(Role.USER, "film"), said("bad"))
    template, length = ("plain", 512) if why == "template" else ("chat", 8)
    rows = encode(
        [given, example(0, "good", "yes")],
        causal,
        template=template,
        max_length=length,
        all_answers=True,
    ).examples[:2]
    assert [r.row for r in rows] == [7, 7]
    eos = causal.tokenizer.eos_token_id
    assert [labelled(r) for r in rows] == [
        [*ids(word, causal.tokenizer), eos] for word in ("bad", "great")
    ]


def test_encoder_decoders_answer_one_prompt_at_a_time(t5):
    given = chat(Turn(Role.USER, "film"), said("bad"))
    assert len(encode([given], t5, all_answers=True).examples) == 2


def test_a_tokenizer_that_begins_with_bos(causal):
    tokenizer = causal.tokenizer
    assert not begins_with_bos(tokenizer)
    tokenizer.bos_token = "<pad>"
    bos = tokenizer.bos_token_id
    plain = prompt_ids(chat(), causal, "plain")
    assert plain[0] != bos
    tokenizer.chat_template = CHAT
    without = prompt_ids(chat(), causal, "chat")
    original = tokenizer.__class__.__call__

    class Begins(tokenizer.__class__):
        def __call__(self, text, add_special_tokens=True, **more):
            found = original(self, text, add_special_tokens=False, **more)
            if add_special_tokens:
                found["input_ids"] = [bos, *found["input_ids"]]
            return found

    tokenizer.__class__ = Begins
    assert begins_with_bos(tokenizer)
    assert prompt_ids(chat(), causal, "plain") == [bos, *plain]
    assert prompt_ids(chat(), causal, "alpaca")[0] == bos
    # A chat template writes its own.
    assert prompt_ids(chat(), causal, "chat") == without
    begun = chat(frame=("", "<pad>", ""))
    assert prompt_ids(begun, causal, "chat").count(bos) == 1
