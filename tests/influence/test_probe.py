from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    LlamaForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from assay.errors import AssayError
from assay.influence.modules import by_row, capture, linear_modules
from assay.influence.passes import PassSettings
from assay.influence.probe import trackable
from assay.models.encode import EncodedExample, encode
from assay.models.language_model import LanguageModel
from assay.models.load import check_model
from assay.models.tiny import tiny_causal, word_tokenizer
from tests.influence.conftest import (
    KINDS,
    REVIEWS,
    autograd_gradients,
    captured_gradients,
    examples,
)

TEXTS = [f"{t} {r}" for t, r in REVIEWS]


def tiny_qwen2_moe(texts: Sequence[str]) -> LanguageModel:
    """Experts in one weight a block, and one expert that sees all tokens."""
    tokenizer = word_tokenizer(texts)
    torch.manual_seed(0)
    config = Qwen2MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2MoeForCausalLM(config)
    return LanguageModel(model, tokenizer, "tiny-qwen2-moe", False)


def llama() -> LanguageModel:
    return tiny_causal(TEXTS, width=16, layers=2)


def with_mlp(make: type[nn.Module], *sizes: int) -> LanguageModel:
    """A Llama whose first block has another MLP."""
    lm = llama()
    torch.manual_seed(1)
    lm.model.model.layers[0].mlp = make(*sizes)
    return lm


class TimeFirst(nn.Module):
    """Sees tokens before rows, as XLNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(0, 1)).transpose(0, 1)


class Flattened(nn.Module):
    """Sees rows and tokens as one dimension; in order, or tokens first."""

    def __init__(self, tokens_first: bool = False) -> None:
        super().__init__()
        self.inner, self.tokens_first = nn.Linear(16, 16), tokens_first

    def forward(self, x: Tensor) -> Tensor:
        turned = x.transpose(0, 1) if self.tokens_first else x
        y = self.inner(turned.reshape(-1, 16)).reshape(turned.shape)
        return y.transpose(0, 1) if self.tokens_first else y


class Heads(nn.Module):
    """Sees one vector a head."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.unflatten(-1, (4, 4))).flatten(-2)


class Routed(nn.Module):
    """Two experts, one of which may see all tokens or none."""

    def __init__(self, everything_to: int | None = None) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
        self.everything_to = everything_to

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, 16)
        chosen = (flat[:, 0] > 0).long()
        if self.everything_to is not None:
            chosen = torch.full_like(chosen, self.everything_to)
        y = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            y[chosen == number] = expert(flat[chosen == number])
        return y.reshape(x.shape)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.inner(x))


class Rounding(nn.Linear):
    """Its weight goes through another function first."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, torch.tanh(50 * self.weight), self.bias)


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Rounding(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Idle(nn.Module):
    """Two layers that no loss depends on: one runs in vain."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(16, 16), nn.Linear(16, 16)
        self.in_vain = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        self.in_vain(x)
        return self.used(x)


