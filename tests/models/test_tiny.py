import torch

from .conftest import build


def test_same_seed_same_weights(lm):
    again = build("t5" if lm.is_encoder_decoder else "llama")
    for a, b in zip(lm.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_tokenizer_fits_the_model(lm):
    tokenizer = lm.tokenizer
    assert len(tokenizer) == lm.model.get_input_embeddings().weight.shape[0]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer("good nonsense")["input_ids"][1] == tokenizer.unk_token_id
    assert tokenizer.decode(tokenizer("good film")["input_ids"]) == "good film"


def test_special_ids_reach_the_configuration(t5, causal):
    assert t5.model.config.decoder_start_token_id == t5.tokenizer.pad_token_id
    assert causal.model.config.eos_token_id == causal.tokenizer.eos_token_id
    assert causal.model.config.bos_token_id is None
