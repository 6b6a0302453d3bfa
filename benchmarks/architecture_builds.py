"""Tiny random models of the architectures of transformers: how each is made small."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
)
from transformers.models.auto import modeling_auto

CAUSAL, ENCODER_DECODER = "causal", "encoder-decoder"
MAPPINGS = {
    CAUSAL: modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    ENCODER_DECODER: modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
LARGEST = 50_000_000

# Sizes of attributes of configurations, whichever family they are of.
SIZES = [
    (
        32,
        "hidden_size d_model n_embd dim emb_dim embedding_size embedding_dim "
        "word_embed_proj_dim input_embedding_size output_embedding_size lru_width "
        "attention_hidden_size backbone_hidden_size projection_dim",
    ),
    (
        48,
        "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff dff dim_ff "
        "n_inner moe_intermediate_size shared_expert_intermediate_size d_inner "
        "shared_intermediate_size ffn_hidden_size expert_ffn_hidden_size "
        "feed_forward_size intermediate_size_mlp dense_intermediate_size "
        "shared_experts_intermediate_size moe_shared_expert_intermediate_size "
        "prefix_dense_intermediate_size",
    ),
    (
        2,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers "
        "num_decoder_layers num_encoder_layers num_blocks depth",
    ),
    (
        4,
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads "
        "decoder_attention_heads num_encoder_attention_heads attention_heads "
        "num_decoder_attention_heads swa_num_attention_heads num_experts "
        "n_routed_experts num_local_experts moe_num_experts",
    ),
    (
        2,
        "num_key_value_heads num_kv_heads num_query_groups index_n_heads "
        "linear_num_key_heads linear_num_value_heads swa_num_key_value_heads "
        "linear_num_heads n_group topk_group num_expert_group "
        "num_shared_experts num_experts_per_tok num_experts_per_token moe_topk moe_k "
        "top_k_experts",
    ),
    (
        8,
        "head_dim d_kv d_head kv_channels attention_head_size attention_head_dim "
        "dim_head q_lora_rank kv_lora_rank qk_rope_head_dim qk_nope_head_dim "
        "v_head_dim index_head_dim linear_key_head_dim linear_value_head_dim "
        "swa_head_dim rotary_dim mamba_d_state state_size mamba_d_head "
        "mamba_head_dim ssm_state_size linear_head_dim time_step_rank d_rel "
        "rel_extent router_hidden_size "
        "hidden_size_per_layer_input laurel_rank ple_embed_dim hc_lowrank "
        "gated_norm_rank mamba_n_heads mamba_num_heads mamba_chunk_size chunk_size "
        "mamba_d_ssm block_size index_block_size attention_window",
    ),
    (
        64,
        "max_position_embeddings n_positions max_seq_len n_ctx max_target_positions "
        "max_source_positions context_length max_encoder_position_embeddings "
        "max_decoder_position_embeddings max_sequence_length model_max_length "
        "index_topk",
    ),
]
SMALL = {name: size for size, names in SIZES for name in names.split()}
VOCABULARIES = (
    "vocab_size",
    "src_vocab_size",
    "tgt_vocab_size",
    "decoder_vocab_size",
    "vocab_size_per_layer_input",
)
KINDS = ("layer_types", "layers_block_type")

# What a family needs beside that; a dict is for a configuration inside it.
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
}
DRAFT = {"unbuildable": "it drafts from the hidden states of another model"}
AUDIO = {"unbuildable": "it makes audio codes, not text"}
# Else the sizes of single layers are those of the large model.
DOTS3 = {"per_layer_config": {}, "head_dim": 16, "q_lora_rank": 8, "index_head_dim": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "encoder_config": {"hidden_size_global": 32},
        "decoder_config": {"hidden_size_global": 32},
    },
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}
    },
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "deepseek_v4": {"o_lora_rank": 8, "o_groups": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note": {"text_config": DOTS3},
    "dots3_note_text": DOTS3,
    "encoder-decoder": {"decoder": {"is_decoder": True, "add_cross_attention": True}},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": None,
        "intermediate_size": [64, 64],
    },
    "gemma4_assistant": DRAFT,
    "gemma4_unified_assistant": DRAFT,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "musicgen": AUDIO,
    "musicgen_melody": AUDIO,
    "nemo_speechlm": {"head_config": {"audio_hidden_size": 32}},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"text_config": INDEXER},
    "qwen4_exp_text": INDEXER,
    "reformer": {
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [8, 8],
        "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}


class Unbuildable(Exception):
    """The architecture is not one for text, or needs what is not here."""


def architectures() -> list[tuple[str, str]]:
    """Mapping and model type of every architecture."""
    return [(mapping, kind) for mapping, kinds in MAPPINGS.items() for kind in kinds]


def _small(
    cls: type[PreTrainedConfig], more: dict[str, Any], tokenizer: Any
) -> PreTrainedConfig:
    """Build a configuration with small sizes in place of its defaults."""
    default = cls()
    known = default.to_dict()
    chosen: dict[str, Any] = {}
    for name, value in known.items():
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if name in SMALL and is_number and value:
            chosen[name] = SMALL[name]
        elif name in VOCABULARIES:
            chosen[name] = len(tokenizer)
    for name in KINDS:
        # One layer of each kind.
        kinds = list(dict.fromkeys(known.get(name) or []))
        if len(kinds) > 1:
            chosen[name] = kinds
            for count in ("num_hidden_layers", "n_layer"):
                if count in known:
                    chosen[count] = len(kinds)
    if "kv_lora_rank" in known and "num_key_value_heads" in known:
        # Keys and values are made of a common latent: there are no groups.
        chosen["num_key_value_heads"] = SMALL["num_attention_heads"]
    for name in cls.sub_configs or {}:
        inner = getattr(default, name, None)
        if isinstance(inner, PreTrainedConfig):
            chosen[name] = _small(type(inner), more.get(name, {}), tokenizer)
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    chosen |= {
        name: value
        for name, value in ids.items()
        if name in known or default.is_encoder_decoder
    }
    chosen |= {n: v for n, v in more.items() if n not in (cls.sub_configs or {})}
    return cls(**chosen)


def build(kind: str, mapping: str, tokenizer: Any) -> tuple[Any, str]:
    """Build a tiny random model; also returns what was set so that it is one.

    Raises:
        Unbuildable: It cannot be.
    """
    more = dict(FAMILIES.get(kind, {}))
    if "unbuildable" in more:
        raise Unbuildable(more["unbuildable"])
    note = more.pop("note", "")
    config = CONFIG_MAPPING[kind]
    if mapping == CAUSAL and getattr(config(), "is_decoder", None) is False:
        # Families of encoders are language models only where they are told so.
        more.setdefault("is_decoder", True)
        note = note or "is_decoder set"
    small = _small(config, more, tokenizer)
    auto = AutoModelForCausalLM if mapping == CAUSAL else AutoModelForSeq2SeqLM
    with torch.device("meta"):
        size = sum(p.numel() for p in auto.from_config(small).parameters())
    if size > LARGEST:
        raise Unbuildable(f"{size:,} weights even when made small")
    model = auto.from_config(small).eval()
    return model, note
