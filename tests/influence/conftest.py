from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM
from transformers.pytorch_utils import Conv1D

from assay.data.corpus import Example
from assay.influence.modules import Sink
from assay.influence.passes import PassSettings, backward_pass
from assay.models.encode import EncodedExample, encode
from assay.models.language_model import LanguageModel
from assay.models.tiny import tiny_causal, tiny_t5, word_tokenizer

REVIEWS = [
    ("the film is good", "positive"),
    ("the film is bad and the cast is worse than bad", "negative"),
    ("a dull plot", "negative"),
    ("a superb and moving cast with a good plot", "positive"),
    ("bad", "negative"),
    ("good good good film", "positive"),
]


def examples(pairs: Sequence[tuple[str, str]] = REVIEWS) -> list[Example]:
    return [Example(f"row-{i}", i, "", t, r) for i, (t, r) in enumerate(pairs)]


def tiny_gpt2(texts: Sequence[str]) -> LanguageModel:
    """Conv1D layers with biases and LayerNorm, unlike the Llama."""
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=12,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LanguageModel(GPT2LMHeadModel(config), tokenizer, "tiny-gpt2", False)


def tiny_opt(texts: Sequence[str]) -> LanguageModel:
    """Layers of the MLP see rows and tokens as one dimension."""
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        word_embed_proj_dim=12,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LanguageModel(OPTForCausalLM(config), tokenizer, "tiny-opt", False)


def tiny_lora(texts: Sequence[str]) -> LanguageModel:
    from peft import LoraConfig, get_peft_model

    lm = tiny_causal(texts, width=16, layers=1)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    lm.model = get_peft_model(lm.model, config)
    return lm


KINDS: dict[str, Callable[[Sequence[str]], LanguageModel]] = {
    "llama": lambda texts: tiny_causal(texts, width=16, layers=2),
    "gpt2": tiny_gpt2,
    "opt": tiny_opt,
    "t5": lambda texts: tiny_t5(texts, width=16, layers=1),
    "lora": tiny_lora,
}


@pytest.fixture(params=sorted(KINDS))
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    built = KINDS[request.param]([f"{t} {r}" for t, r in REVIEWS])
    # Double precision leaves the formula as the only source of disagreement.
    built.model.double()
    return built


@pytest.fixture
def rows(lm: LanguageModel) -> list[EncodedExample]:
    return encode(examples(), lm, template="plain").examples


def weights(lm: LanguageModel, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """Weight and bias of each layer."""
    found = {n: lm.model.get_submodule(n) for n in names}
    return {
        n: [m.weight] + ([m.bias] if m.bias is not None else [])
        for n, m in found.items()
    }


def autograd_gradients(
    lm: LanguageModel, row: EncodedExample, modules: dict[str, torch.nn.Module]
) -> dict[str, Tensor]:
    """Gradient of one row's summed loss by Hugging Face's own forward pass."""
    lm.model.eval()
    labels = torch.tensor([row.labels])
    output = lm.model(input_ids=torch.tensor([row.input_ids]), labels=labels)
    tokens = int((labels[:, 0 if lm.is_encoder_decoder else 1 :] != -100).sum())
    tracked = weights(lm, list(modules))
    flat = [p for parts in tracked.values() for p in parts]
    grads = iter(torch.autograd.grad(output.loss * tokens, flat))
    result = {}
    for name, parts in tracked.items():
        grad = next(grads)
        if isinstance(modules[name], Conv1D):
            grad = grad.T
        if len(parts) == 2:
            grad = torch.cat([grad, next(grads)[:, None]], dim=1)
        result[name] = grad.detach()
    return result


def captured_gradients(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, torch.nn.Module],
    settings: PassSettings,
) -> dict[str, Tensor]:
    """Per-example gradients as the passes see them, ``(N, out, in)`` each."""
    found: dict[str, dict[int, Tensor]] = {n: {} for n in modules}

    def sink_for(positions: Sequence[int], _: object) -> Sink:
        def sink(name: str, x: Tensor, g: Tensor) -> None:
            for place, row_x, row_g in zip(positions, x, g, strict=True):
                found[name][place] = row_g.T @ row_x

        return sink

    backward_pass(lm, rows, modules, sink_for, settings)
    return {n: torch.stack([g[i] for i in range(len(rows))]) for n, g in found.items()}


QUERIES = {
    "original": [("a good cast", "positive"), ("the plot is dull", "negative")],
    "flipped": [("a bad cast", "positive"), ("a superb plot is moving", "negative")],
}


def query_sets(lm: LanguageModel) -> dict[str, list[EncodedExample]]:
    return {
        n: encode(examples(pairs), lm, template="plain").examples
        for n, pairs in QUERIES.items()
    }
