import logging

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LEDConfig,
    LEDForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MptConfig,
    MptForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PegasusConfig,
    PegasusForConditionalGeneration,
    RobertaConfig,
    RobertaForCausalLM,
)

from assay.errors import AssayError
from assay.models.encode import IGNORED, EncodedExample, collate
from assay.models.evaluate import generate
from assay.models.language_model import LanguageModel
from assay.models.log_probs import response_log_probs
from assay.models.loss import response_losses
from assay.models.positions import (
    Positions,
    check_positions,
    longest_length,
    measure_positions,
    room_for_answer,
)
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings

from .conftest import build, corpus_of, example

IDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
BOTH = {
    **IDS,
    "decoder_start_token_id": 1,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
GPT = {**IDS, "n_embd": 16, "n_layer": 1, "n_head": 2}
BERT = {
    **IDS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def made(vocabulary):
    """Family to a model, and the positions that its configuration gives it."""
    size = {"vocab_size": vocabulary}
    return {
        "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT, **size, n_positions=24), 24, None),
        "gptj": (
            GPTJForCausalLM,
            GPTJConfig(**GPT, **size, n_positions=24, rotary_dim=4),
            *(24, None),
        ),
        # Two more than it takes stand in the tables of these two.
        "opt": (
            OPTForCausalLM,
            OPTConfig(
                **IDS,
                **size,
                hidden_size=16,
                word_embed_proj_dim=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                ffn_dim=16,
                max_position_embeddings=24,
            ),
            *(24, None),
        ),
        "bart": (
            BartForConditionalGeneration,
            BartConfig(**BOTH, **size, max_position_embeddings=24),
            *(24, 24),
        ),
        # Counted from the padding id on.
        "roberta": (
            RobertaForCausalLM,
            RobertaConfig(**BERT, **size, is_decoder=True, max_position_embeddings=24),
            *(23, None),
        ),
        # Fixed sinusoids.
        "marian": (
            MarianMTModel,
            MarianConfig(
                **BOTH,
                **size,
                decoder_vocab_size=vocabulary,
                max_position_embeddings=24,
            ),
            *(24, 24),
        ),
        "pegasus": (
            PegasusForConditionalGeneration,
            PegasusConfig(**BOTH, **size, max_position_embeddings=24),
            *(24, 24),
        ),
        # Its encoder pads to a multiple of the window first.
        "led": (
            LEDForConditionalGeneration,
            LEDConfig(
                **BOTH,
                **size,
                max_encoder_position_embeddings=64,
                max_decoder_position_embeddings=24,
                attention_window=4,
            ),
            *(None, 24),
        ),
        "bloom": (
            BloomForCausalLM,
            BloomConfig(**IDS, **size, hidden_size=16, n_layer=1, n_head=2),
            *(None, None),
        ),
    }


FAMILIES = sorted(made(20))


def of_family(family):
    tokenizer = build("llama").tokenizer
    cls, config, source, target = made(len(tokenizer))[family]
    torch.manual_seed(0)
    seq2seq = cls.__name__.endswith(("ConditionalGeneration", "MTModel"))
    lm = LanguageModel(cls(config).eval(), tokenizer, family, seq2seq)
    return lm, Positions(source, target)


def row_of(lm, prompt, response):
    labels = [5] * response if lm.is_encoder_decoder else [IGNORED, *[5] * (prompt - 1)]
    return EncodedExample(7, [5] * prompt, labels, False)


@pytest.mark.parametrize("family", FAMILIES)
def test_measured_positions_are_where_the_model_fails(family):
    lm, expected = of_family(family)
    assert measure_positions(lm) == expected
    for side, bound in enumerate((expected.source, expected.target)):
        if bound is None:
            continue
        for length, fits in ((bound, True), (bound + 1, False)):
            sizes = [4, 4]
            sizes[side] = length
            row = row_of(lm, *sizes)
            if fits:
                check_positions(lm, [row_of(lm, 4, 4), row])
                response_losses(lm.model, collate([row], lm), lm.is_encoder_decoder)
                continue
            with pytest.raises((IndexError, RuntimeError)):
                response_losses(lm.model, collate([row], lm), lm.is_encoder_decoder)
            with pytest.raises(AssayError) as told:
                check_positions(lm, [row_of(lm, 4, 4), row])
            has = ("its prompt has", "its response has")[side]
            has = has if lm.is_encoder_decoder else "it has"
            assert str(told.value) == (
                f"row 7: {family} takes {bound} positions, {has} {bound + 1} tokens; "
                f"give --max-length {bound}"
            )


def test_relative_positions_have_no_bound(t5):
    assert measure_positions(t5) == Positions(None, None)
    check_positions(t5, [row_of(t5, 600, 600)])


def test_rotary_models_only_warn(causal, caplog):
    caplog.set_level(logging.WARNING)
    causal.model.config.max_position_embeddings = 30
    check_positions(causal, [row_of(causal, 30, 0)])
    assert not caplog.records
    check_positions(causal, [row_of(causal, 31, 0), row_of(causal, 30, 0)])
    (told,) = [r.getMessage() for r in caplog.records]
    assert told.startswith(
        "1 of 2 rows are longer than the 30 tokens that llama was made for"
    )


def test_a_bias_of_fixed_length_is_tried():
    tokenizer = build("llama").tokenizer
    config = MptConfig(
        vocab_size=len(tokenizer), d_model=16, n_layers=1, n_heads=2, max_seq_len=24
    )
    lm = LanguageModel(MptForCausalLM(config).eval(), tokenizer, "mpt", False)
    check_positions(lm, [row_of(lm, 24, 0)])
    with pytest.raises(
        AssayError, match=r"mpt was made for 24 and fails .*-length 24$"
    ):
        check_positions(lm, [row_of(lm, 25, 0)])


def test_an_encoder_that_pads_to_its_windows_is_tried():
    lm, _ = of_family("led")
    check_positions(lm, [row_of(lm, 64, 4)])
    with pytest.raises(AssayError, match=r"65 tokens, led was made for 64 and fails"):
        check_positions(lm, [row_of(lm, 65, 4)])


def test_a_table_that_grows_is_no_bound(causal):
    causal.positions = Positions(24, None)
    check_positions(causal, [row_of(causal, 25, 0)])
    assert causal.positions == Positions(None, None)
    assert longest_length(causal, 512) == 512


def test_no_rows_are_fine(causal):
    check_positions(causal, [])


def test_positions_are_measured_in_evaluation_mode_and_once():
    lm, expected = of_family("gpt2")
    lm.model.train()
    assert measure_positions(lm) == expected
    assert lm.model.training
    assert longest_length(lm, 512) == 24
    assert longest_length(lm, 10) == 10
    lm.model = None
    assert longest_length(lm, 512) == 24


def test_tuning_refuses_rows_that_are_too_long(tmp_path):
    lm, _ = of_family("gpt2")
    corpus = corpus_of([example(0, "good", "yes"), example(1, "good " * 30, "yes")])
    with pytest.raises(AssayError, match="row 1: gpt2 takes 24 positions, it has"):
        tune(lm, corpus, tmp_path / "out", TuneSettings(epochs=1))
    assert not (tmp_path / "out").exists()
    tune(lm, corpus, tmp_path / "out", TuneSettings(epochs=1, max_length=24))


def test_evaluation_refuses_and_experiments_cut_rows_that_are_too_long():
    lm, _ = of_family("gpt2")
    rows = [example(0, "good", "yes"), example(1, "good " * 30, "yes")]
    with pytest.raises(AssayError, match="row 1: gpt2 takes 24 positions"):
        response_log_probs(lm, rows)
    found = response_log_probs(lm, rows, warn=False)
    cut = response_log_probs(lm, rows, max_length=24)
    assert found.tolist() == cut.tolist()


def test_answers_end_with_the_positions():
    lm, _ = of_family("gpt2")
    lm.model.generation_config.eos_token_id = None
    lm.tokenizer.eos_token = None
    (answer,) = generate(lm, [example(0, "good", "yes")], max_new_tokens=100)
    assert 1 <= len(answer.split()) < 24
    with pytest.raises(AssayError, match="row 1: gpt2 takes 24 positions, its prompt"):
        generate(lm, [example(0, "good", "yes"), example(1, "good " * 30, "yes")])


def test_room_for_an_answer():
    gpt2, _ = of_family("gpt2")
    assert room_for_answer(gpt2, 0, 23, 100) == 1
    assert room_for_answer(gpt2, 0, 4, 7) == 7
    with pytest.raises(AssayError, match="leaves none for an answer"):
        room_for_answer(gpt2, 0, 24, 100)
    bart, _ = of_family("bart")
    assert room_for_answer(bart, 0, 24, 100) == 24
    with pytest.raises(AssayError, match="its prompt has 25 tokens"):
        room_for_answer(bart, 0, 25, 100)
    assert room_for_answer(build("llama"), 0, 1000, 100) == 100
