"""Small models trained from scratch: for tests, and where no weights can be had."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from assay.models.language_model import LanguageModel


def word_tokenizer(texts: Iterable[str], size: int = 4000) -> PreTrainedTokenizerFast:
    """Train a word-level tokenizer."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(
            vocab_size=size, special_tokens=special, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def tiny_causal(
    texts: Iterable[str], *, width: int = 64, layers: int = 2, seed: int = 0
) -> LanguageModel:
    """Build an untrained Llama of a few hundred thousand weights."""
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny-llama", False)


def tiny_t5(
    texts: Iterable[str], *, width: int = 64, layers: int = 2, seed: int = 0
) -> LanguageModel:
    """Build an untrained T5 (v1.1 layout) of a few hundred thousand weights."""
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=width // 4,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return LanguageModel(T5ForConditionalGeneration(config), tokenizer, "tiny-t5", True)