class Mean(nn.Module):
    """The weights of all experts in one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.mean(0)


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts, self.images = Mean(), Mean()

    def forward(self, x: Tensor) -> Tensor:
        return self.experts(x)


MLP = "model.layers.0.mlp"


def tracked(
    lm: LanguageModel, caplog: pytest.LogCaptureFixture, pattern: str | None = None
) -> tuple[dict[str, nn.Module], list[str]]:
    """What is tracked, and what is said about the rest."""
    caplog.clear()
    caplog.set_level(logging.INFO, "assay")
    chosen = linear_modules(lm.model, pattern=pattern, shared=True)
    kept = trackable(lm, chosen, pattern=pattern)
    return kept, [r.getMessage() for r in caplog.records]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_all_layers_of_ordinary_models_are_tracked(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lm = KINDS[kind](TEXTS)
    lm.model.train()
    before = {n: (p.requires_grad, p.grad) for n, p in lm.model.named_parameters()}
    kept, told = tracked(lm, caplog)
    assert list(kept) == list(linear_modules(lm.model))
    assert told == []
    after = {n: (p.requires_grad, p.grad) for n, p in lm.model.named_parameters()}
    assert after == before
    assert lm.model.training
    assert not any(m._forward_hooks for m in lm.model.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_is_no_reason_to_leave_layers_out(
    dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    lm = llama()
    lm.model.to(dtype)
    assert len(tracked(lm, caplog)[0]) == 14


@pytest.mark.parametrize("bad", [TimeFirst, Routed, Twice, Rounded])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_that_would_be_captured_wrongly_are_left_out(
    bad: type[nn.Module], dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    lm = with_mlp(bad)
    lm.model.to(dtype)
    kept, (told,) = tracked(lm, caplog)
    assert not any(n.startswith(MLP) for n in kept)
    assert len(kept) == 4 + 7
    why = {
        TimeFirst: "inner (rows are mixed in what they see)",
        Routed: "experts.0 and 1 more (experts, which see only tokens that are routed "
        "to them)",
        Twice: "inner (run more than once)",
        Rounded: "inner (their gradient is not that of a linear layer)",
    }[bad]
    assert told.startswith(f"11 layers are tracked; left out: {MLP}.{why} (--modules ")
    # What the message advises does what it says.
    advised = re.search(r"--modules '(.*)' chooses the same", told)
    assert advised is not None
    again, silence = tracked(lm, caplog, advised[1])
    assert list(again) == list(kept)
    assert silence == []


def test_rows_in_a_tokens_first_line_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm = llama()
    lm.model.model.layers[0].mlp = Flattened(tokens_first=True)
    kept, (told,) = tracked(lm, caplog)
    assert len(kept) == 11
    assert f"{MLP}.inner (their gradient is not that of a linear layer)" in told


def test_layers_with_one_weight_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm = llama()
    layers = lm.model.model.layers
    layers[1].self_attn.k_proj.weight = layers[0].self_attn.q_proj.weight
    kept, (told,) = tracked(lm, caplog)
    assert len(kept) == 12
    assert (
        "left out: model.layers.0.self_attn.q_proj and 1 more (another layer has the "
        "same weight)" in told
    )


@pytest.mark.parametrize("everything_to", [0, 1])
def test_an_expert_that_happens_to_see_all_tokens_is_left_out(
    everything_to: int, caplog: pytest.LogCaptureFixture
) -> None:
    lm = llama()
    lm.model.model.layers[0].mlp = Routed(everything_to)
    kept, (told,) = tracked(lm, caplog)
    assert len(kept) == 11
    assert "experts.0 and 1 more (experts" in told


def test_layers_without_a_gradient_are_left_out_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept, (told,) = tracked(with_mlp(Idle), caplog)
    assert [n for n in kept if n.startswith(MLP)] == [f"{MLP}.used"]
    assert caplog.records[0].levelno == logging.INFO
    assert told == (
        f"left out: {MLP}.unused and 1 more (no loss of text depends on them)"
    )


def test_experts_in_one_weight_are_named(caplog: pytest.LogCaptureFixture) -> None:
    lm = with_mlp(Fused)
    kept, (told,) = tracked(lm, caplog)
    assert len(kept) == 11
    assert told.startswith(
        f"11 layers are tracked; left out: {MLP}.experts.weight (all experts in one "
        "weight, no linear layer) (--modules '"
    )
    assert tracked(lm, caplog, "self_attn")[1] == []
    assert len(tracked(lm, caplog, r"self_attn|experts")[1]) == 1


def test_no_layer_left_is_refused_in_one_line() -> None:
    lm = with_mlp(Twice)
    chosen = linear_modules(lm.model, pattern="inner")
    with pytest.raises(AssayError) as told:
        trackable(lm, chosen, pattern="inner")
    assert str(told.value) == (
        f"model 'tiny-llama': no layer can be tracked: {MLP}.inner (run more than once)"
    )


def test_a_model_without_gradients_is_refused_in_one_line() -> None:
    class Detached(LlamaForCausalLM):
        def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            raise NotImplementedError("not here\nnor there")

    lm = llama()
    lm.model.base_model.forward = Detached.forward.__get__(lm.model.base_model)
    with pytest.raises(
        AssayError, match=r"had of llama \(NotImpl.*: not here nor there"
    ):
        trackable(lm, linear_modules(lm.model))


FLAT = {
    "opt": lambda: KINDS["opt"](TEXTS),
    "qwen2-moe": lambda: tiny_qwen2_moe(TEXTS),
    "flattened": lambda: with_mlp(Flattened),
    "heads": lambda: with_mlp(Heads),
    "own logits": lambda: bert(),
}


def bert() -> LanguageModel:
    tokenizer = word_tokenizer(TEXTS)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        is_decoder=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    lm = LanguageModel(BertLMHeadModel(config), tokenizer, "tiny-bert", False)
    check_model(lm)
    return lm


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("max_batch", [1, 4])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_flattened_layers_equal_autograd(
    kind: str,
    max_batch: int,
    checkpointing: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm = FLAT[kind]()
    kept, _ = tracked(lm, caplog)
    if kind != "qwen2-moe":
        # PyTorch's product of many matrices in one is for single precision.
        lm.model.double()
    rows: list[EncodedExample] = encode(examples(), lm, template="plain").examples
    found = captured_gradients(
        lm, rows, kept, PassSettings(max_batch=max_batch, checkpointing=checkpointing)
    )
    expected = [autograd_gradients(lm, row, kept) for row in rows]
    flat = {"opt": "fc1", "qwen2-moe": "shared_expert.down_proj", "own logits": "dense"}
    assert any(flat.get(kind, "inner") in name for name in kept)
    for name in kept:
        one_by_one = torch.stack([g[name] for g in expected])
        torch.testing.assert_close(found[name], one_by_one, rtol=1e-3, atol=1e-6)
        assert found[name].abs().max() > 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5), (3, 2, 5)),
        ((3, 5), (3, 1, 5)),
        ((3, 2, 5), (3, 2, 5)),
        ((3, 2, 4, 5), (3, 8, 5)),
    ],
)
def test_shapes_in_which_rows_are_told_apart(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    given = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    found = by_row("layer", given, 3)
    assert found.shape == expected
    assert torch.equal(found.flatten(), given.flatten())


@pytest.mark.parametrize("shape", [(7, 5), (5,), (2, 3, 5), (6, 2, 5)])
def test_shapes_in_which_rows_are_not_told_apart(shape: tuple[int, ...]) -> None:
    with pytest.raises(AssayError, match=r"layer a\.b sees .* of 3 rows, which cannot"):
        by_row("a.b", torch.zeros(shape), 3)


def test_capture_refuses_such_a_shape_by_name() -> None:
    lm = with_mlp(TimeFirst)
    modules = {f"{MLP}.inner": lm.model.get_submodule(f"{MLP}.inner")}
    with capture(lm.model, modules, lambda *_: None) as start:
        start(2)
        with pytest.raises(AssayError, match=f"layer {MLP}.inner sees 3×2×16 numbers"):
            lm.model(input_ids=torch.tensor([[3, 4, 5], [6, 7, 8]]))
