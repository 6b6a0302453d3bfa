"""Which linear layers are tracked, and capturing what flows through them.

Everything in this package is a sum over linear layers of functions of two
tensors: the layer's input ``x`` of shape ``(B, T, in)`` and the gradient of the
summed loss with respect to its output, ``g`` of shape ``(B, T, out)``. The
gradient of example ``b`` with respect to the weight is ``g[b].T @ x[b]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers.pytorch_utils import Conv1D

from assay.errors import AssayError

Sink = Callable[[str, Tensor, Tensor], None]


def check_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Read the pattern that layers are chosen by.

    Raises:
        AssayError: It is not a regular expression.
    """
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise AssayError(
            f"--modules {pattern!r} is not a regular expression: {error}"
        ) from error


def linear_modules(
    model: nn.Module,
    *,
    pattern: str | None = None,
    first: int | None = None,
    shared: bool = False,
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
        shared: Name layers whose weight is another module's too, for
            `assay.influence.probe` to leave out.

    Returns:
        Module name to module.

    Raises:
        AssayError: The pattern is not a regular expression, nothing matches, or a
            layer's weight is another module's too.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    adapters = {n: m for n, m in found.items() if re.search(r"\.lora_[AB]\.", n)}
    chosen = adapters or found
    wanted = check_pattern(pattern)
    if wanted is not None:
        chosen = {n: m for n, m in chosen.items() if wanted.search(n)}
    if first is not None:
        chosen = {
            n: m
            for n, m in chosen.items()
            if (number := re.search(r"\.(\d+)\.", n)) and int(number[1]) < first
        }
    if not found:
        raise AssayError("the model has no linear layers to track")
    if not chosen:
        raise AssayError(
            f"no linear layer matches --modules {pattern!r} --first-layers {first}; "
            f"the model has {', '.join(list(found)[:4])}, … ({len(found)} in all)"
        )
    if not shared:
        for name, other in shared_weights(model, chosen).items():
            raise AssayError(
                f"layer {name} shares its weight with {other}, which is not "
                "supported; leave it out with --modules"
            )
    return chosen


def shared_weights(model: nn.Module, chosen: dict[str, nn.Module]) -> dict[str, str]:
    """Name the layers whose weight another module has too, and that module."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        weight = vars(module).get("_parameters", {}).get("weight")
        if weight is not None:
            holders.setdefault(id(weight), []).append(name)
    found = {}
    for name, module in chosen.items():
        others = [n for n in holders.get(id(module.weight), []) if n != name]
        if others:
            found[name] = others[0]
    return found


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


def by_row(name: str, flat: Tensor, rows: int) -> Tensor:
    """Give what a layer sees the shape ``(B, T, d)``.

    Args:
        name: The layer's name, for the message.
        flat: ``(B, T, d)``; or ``(B * T, d)``, row after row, as OPT and the shared
            experts of a mixture see it; or ``(B, …, d)``, such as one vector a head.
        rows: B.

    Raises:
        AssayError: It has another shape, so that rows cannot be told apart.
    """
    if flat.dim() == 2 and len(flat) % rows == 0:
        return flat.reshape(rows, -1, flat.shape[1])
    if flat.dim() < 3 or len(flat) != rows:
        shape = "×".join(map(str, flat.shape))
        raise AssayError(
            f"layer {name} sees {shape} numbers of {rows} rows, which cannot be told "
            "apart in them; leave it out with --modules"
        )
    return flat if flat.dim() == 3 else flat.flatten(1, -2)


class _Tap:
    """One tracked layer during a pass: pairs its input with its output gradient.

    Under gradient checkpointing the input of the first forward pass is let go and
    comes back from the recomputation, before or after the gradient.
    """

    def __init__(self, name: str, module: nn.Module, keep: bool, owner: _Inputs):
        self.name, self.module, self.keep, self.owner = name, module, keep, owner
        self.x: Tensor | None = None
        self.g: Tensor | None = None

    def forward_hook(self, _: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        if not y.requires_grad:
            return
        # A forward pass inside a backward pass is a recomputation.
        if torch._C._current_graph_task_id() != -1:
            self.x = self.owner.of(self.name, self.module, inputs[0], y.dtype)
            self.emit()
            return
        if self.name in self.owner.seen:
            raise AssayError(
                f"layer {self.name} runs more than once in a forward pass, which is "
                "not supported; leave it out with --modules"
            )
        self.owner.seen.add(self.name)
        self.g = None
        by_row(self.name, y, self.owner.rows)
        self.x = None
        if self.keep:
            self.x = self.owner.of(self.name, self.module, inputs[0], y.dtype)
        y.register_hook(self.backward_hook)  # type: ignore[no-untyped-call]

    def backward_hook(self, g: Tensor) -> None:
        self.g = by_row(self.name, g.detach(), self.owner.rows)
        self.emit()

    def emit(self) -> None:
        if self.x is not None and self.g is not None:
            x, g = self.x, self.g
            self.x = self.g = None
            self.owner.sink(self.name, x, g)


class _Inputs:
    """What the taps of one pass share, so that a common input is one tensor."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.rows = 0
        self.seen: set[str] = set()
        self.last: tuple[Tensor, torch.dtype, bool, Tensor] | None = None

    def start(self, rows: int) -> None:
        self.rows = rows
        self.seen.clear()
        self.last = None

    def of(
        self, name: str, module: nn.Module, given: Tensor, dtype: torch.dtype
    ) -> Tensor:
        biased = module.bias is not None
        if self.last is not None:
            source, kind, ones, x = self.last
            if source is given and kind == dtype and ones == biased:
                return x
        x = by_row(name, given.detach().to(dtype), self.rows)
        x = with_bias_column(module, x)
        self.last = (given, dtype, biased, x)
        return x


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a model: entries of its longest module lists.

    Raises:
        AssayError: The model has no list of blocks.
    """
    blocks: list[nn.Module] = []
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not name.startswith(inside):
            blocks += module
            inside += (name + ".",)
    if not blocks:
        raise AssayError("gradient checkpointing: the model has no list of blocks")
    return blocks


@contextmanager
def checkpointed(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Recompute every block's activations in the backward pass instead of holding them.

    Transformers' own switch works in training mode only, which would turn dropout on.

    Yields:
        The blocks.
    """
    blocks = transformer_blocks(model)
    try:
        for block in blocks:
            # An instance attribute hides the class's method and is deleted after.
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        # Stopping early would skip layers whose inputs nothing but the taps need.
        with set_checkpoint_early_stop(False):
            yield blocks
    finally:
        for block in blocks:
            vars(block).pop("forward", None)


@contextmanager
def capture(
    model: nn.Module,
    modules: dict[str, nn.Module],
    sink: Sink,
    *,
    checkpointing: bool = False,
) -> Iterator[Callable[[int], None]]:
    """Call ``sink(name, x, g)`` for every tracked layer during ``backward``.

    Parameters are frozen meanwhile, so the backward pass computes activation
    gradients alone: what the sink does with ``x`` and ``g`` replaces the weight
    gradients rather than adding to them. Layers given the same input (queries, keys
    and values, say) get the same tensor ``x``, which a sink can tell by ``is``.

    Args:
        model: The model; put in evaluation mode by the caller.
        modules: Tracked layers.
        sink: Receives the layer's name, input ``(B, T, in)`` (with a ones column
            for the bias) and output gradient ``(B, T, out)``.
        checkpointing: Hold the activations of one transformer block at a time, for
            one more forward pass.

    Yields:
        A function to call before every forward pass, with the rows of the batch.

    Raises:
        AssayError: A tracked layer ran twice in one pass, so that its gradients would
            have to be summed before being squared, or sees a shape in which rows
            cannot be told apart.
    """
    handles = []
    inputs = _Inputs(sink)
    trainable = [p for p in model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)

    def needs_grad(_: nn.Module, __: object, y: object) -> Tensor | None:
        # Subclasses return more than a tensor now and then.
        if not isinstance(y, Tensor) or y.requires_grad or not torch.is_grad_enabled():
            return None
        # A copy, since some families scale embeddings in place, which a leaf forbids.
        return y.requires_grad_(True).clone()

    recomputing: AbstractContextManager[list[nn.Module]] = (
        checkpointed(model) if checkpointing else nullcontext([])
    )
    with recomputing as blocks:
        inner = {m for block in blocks for m in block.modules()}
        try:
            for name, module in modules.items():
                tap = _Tap(name, module, module not in inner, inputs)
                handles.append(module.register_forward_hook(tap.forward_hook))
            for module in model.modules():
                if isinstance(module, nn.Embedding):
                    handles.append(module.register_forward_hook(needs_grad))
            yield inputs.start
        finally:
            for handle in handles:
                handle.remove()
            for parameter in trainable:
                parameter.requires_grad_(True)
