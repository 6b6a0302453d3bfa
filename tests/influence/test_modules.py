from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from assay.errors import AssayError
from assay.influence.modules import (
    capture,
    checkpointed,
    linear_modules,
    transformer_blocks,
    weight_shape,
)
from assay.influence.passes import PassSettings, backward_pass, evaluating
from assay.models.encode import EncodedExample, collate, encode
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses
from assay.models.tiny import tiny_causal, tiny_t5
from tests.influence.conftest import (
    KINDS,
    REVIEWS,
    autograd_gradients,
    captured_gradients,
    examples,
    tiny_lora,
)


def reviewing(kind: str) -> tuple[LanguageModel, list[EncodedExample]]:
    lm = KINDS[kind]([f"{t} {r}" for t, r in REVIEWS])
    return lm, encode(examples(), lm, template="plain").examples


@pytest.mark.parametrize("max_batch", [1, 4])
def test_per_example_gradients_equal_autograd(
    lm: LanguageModel, rows: list[EncodedExample], max_batch: int
) -> None:
    modules = linear_modules(lm.model)
    expected = [autograd_gradients(lm, row, modules) for row in rows]
    found = captured_gradients(lm, rows, modules, PassSettings(max_batch=max_batch))
    for name, module in modules.items():
        assert found[name].shape[1:] == weight_shape(module)
        one_by_one = torch.stack([g[name] for g in expected])
        # T5's norm and the loss compute in float32 whatever the weights are.
        torch.testing.assert_close(found[name], one_by_one, rtol=1e-4, atol=1e-7)
        assert found[name].abs().max() > 0


def test_output_embedding_is_not_tracked(lm: LanguageModel) -> None:
    names = linear_modules(lm.model)
    assert not any("lm_head" in n for n in names)


def test_a_peft_model_is_tracked_by_its_adapters() -> None:
    names = list(linear_modules(tiny_lora(["a b"]).model))
    assert names
    assert all(".lora_A." in n or ".lora_B." in n for n in names)


