import sys
import types

import pytest
import torch

from assay.errors import AssayError
from assay.models import optimizers as module
from assay.models.optimizers import optimizer_for
from assay.models.tune_settings import TuneSettings


def weights():
    return [torch.nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("lion", r"--optimizer lion needs: pip install 'assay\[lion\]'"),
        ("lion_8bit", r"needs bitsandbytes: pip install 'assay\[lion-8bit\]'; --optim"),
    ],
)
def test_an_optimizer_whose_library_is_missing(optimizer, message, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AssayError, match=message) as caught:
        optimizer_for(weights(), TuneSettings(optimizer=optimizer))
    assert "\n" not in str(caught.value)


def test_eight_bits_are_those_of_bitsandbytes(monkeypatch):
    made = types.SimpleNamespace(Lion8bit=lambda p, **options: (p, options))
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", made)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name)
    settings = TuneSettings(
        optimizer="lion_8bit", learning_rate=1e-5, weight_decay=0.01
    )
    given = weights()
    assert optimizer_for(given, settings) == (
        given,
        {"lr": 1e-5, "weight_decay": 0.01},
    )


def test_lion_steps_by_the_sign():
    pytest.importorskip("lion_pytorch")
    (weight,) = given = weights()
    optimizer = optimizer_for(given, TuneSettings(optimizer="lion", learning_rate=0.5))
    weight.grad = torch.tensor([3.0, -0.1, 0.0])
    optimizer.step()
    assert weight.tolist() == [0.5, 1.5, 1.0]
