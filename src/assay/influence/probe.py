"""Which layers' gradients can be told apart by row: tried on two rows of a few tokens.

A tracked layer's gradient is worked out from its input and its output's gradient
(`assay.influence.modules`). That is right where the layer is linear in its weight, runs
once, and sees every token of every row in order. Experts that see the tokens a router
sends them, layers that see time before rows, or weights that are rounded on the way
break it, mostly without an error. So what is captured from a padded batch is compared
here with the gradients of the rows one by one, and what differs is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from assay.errors import AssayError
from assay.influence.modules import by_row, capture, shared_weights, weight_shape
from assay.influence.passes import evaluating
from assay.models.checks import probe_rows
from assay.models.encode import EncodedExample, collate
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses

log = logging.getLogger("assay")

LENGTHS = (11, 7)
SKETCH = 4

# Share of a gradient's own size. The same sums in another order differ by 1e-5 in
# float32 and by 1e-1 in bfloat16; a wrong gradient is off by about its size.
AGREE, AGREE_ROUGHLY = 1e-2, 3e-1
# Share of the largest gradient below which there is only rounding.
ROUNDING = 1e-6

Sketches = dict[str, Tensor]

NEVER = "no loss of text depends on them"
AGAIN = "run more than once"
SHARED = "another layer has the same weight"
SHAPE = "rows are mixed in what they see"
ROUTED = "experts, which see only tokens that are routed to them"
FUSED = "all experts in one weight, no linear layer"
OTHER = "their gradient is not that of a linear layer"


def trackable(
    lm: LanguageModel, modules: dict[str, nn.Module], *, pattern: str | None = None
) -> dict[str, nn.Module]:
    """Keep the layers whose gradients are captured exactly; name the others.

    Args:
        lm: Model and tokenizer.
        modules: From `assay.influence.modules.linear_modules`.
        pattern: The ``--modules`` that chose them.

    Raises:
        AssayError: None is left, or gradients cannot be had at all.
    """
    try:
        left_out = _left_out(lm, modules)
        fused = [] if hasattr(lm.model, "peft_config") else _fused(lm)
    except (AssayError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise AssayError(
            f"model {lm.name!r}: no gradients can be had of "
            f"{lm.model.config.model_type} ({reason})"
        ) from error
    kept = {n: m for n, m in modules.items() if n not in left_out}
    if not kept:
        raise AssayError(
            f"model {lm.name!r}: no layer can be tracked: {_grouped(left_out)}"
        )
    told = {n: r for n, r in left_out.items() if r != NEVER}
    told |= {n: FUSED for n in fused if pattern is None or _in(pattern, n)}
    unreached = [n for n, reason in left_out.items() if reason == NEVER]
    if unreached:
        log.info("left out: %s", _grouped(dict.fromkeys(unreached, NEVER)))
    if told:
        hint = _pattern_of(list(kept), [*fused, *left_out])
        log.warning(
            "%d layers are tracked; left out: %s%s",
            len(kept),
            _grouped(told),
            f" (--modules '{hint}' chooses the same and says nothing)" if hint else "",
        )
    return kept


def _in(pattern: str, name: str) -> bool:
    return bool(re.search(pattern, name))


def _grouped(left_out: dict[str, str]) -> str:
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return ", ".join(
        some[0] + (f" and {len(some) - 1} more" if some[1:] else "") + f" ({reason})"
        for reason, some in names.items()
    )


def _pattern_of(kept: Sequence[str], others: Sequence[str]) -> str | None:
    """A short expression that matches the first names and none of the others."""
    common = {part for name in kept for part in name.split(".")}
    parts: list[str] = []
    for name in others:
        own = [p for p in name.split(".") if p not in common and not p.isdigit()]
        if not own:
            return None
        if not set(own) & set(parts):
            parts.append(own[0])
    return rf"^(?!.*\b({'|'.join(map(re.escape, parts))})\b)"


def _fused(lm: LanguageModel) -> list[str]:
    """Weights of all experts of a block in one, which are no linear layers."""
    found: dict[str, list[str]] = {}
    reached = set()
    handles = []
    for name, module in lm.model.named_modules():
        if isinstance(module, nn.Linear | Conv1D | nn.modules.conv._ConvNd):
            continue
        for own, weight in module.named_parameters(name, recurse=False):
            stacked = sum(side > 1 for side in weight.shape) > 2
            if stacked or (weight.dim() > 1 and _routed(own)):
                found.setdefault(name, []).append(own)
        if name in found:
            hook = partial(lambda name, *_: reached.add(name), name)
            handles.append(module.register_forward_hook(hook))
    try:
        if found:
            _run(lm, probe_rows(lm, *LENGTHS))
    finally:
        for handle in handles:
            handle.remove()
    return [own for name, owned in found.items() if name in reached for own in owned]


def _run(lm: LanguageModel, rows: Sequence[EncodedExample]) -> None:
    with evaluating(lm.model), torch.no_grad():
        response_losses(lm.model, collate(rows, lm), lm.is_encoder_decoder)


def _routed(name: str) -> bool:
    return "experts" in name.split(".")[:-1]


def _left_out(lm: LanguageModel, modules: dict[str, nn.Module]) -> dict[str, str]:
    """Name to reason of the layers that cannot be tracked."""
    rows = probe_rows(lm, *LENGTHS)
    reasons = dict.fromkeys(shared_weights(lm.model, modules), SHARED)
    reasons |= {n: ROUTED for n in modules if _routed(n)}
    with evaluating(lm.model), torch.enable_grad():
        reasons |= {
            n: r for n, r in _unfit(lm, modules, rows).items() if n not in reasons
        }
        rest = {n: m for n, m in modules.items() if n not in reasons}
        sides = _sides(rest)
        found = _captured(lm, rest, rows, sides)
        expected = [_explicit(lm, rest, row, sides) for row in rows]
    exact = next(lm.model.parameters()).dtype in (torch.float32, torch.float64)
    bound = AGREE if exact else AGREE_ROUGHLY
    least = ROUNDING * max(
        (float(e.norm()) for one in expected for e in one.values()), default=0.0
    )
    for name in rest:
        theirs = torch.stack([one[name] for one in expected])
        if name not in found and not theirs.any():
            reasons[name] = NEVER
            continue
        ours = found.get(name, torch.zeros_like(theirs))
        off = float((ours - theirs).norm())
        if not off <= bound * float(theirs.norm()) + least:
            reasons[name] = OTHER
    return {n: reasons[n] for n in modules if n in reasons}


def _unfit(
    lm: LanguageModel, modules: dict[str, nn.Module], rows: Sequence[EncodedExample]
) -> dict[str, str]:
    """Layers that do not run once, on something with a place for every row."""
    runs = dict.fromkeys(modules, 0)
    found: dict[str, str] = {}
    handles = []

    def watch(name: str) -> None:
        out, inner = weight_shape(modules[name])
        inner -= modules[name].bias is not None

        def hook(_: nn.Module, given: tuple[Any, ...], y: Any) -> None:
            runs[name] += 1
            x = given[0] if given else None
            # Subclasses are free to return more, or to cut their weight into groups.
            if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or (
                (x.shape[-1], y.shape[-1]) != (inner, out)
            ):
                found[name] = OTHER
                return
            try:
                by_row(name, x, len(rows))
                by_row(name, y, len(rows))
            except AssayError:
                found[name] = SHAPE

        handles.append(modules[name].register_forward_hook(hook))

    try:
        for name in modules:
            watch(name)
        _run(lm, rows)
    finally:
        for handle in handles:
            handle.remove()
    for name, count in runs.items():
        if count != 1:
            found[name] = AGAIN if count else NEVER
    return found


def _sides(modules: dict[str, nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Random directions of each layer's input and output, ``(SKETCH, n)`` each."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, module in modules.items():
        out, inner = weight_shape(module)
        found[name] = (
            torch.randn(SKETCH, inner, generator=generator),
            torch.randn(SKETCH, out, generator=generator),
        )
    return found


def _captured(
    lm: LanguageModel,
    modules: dict[str, nn.Module],
    rows: Sequence[EncodedExample],
    sides: dict[str, tuple[Tensor, Tensor]],
) -> Sketches:
    """Sketches of the gradients as a pass over a batch captures them, ``(B, S)``.

    A layer whose output the loss does not depend on has none.
    """
    found: Sketches = {}

    def sink(name: str, x: Tensor, g: Tensor) -> None:
        side_in, side_out = (side.to(x) for side in sides[name])
        sketch = (x @ side_in.T) * (g.to(x.dtype) @ side_out.T)
        found[name] = sketch.sum(1).float().cpu()

    with capture(lm.model, modules, sink) as start:
        start(len(rows))
        output = response_losses(lm.model, collate(rows, lm), lm.is_encoder_decoder)
        output.loss.sum().backward()  # type: ignore[no-untyped-call]
    return found


def _explicit(
    lm: LanguageModel,
    modules: dict[str, nn.Module],
    row: EncodedExample,
    sides: dict[str, tuple[Tensor, Tensor]],
) -> Sketches:
    """Sketches of one row's gradients by backpropagation to the weights, ``(S,)``."""
    found = {n: torch.zeros(SKETCH) for n in modules}
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        inner = weight_shape(module)[1] - (module.bias is not None)

        def weigh(weight: Tensor) -> None:
            assert weight.grad is not None
            side_in, side_out = (side.to(weight.grad) for side in sides[name])
            grad = weight.grad.T if isinstance(module, Conv1D) else weight.grad
            sketch = ((side_out @ grad) * side_in[:, :inner]).sum(1)
            found[name] = found[name] + sketch.float().cpu()
            # All weights' gradients at once would be as large as the model.
            weight.grad = None

        def weigh_bias(bias: Tensor) -> None:
            assert bias.grad is not None
            side_in, side_out = (side.to(bias.grad) for side in sides[name])
            sketch = (side_out @ bias.grad) * side_in[:, inner]
            found[name] = found[name] + sketch.float().cpu()
            bias.grad = None

        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor)
        told: Any = weight
        handles.append(told.register_post_accumulate_grad_hook(weigh))
        if isinstance(bias, Tensor):
            told = bias
            handles.append(told.register_post_accumulate_grad_hook(weigh_bias))

    with _training_only(lm.model, modules):
        try:
            for name, module in modules.items():
                watch(name, module)
            output = response_losses(
                lm.model, collate([row], lm), lm.is_encoder_decoder
            )
            if output.loss.requires_grad:
                output.loss.sum().backward()  # type: ignore[no-untyped-call]
        finally:
            for handle in handles:
                handle.remove()
    return found


@contextmanager
def _training_only(model: nn.Module, modules: dict[str, nn.Module]) -> Iterator[None]:
    """Let these layers' weights alone have gradients; restored afterwards."""
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    chosen = {id(p) for m in modules.values() for p in m.parameters(recurse=False)}
    try:
        for parameter, _, _ in before:
            parameter.requires_grad_(id(parameter) in chosen)
            parameter.grad = None
        yield
    finally:
        for parameter, wanted, grad in before:
            parameter.requires_grad_(wanted)
            parameter.grad = grad