def test_modules_are_chosen_by_pattern_and_depth() -> None:
    model = tiny_causal(["a b"], width=16, layers=3).model
    assert len(linear_modules(model)) == 21
    assert len(linear_modules(model, first=2)) == 14
    chosen = linear_modules(model, pattern=r"q_proj|v_proj", first=1)
    assert [n.rsplit(".", 1)[1] for n in chosen] == ["q_proj", "v_proj"]
    with pytest.raises(AssayError, match="no linear layer matches --modules 'zzz'"):
        linear_modules(model, pattern="zzz")
    with pytest.raises(AssayError, match="not a regular expression"):
        linear_modules(model, pattern="(")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.shared = nn.Linear(3, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.shared(self.shared(self.embed(ids)))


def test_a_layer_that_runs_twice_is_refused_by_name() -> None:
    model = Twice()
    ids = torch.tensor([[1, 2]])
    with capture(model, {"shared": model.shared}, lambda *_: None) as start:
        start(1)
        with pytest.raises(AssayError, match="layer shared runs more than once"):
            model(ids)
    assert all(p.requires_grad for p in model.parameters())
    assert not model.shared._forward_hooks


def test_capture_freezes_weights_and_restores_them(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    before = {n: p.requires_grad for n, p in lm.model.named_parameters()}
    with capture(lm.model, modules, lambda *_: None) as start:
        start(len(rows))
        batch = collate(rows, lm)
        response_losses(lm.model, batch, lm.is_encoder_decoder).loss.sum().backward()
    assert {n: p.requires_grad for n, p in lm.model.named_parameters()} == before
    assert all(p.grad is None for p in lm.model.parameters())


@pytest.mark.parametrize("bf16", [False, True])
def test_checkpointing_changes_no_gradient(
    lm: LanguageModel, rows: list[EncodedExample], bf16: bool
) -> None:
    if bf16:
        lm.model.float()
    modules = linear_modules(lm.model)
    forwards = [b.forward for b in transformer_blocks(lm.model)]
    held = captured_gradients(lm, rows, modules, PassSettings(max_batch=4, bf16=bf16))
    recomputed = captured_gradients(
        lm, rows, modules, PassSettings(max_batch=4, bf16=bf16, checkpointing=True)
    )
    for name in modules:
        assert held[name].abs().max() > 0
        torch.testing.assert_close(recomputed[name], held[name], rtol=0, atol=0)
    assert [b.forward for b in transformer_blocks(lm.model)] == forwards


def test_checkpointing_runs_every_block_once_more(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    runs: list[str] = []
    modules = linear_modules(lm.model)
    for name, module in modules.items():
        module.register_forward_hook(lambda *_, name=name: runs.append(name))
    for checkpointing in (False, True):
        runs.clear()
        captured_gradients(lm, rows, modules, PassSettings(checkpointing=checkpointing))
        assert sorted(runs) == sorted([*modules] * (1 + checkpointing))


@pytest.mark.parametrize("where", ["forward", "backward", "between batches"])
def test_blocks_are_as_before_after_a_failure(
    where: str, lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    blocks = transformer_blocks(lm.model)
    before = {n: p.requires_grad for n, p in lm.model.named_parameters()}

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    handle = blocks[-1].register_forward_pre_hook(fail) if where == "forward" else None
    with pytest.raises(KeyboardInterrupt):
        backward_pass(
            lm,
            rows,
            modules,
            lambda *_: fail if where == "backward" else lambda *_: None,
            PassSettings(checkpointing=True),
            progress=fail if where == "between batches" else None,
        )
    if handle is not None:
        handle.remove()
    assert not any("forward" in vars(b) for b in blocks)
    assert not any(m._forward_hooks for m in lm.model.modules())
    assert {n: p.requires_grad for n, p in lm.model.named_parameters()} == before
    # And the next pass is none the worse for it.
    found = captured_gradients(lm, rows, modules, PassSettings(checkpointing=True))
    expected = captured_gradients(lm, rows, modules, PassSettings())
    for name in modules:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)


def test_blocks_of_the_encoder_and_the_decoder_are_found() -> None:
    texts = ["a b"]
    assert len(transformer_blocks(tiny_causal(texts, width=16, layers=3).model)) == 3
    # Lists inside a block, such as a T5 block's parts, are not blocks themselves.
    both = transformer_blocks(tiny_t5(texts, width=16, layers=2).model)
    assert [type(b).__name__ for b in both] == ["T5Block"] * 4
    with pytest.raises(AssayError, match="the model has no list of blocks"):
        transformer_blocks(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_layers_with_a_common_input_get_one_tensor(checkpointing: bool) -> None:
    lm, rows = reviewing("llama")
    seen: dict[str, Tensor] = {}
    backward_pass(
        lm,
        rows,
        linear_modules(lm.model),
        lambda *_: lambda name, x, g: seen.update({name.split("layers.")[1]: x}),
        PassSettings(checkpointing=checkpointing),
        batches=[[0, 1, 2]],
    )
    together = {
        frozenset(n for n, x in seen.items() if x is one) for one in seen.values()
    }
    assert together == {
        frozenset(f"{i}.{n}" for n in names)
        for i in (0, 1)
        for names in (
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            ("self_attn.o_proj",),
            ("mlp.gate_proj", "mlp.up_proj"),
            ("mlp.down_proj",),
        )
    }


def test_a_bias_keeps_inputs_apart() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4, 3)
            self.plain = nn.Linear(3, 2, bias=False)
            self.biased = nn.Linear(3, 2)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.embed(ids)
            return self.plain(x) + self.biased(x)

    model, seen = Two(), {}
    chosen = {"plain": model.plain, "biased": model.biased}
    with capture(model, chosen, lambda n, x, _: seen.update({n: x})) as start:
        start(1)
        model(torch.tensor([[1, 2]])).sum().backward()
    assert seen["plain"].shape == (1, 2, 3)
    assert seen["biased"].shape == (1, 2, 4)
    assert seen["biased"][..., 3].eq(1).all()


def test_a_layer_that_shares_its_weight_is_refused_by_name() -> None:
    model = tiny_causal(["a b"], width=16, layers=2).model
    layers = model.model.layers
    layers[1].self_attn.k_proj.weight = layers[0].self_attn.q_proj.weight
    with pytest.raises(AssayError) as told:
        linear_modules(model)
    assert (
        "layer model.layers.0.self_attn.q_proj shares its weight with "
        "model.layers.1.self_attn.k_proj" in str(told.value)
    )
    with pytest.raises(AssayError, match="k_proj shares its weight"):
        linear_modules(model, pattern="k_proj")
    # Either way out of it that the message names works.
    assert len(linear_modules(model, pattern="v_proj")) == 2


def test_a_layer_tied_to_an_embedding_is_refused_too() -> None:
    model = Twice()
    model.embed.weight = nn.Parameter(torch.zeros(3, 3))
    model.shared.weight = model.embed.weight
    with pytest.raises(AssayError, match="layer shared shares its weight with embed"):
        linear_modules(model)


class TwiceInBlocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.blocks = nn.ModuleList([Again(), Again()])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return x


class Again(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(self.twice(self.once(x)))


def test_a_layer_that_runs_twice_is_refused_under_checkpointing_too() -> None:
    model = TwiceInBlocks()
    modules = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    ids = torch.tensor([[1, 2]])
    with capture(model, modules, lambda *_: None, checkpointing=True) as start:
        start(1)
        with pytest.raises(AssayError, match=r"blocks\.0\.twice runs more than once"):
            model(ids)
    assert not any("forward" in vars(b) for b in model.blocks)
    # The recomputation is no second run.
    once, seen = {n: m for n, m in modules.items() if "once" in n}, []
    with capture(model, once, lambda n, *_: seen.append(n), checkpointing=True) as go:
        for _ in range(2):
            go(1)
            model(ids).sum().backward()
    assert seen == ["blocks.1.once", "blocks.0.once"] * 2


# What a block is given stays: here the encoder's states, of which keys and values of
# the decoder are made.
@pytest.mark.parametrize(("kind", "kept"), [("llama", 0), ("lora", 0), ("t5", 2)])
def test_under_checkpointing_nothing_is_held_until_the_backward_pass(
    kind: str, kept: int
) -> None:
    lm, rows = reviewing(kind)
    batch = collate(rows, lm)
    modules = linear_modules(lm.model)
    inputs: list[StorageWeakRef] = []

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        inputs.append(StorageWeakRef(given[0].untyped_storage()))

    for module in modules.values():
        module.register_forward_pre_hook(note)

    def alive(checkpointing: bool) -> int:
        inputs.clear()
        with (
            evaluating(lm.model),
            capture(
                lm.model, modules, lambda *_: None, checkpointing=checkpointing
            ) as start,
        ):
            start(len(rows))
            output = response_losses(lm.model, batch, lm.is_encoder_decoder)
            held = sum(not one.expired() for one in inputs)
            assert len(inputs) == len(modules)
            output.loss.sum().backward()
        return held

    assert alive(checkpointing=False) == len(modules)
    assert alive(checkpointing=True) == kept


def test_checkpointed_blocks_still_answer() -> None:
    lm, rows = reviewing("llama")
    batch = collate(rows, lm)
    with evaluating(lm.model), torch.no_grad():
        expected = response_losses(lm.model, batch, False).loss
        with checkpointed(lm.model):
            found = response_losses(lm.model, batch, False).loss
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
