from __future__ import annotations

import pytest
import torch
from torch import nn

from assay.errors import AssayError
from assay.influence.modules import capture, linear_modules, weight_shape
from assay.influence.passes import PassSettings
from assay.models.encode import EncodedExample, collate
from assay.models.load import LanguageModel
from assay.models.loss import response_losses
from tests.influence.conftest import autograd_gradients, captured_gradients


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
    from tests.influence.conftest import tiny_lora

    names = list(linear_modules(tiny_lora(["a b"]).model))
    assert names
    assert all(".lora_A." in n or ".lora_B." in n for n in names)


def test_modules_are_chosen_by_pattern_and_depth() -> None:
    from assay.models.tiny import tiny_causal

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
        start()
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
        start()
        batch = collate(rows, lm)
        response_losses(lm.model, batch, lm.is_encoder_decoder).loss.sum().backward()
    assert {n: p.requires_grad for n, p in lm.model.named_parameters()} == before
    assert all(p.grad is None for p in lm.model.parameters())
