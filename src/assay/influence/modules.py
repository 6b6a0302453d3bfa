"""Which linear layers are tracked, and capturing what flows through them.

Everything in this package is a sum over linear layers of functions of two
tensors: the layer's input ``x`` of shape ``(B, T, in)`` and the gradient of the
summed loss with respect to its output, ``g`` of shape ``(B, T, out)``. The
gradient of example ``b`` with respect to the weight is ``g[b].T @ x[b]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from assay.errors import AssayError

Sink = Callable[[str, Tensor, Tensor], None]


def linear_modules(
    model: nn.Module, *, pattern: str | None = None, first: int | None = None
) -> dict[str, nn.Module]:
    """Name the linear layers to track, in model order.

    A PEFT model is tracked by its adapter layers alone; otherwise every
    ``nn.Linear`` and Hugging Face ``Conv1D`` counts except the output embedding,
    which is tied to the input embedding in most small models.

    Args:
        model: The model.
        pattern: Regular expression searched in the module name.
        first: Keep only modules of the first ``first`` transformer blocks (by the
            first number in the module's name).

    Returns:
        Module name to module.

    Raises:
        AssayError: The pattern is not a regular expression or nothing matches.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    adapters = {n: m for n, m in found.items() if re.search(r"\.lora_[AB]\.", n)}
    chosen = adapters or found
    if pattern is not None:
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise AssayError(
                f"--modules {pattern!r} is not a regular expression: {error}"
            ) from error
        chosen = {n: m for n, m in chosen.items() if wanted.search(n)}
    if first is not None:
        chosen = {
            n: m
            for n, m in chosen.items()
            if (number := re.search(r"\.(\d+)\.", n)) and int(number[1]) < first
        }
    if not chosen:
        raise AssayError(
            f"no linear layer matches --modules {pattern!r} --first-layers {first}; "
            f"the model has {', '.join(list(found)[:4])}, … ({len(found)} in all)"
        )
    return chosen


def weight_shape(module: nn.Module) -> tuple[int, int]:
    """Return ``(out, in)`` of the tracked gradient; a bias adds one to ``in``."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    out, inner = weight.T.shape if isinstance(module, Conv1D) else weight.shape
    return int(out), int(inner) + (module.bias is not None)


def with_bias_column(module: nn.Module, x: Tensor) -> Tensor:
    """Append a column of ones when the layer has a bias (homogeneous coordinate)."""
    if module.bias is None:
        return x
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)


@contextmanager
def capture(
    model: nn.Module, modules: dict[str, nn.Module], sink: Sink
) -> Iterator[Callable[[], None]]:
    """Call ``sink(name, x, g)`` for every tracked layer during ``backward``.

    Parameters are frozen meanwhile, so the backward pass computes activation
    gradients alone: what the sink does with ``x`` and ``g`` replaces the weight
    gradients rather than adding to them.

    Args:
        model: The model; put in evaluation mode by the caller.
        modules: Tracked layers.
        sink: Receives the layer's name, input ``(B, T, in)`` (with a ones column
            for the bias) and output gradient ``(B, T, out)``.

    Yields:
        A function to call before every forward pass.

    Raises:
        AssayError: A tracked layer ran twice in one pass; its gradients would have
            to be summed before being squared.
    """
    handles = []
    seen: set[str] = set()
    trainable = [p for p in model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def forward_hook(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
            if not y.requires_grad:
                return
            if name in seen:
                raise AssayError(
                    f"layer {name} runs more than once in a forward pass, which is not "
                    "supported; leave it out with --modules"
                )
            seen.add(name)
            x = inputs[0].detach().to(y.dtype)
            if x.dim() == 2:
                x = x.unsqueeze(1)
            x = with_bias_column(module, x)

            def backward_hook(g: Tensor) -> None:
                sink(name, x, g.detach() if g.dim() == 3 else g.detach().unsqueeze(1))

            y.register_hook(backward_hook)  # type: ignore[no-untyped-call]

        return forward_hook

    def needs_grad(_: nn.Module, inputs: object, y: Tensor) -> None:
        if not y.requires_grad and torch.is_grad_enabled():
            y.requires_grad_(True)

    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(watch(name, module)))
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                handles.append(module.register_forward_hook(needs_grad))
        yield seen.clear
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)
