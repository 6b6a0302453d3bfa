import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    ProphetNetConfig,
    ProphetNetForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from assay.errors import AssayError
from assay.models.encode import IGNORED, EncodedExample, collate, encode
from assay.models.loss import response_logits, response_losses, use_own_logits

from .conftest import build


def reference(model, row, is_encoder_decoder):
    """Hugging Face's own mean loss times its tokens, one unpadded row."""
    labels = torch.tensor([row.labels])
    tokens = int((labels[:, 0 if is_encoder_decoder else 1 :] != IGNORED).sum())
    ids = torch.tensor([row.input_ids])
    return model(input_ids=ids, labels=labels).loss * tokens, tokens


def test_equals_hugging_face_and_so_do_the_gradients(lm, examples):
    rows = encode(examples, lm).examples
    theirs = copy.deepcopy(lm.model)
    expected = [reference(theirs, row, lm.is_encoder_decoder) for row in rows]
    output = response_losses(lm.model, collate(rows, lm), lm.is_encoder_decoder)
    torch.testing.assert_close(
        output.loss, torch.stack([e[0] for e in expected]), atol=1e-5, rtol=1e-5
    )
    assert output.tokens.tolist() == [e[1] for e in expected]
    output.loss.sum().backward()
    torch.stack([e[0] for e in expected]).sum().backward()
    for (name, ours), other in zip(
        lm.model.named_parameters(), theirs.parameters(), strict=True
    ):
        torch.testing.assert_close(
            ours.grad, other.grad, atol=1e-5, rtol=1e-4, msg=name
        )


MODELS = {kind: build(kind) for kind in ("llama", "t5")}
token = st.integers(3, 12)
rows_of = st.lists(
    st.tuples(st.lists(token, min_size=1, max_size=9), st.lists(token, max_size=5)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs=rows_of)
def test_padding_does_not_change_losses(kind, pairs):
    lm = MODELS[kind]
    rows = [
        EncodedExample(i, p, [*r, 1], False)
        if lm.is_encoder_decoder
        else EncodedExample(i, [*p, *r, 1], [IGNORED] * len(p) + [*r, 1], False)
        for i, (p, r) in enumerate(pairs)
    ]
    with torch.no_grad():
        together = response_losses(lm.model, collate(rows, lm), lm.is_encoder_decoder)
        for i, row in enumerate(rows):
            alone = response_losses(lm.model, collate([row], lm), lm.is_encoder_decoder)
            torch.testing.assert_close(together.loss[i], alone.loss[0])
            torch.testing.assert_close(together.hidden[i], alone.hidden[0])


def test_first_response_token_is_predicted_from_the_last_prompt_token(causal, examples):
    row = encode(examples[:1], causal).examples[0]
    batch = collate([row], causal)
    with torch.no_grad():
        full = causal.model(input_ids=batch.input_ids).logits[0]
        ours = response_logits(causal.model, batch, False)
        hidden = response_losses(causal.model, batch, False).hidden
    start = row.labels.count(IGNORED) - 1
    torch.testing.assert_close(ours, full[start:-1])
    torch.testing.assert_close(causal.model.lm_head(hidden)[0], full[start])


def test_a_row_without_labels_costs_nothing(causal):
    rows = [
        EncodedExample(0, [3, 4, 5], [IGNORED] * 3, False),
        EncodedExample(1, [3, 4, 5], [IGNORED, 4, 5], False),
    ]
    output = response_losses(causal.model, collate(rows, causal), False)
    assert output.loss[0] == 0
    assert output.loss[1] > 0
    assert output.tokens.tolist() == [0, 2]


def gemma2():
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            final_logit_softcapping=0.5,
        )
    )


def t5_of(tied):
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=20,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            tie_word_embeddings=tied,
        )
    )


def bart():
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=20,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=32,
        )
    )


FAMILIES = {
    "gemma2": gemma2,
    "t5": lambda: t5_of(True),
    "t5-1.1": lambda: t5_of(False),
    "bart": bart,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_change_their_logits(family):
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        # Fresh weights are so small that a cap or a scale hardly shows.
        model.get_output_embeddings().weight.mul_(20)
    seq2seq = model.config.is_encoder_decoder
    labels = [5, 6, 1] if seq2seq else [IGNORED, IGNORED, 5, 6]
    row = EncodedExample(0, [3, 4, 5, 6], labels, False)
    batch = collate([row], build("t5" if seq2seq else "llama"))
    expected, _ = reference(model, row, seq2seq)
    torch.testing.assert_close(
        response_losses(model, batch, seq2seq).loss[0], expected, rtol=1e-4, atol=1e-4
    )


def granite():
    return GraniteForCausalLM(
        GraniteConfig(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            logits_scaling=8.0,
        )
    )


def bert():
    # Between the last hidden state and the output embedding stands another layer.
    return BertLMHeadModel(
        BertConfig(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            is_decoder=True,
        )
    )


def m2m():
    # It has no method that makes decoder inputs of labels.
    return M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=20,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=32,
            decoder_start_token_id=2,
        )
    )


@pytest.mark.parametrize("family", [granite, bert, m2m, bart, t5_of])
def test_logits_of_the_models_own_forward_pass(family):
    torch.manual_seed(0)
    model = family(True) if family is t5_of else family()
    model.eval()
    use_own_logits(model)
    # A copy takes them from there too.
    model = copy.deepcopy(model)
    seq2seq = model.config.is_encoder_decoder
    rows = [
        EncodedExample(
            0, [3, 4, 5, 6], [5, 6, 1] if seq2seq else [IGNORED, 4, 5, 6], False
        ),
        EncodedExample(1, [7, 8], [9, 1] if seq2seq else [IGNORED, 8], False),
    ]
    batch = collate(rows, build("t5" if seq2seq else "llama"))
    found = response_losses(model, batch, seq2seq)
    for i, row in enumerate(rows):
        expected, tokens = reference(model, row, seq2seq)
        torch.testing.assert_close(found.loss[i], expected, rtol=1e-4, atol=1e-4)
        assert found.tokens[i] == tokens
    found.loss.sum().backward()
    ours = {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }
    model.zero_grad()
    sum(reference(model, row, seq2seq)[0] for row in rows).backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(ours[name], weight.grad, rtol=1e-3, atol=1e-5)
    # The state that evidence is made of is what the output embedding is given.
    hidden = found.hidden @ model.get_output_embeddings().weight.T
    if family in (granite, bart):
        scale = 8.0 if family is granite else 1.0
        first = response_logits(model, batch, seq2seq)[0]
        torch.testing.assert_close(hidden[0] / scale, first, rtol=1e-4, atol=1e-4)


def test_a_model_of_several_predictions_a_token_is_refused():
    config = ProphetNetConfig(
        vocab_size=20,
        hidden_size=16,
        num_decoder_layers=1,
        num_decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        is_decoder=True,
        is_encoder_decoder=False,
        ngram=2,
    )
    model = ProphetNetForCausalLM(config).eval()
    use_own_logits(model)
    row = EncodedExample(0, [3, 4, 5, 6], [IGNORED, 4, 5, 6], False)
    with pytest.raises(AssayError, match=r"^prophetnet is not supported: .*token$"):
        response_losses(model, collate([row], build("llama")), False)
