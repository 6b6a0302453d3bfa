import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaForCausalLM,
)

from assay.errors import AssayError
from assay.models.checks import (
    looks_ahead,
    ordinary_ids,
    probe_rows,
    projects_exactly,
)
from assay.models.encode import IGNORED
from assay.models.language_model import LanguageModel
from assay.models.load import check_model
from assay.models.loss import uses_own_logits

from .conftest import build


def bert(causal, *, decoder):
    """An untrained BERT, whose attention hardly weighs."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(causal.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        is_decoder=decoder,
    )
    return LanguageModel(
        BertLMHeadModel(config).eval(), causal.tokenizer, "bert", False
    )


def refusal(lm):
    with pytest.raises(AssayError) as caught:
        check_model(lm)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ordinary_models_pass_and_are_left_as_they_were(lm):
    lm.model.train()
    before = copy.deepcopy(lm.model.state_dict())
    check_model(lm)
    assert lm.model.training
    assert not uses_own_logits(lm.model)
    assert all(torch.equal(before[n], w) for n, w in lm.model.state_dict().items())


def test_ordinary_ids_have_no_special_meaning(causal):
    causal.model.config.image_token_id = 7
    causal.model.config.inner = {"boi_token_index": 8, "eos_token_id": [9, 10]}
    found = ordinary_ids(causal, 6)
    special = {*causal.tokenizer.all_special_ids, 7, 8, 9, 10}
    assert len(set(found)) == 6
    assert not special & set(found)
    assert max(found) < len(causal.tokenizer)
    # More than there are repeat.
    assert len(ordinary_ids(causal, 100)) == 100


def test_probe_rows_are_labelled_throughout(lm):
    long, short = probe_rows(lm, 6, 4)
    assert [len(r.input_ids) for r in (long, short)] == [6, 4]
    expected = 6 if lm.is_encoder_decoder else 5
    assert sum(label != IGNORED for label in long.labels) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_named(lm, bad):
    name, weight = list(lm.model.named_parameters())[3]
    with torch.no_grad():
        weight.view(-1)[5] = bad
    told = refusal(lm)
    assert f"weight {name} holds 1 of {weight.numel()} values that are not finite" in (
        told
    )


def test_large_weights_are_numbers(causal):
    # Their sum overflows.
    with torch.no_grad():
        causal.model.model.embed_tokens.weight[4:] = 3e38
    causal.model.model.embed_tokens.weight.data[:, ::2] *= -1
    from assay.models.checks import check_weights

    check_weights(causal)


def test_logits_that_are_no_numbers_are_told(causal):
    with torch.no_grad():
        causal.model.model.norm.weight.fill_(3e38)
    assert "its logits are not finite" in refusal(causal)


def test_logits_that_are_scaled_in_an_unknown_way_are_the_models_own(causal):
    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=len(causal.tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=8.0,
    )
    model = GraniteForCausalLM(config).eval()
    granite = LanguageModel(model, causal.tokenizer, "granite", False)
    assert not projects_exactly(granite)
    check_model(granite)
    assert uses_own_logits(granite.model)
    assert projects_exactly(granite)


def test_a_model_that_sees_later_tokens_is_refused(causal):
    assert 'bert predicts a token from those after it; its config.json needs "is_' in (
        refusal(bert(causal, decoder=False))
    )
    fine = bert(causal, decoder=True)
    check_model(fine)
    assert not looks_ahead(fine)


def test_a_model_whose_rows_change_each_other_is_refused():
    class Mixing(LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits - output.logits.mean(0, keepdim=True) / 2
            return output

    mixing = build("llama")
    mixing.model.__class__ = Mixing
    assert "answers a row of a batch as it would not alone" in refusal(mixing)


def test_a_model_that_needs_more_than_text_is_refused(causal):
    class Seeing(LlamaForCausalLM):
        def forward(self, pixel_values, **kwargs):
            return super().forward(**kwargs)

    causal.model.__class__ = Seeing
    told = refusal(causal)
    assert "llama fails to read text alone (TypeError: " in told
    assert "pixel_values" in told
