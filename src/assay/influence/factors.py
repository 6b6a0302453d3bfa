"""Fitting EK-FAC factors: one pass for covariances, one for eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.contract import gradient_blocks
from assay.influence.ekfac import (
    LayerFactors,
    eigenbasis,
    example_gradients,
    rotate,
    rotates_tokens,
)
from assay.influence.modules import Sink, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import IGNORED, Batch, EncodedExample
from assay.models.language_model import LanguageModel
from assay.util.progress import Progress

Factors = dict[str, LayerFactors]


def token_mask(batch: Batch, length: int) -> Tensor:
    """Return the ``(B, T)`` mask of real tokens for a layer that sees ``length``.

    In an encoder-decoder some layers see the source and some the target; collation
    keeps the two lengths different so that the length tells them apart. Of a layer
    that sees something else (one vector a head, or windows of padded length) all
    counts: padding has no gradient, and only the basis is estimated from this.
    """
    if batch.attention_mask.shape[1] == length:
        return batch.attention_mask.bool()
    if batch.labels.shape[1] == length:
        return batch.labels != IGNORED
    return batch.labels.new_ones(len(batch.labels), length, dtype=torch.bool)


GRAM_BLOCK = 256


def add_gram(total: Tensor, x: Tensor) -> None:
    """Add ``x^T x`` to the lower blocks of ``total``, in float32.

    Products rounded to bfloat16 would drown the small eigenvalues, which a damped
    inverse weighs most. The upper half is left out: that is nearly half the work.

    Args:
        total: ``(n, n)``, changed in place.
        x: ``(tokens, n)``.
    """
    x = x.to(total.dtype)
    for first in range(0, len(total), GRAM_BLOCK):
        last = min(first + GRAM_BLOCK, len(total))
        total[first:last, :last].addmm_(x[:, first:last].T, x[:, :last])


class Covariances:
    """Second moments of every tracked layer's inputs and output gradients.

    Layers that are given the same input share its covariance, which saves three of
    the seven of a Llama block.

    Attributes:
        inputs: Owner's name to the sum of ``x x^T`` over tokens, ``(in, in)``, whose
            lower triangle counts.
        outputs: Layer name to the sum of ``g g^T``, ``(out, out)``, likewise.
        counts: Layer name to its tokens, a tensor of one.
        owners: Layer name to the layer that holds its input covariance.
    """

    def __init__(self, modules: dict[str, nn.Module], device: torch.device) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}
        self.owners: dict[str, str] = {}
        self._modules, self._device = modules, device
        self._last: tuple[str, Tensor] | None = None

    def sink_for(self, _: Sequence[int], batch: Batch) -> Sink:
        """Return the sink of one batch."""
        self._last = None

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            if name not in self.owners:
                self._place(name, x)
            tokens = x
            mask = token_mask(batch, x.shape[1])
            # Most batches have no padding, and then nothing is copied.
            if not bool(mask.all()):
                tokens, g = x[mask], g[mask]
            tokens, g = tokens.flatten(0, -2), g.flatten(0, -2)
            owner = self.owners[name]
            if owner == name:
                add_gram(self.inputs[name], tokens)
                self._last = name, x
            elif self._last is None or self._last[0] != owner or self._last[1] is not x:
                raise AssayError(
                    f"layer {name} shared its input with {owner} in the first batch "
                    "and not in this one; leave one of them out with --modules"
                )
            add_gram(self.outputs[name], g)
            self.counts[name] += len(g)

        return sink

    def _place(self, name: str, x: Tensor) -> None:
        last = self._last
        self.owners[name] = last[0] if last is not None and last[1] is x else name
        self.allot(name)

    def allot(self, name: str) -> None:
        """Make the zero sums of a layer whose owner is known."""
        out, inner = weight_shape(self._modules[name])
        if self.owners[name] == name:
            self.inputs[name] = torch.zeros(inner, inner, device=self._device)
        self.outputs[name] = torch.zeros(out, out, device=self._device)
        self.counts[name] = torch.zeros(1, dtype=torch.float64)


def _merge(covariances: Covariances, modules: dict[str, nn.Module], s: Shard) -> None:
    """Sum covariances over processes, some of which may have had no batch."""
    owners = s.broadcast_object(covariances.owners)
    missing = [n for n in modules if n not in owners]
    if missing:
        raise AssayError(
            f"layer {missing[0]} never got a gradient on these rows; leave it out "
            "with --modules"
        )
    if not covariances.owners:
        covariances.owners = owners
        for name in modules:
            covariances.allot(name)
    for name in modules:
        if owners[name] == name:
            s.sum(covariances.inputs[name])
        s.sum(covariances.outputs[name])
        s.sum(covariances.counts[name])


def fit_factors(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    *,
    sampled: bool = False,
    seed: int = 0,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> Factors:
    """Fit EK-FAC factors on rows.

    Args:
        lm: Model and tokenizer.
        rows: Encoded examples the curvature is estimated on.
        modules: Tracked layers.
        settings: Batching and precision.
        sampled: Sample labels from the model (true Fisher) instead of using the
            data's (empirical Fisher).
        seed: Seed of the sampled labels; both passes draw the same ones.
        shard: This process's share of the work.
        progress: Called with rows and layers done, and with all there are in both
            passes and the eigendecompositions.

    Returns:
        Layer name to factors, in float32.

    Raises:
        AssayError: A covariance is not finite, a layer has no gradient, or there are
            no rows.
    """
    if not rows:
        raise AssayError("no rows to fit the curvature on")
    batches = shard.mine(settings.batches(rows))
    mine = sum(map(len, batches))
    sample_seed = seed if sampled else None
    device = next(lm.model.parameters()).device

    def advance(before: int, total: int) -> Progress:
        def report(done: int, _: int) -> None:
            if progress is not None:
                progress(before + done, total)

        return report

    covariances = Covariances(modules, device)
    total = 2 * mine + len(modules)
    backward_pass(
        lm,
        rows,
        modules,
        covariances.sink_for,
        settings,
        batches=batches,
        sample_seed=sample_seed,
        progress=advance(0, total),
    )
    _merge(covariances, modules, shard)
    bases = _eigenbases(covariances, modules, shard, advance(mine, total))
    eigenvalues = fit_eigenvalues(
        lm,
        rows,
        modules,
        settings,
        bases,
        sample_seed=sample_seed,
        shard=shard,
        progress=advance(mine + len(modules), total),
    )
    return {name: LayerFactors(*bases[name], eigenvalues[name]) for name in modules}


Bases = dict[str, tuple[Tensor, Tensor]]


def _eigenbases(
    covariances: Covariances,
    modules: dict[str, nn.Module],
    shard: Shard,
    progress: Progress,
) -> Bases:
    """Decompose every covariance once; each is let go before the next."""
    sides: dict[str, Tensor] = {}
    bases: Bases = {}
    for done, name in enumerate(modules, start=1):
        count = float(covariances.counts[name].clamp_min(1))
        owner = covariances.owners[name]
        for store, key, what in (
            (covariances.inputs, owner, f"input of {owner}"),
            (covariances.outputs, name, f"output gradient of {name}"),
        ):
            if what in sides:
                continue
            matrix = store.pop(key)
            if shard.turn(done):
                whole = matrix.tril() + matrix.tril(-1).T
                matrix = eigenbasis(whole / count, f"the {what}")
            sides[what] = shard.broadcast(matrix, source=done)
        bases[name] = sides[f"input of {owner}"], sides[f"output gradient of {name}"]
        progress(done, len(modules))
    return bases


def fit_eigenvalues(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    bases: Bases | None,
    *,
    sample_seed: int | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Mean squared per-example gradients in given bases, ``(out, in)`` each.

    In the Kronecker eigenbasis these are EK-FAC's eigenvalues (George et al. 2018);
    in no basis, the diagonal of the Fisher.

    Args:
        lm: Model and tokenizer.
        rows: Encoded examples.
        modules: Tracked layers.
        settings: Batching and precision.
        bases: Layer name to the bases of its input and output side; None for the
            coordinates as they are.
        sample_seed: Draw labels from the model with this seed.
        shard: This process's share of the work.
        progress: Called with rows done and rows in all.
    """
    device = next(lm.model.parameters()).device
    sums = {n: torch.zeros(weight_shape(m), device=device) for n, m in modules.items()}
    cast: dict[tuple[int, torch.dtype], Tensor] = {}
    last: list[tuple[Tensor, Tensor, Tensor]] = []

    def in_dtype(basis: Tensor, dtype: torch.dtype) -> Tensor:
        # Not setdefault, which would convert again before every look-up.
        if (id(basis), dtype) not in cast:
            cast[id(basis), dtype] = basis.to(dtype)
        return cast[id(basis), dtype]

    def sink_for(_: Sequence[int], __: Batch) -> Sink:
        last.clear()

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            if bases is None:
                return add(name, x, g)
            side_in, side_out = bases[name]
            if rotates_tokens(x.shape[1], g.shape[2], x.shape[2]):
                # Layers with a common input also have a common basis for it.
                if not last or last[0][0] is not x or last[0][1] is not side_in:
                    last[:] = [(x, side_in, x @ in_dtype(side_in, x.dtype))]
                add(name, last[0][2], g @ in_dtype(side_out, g.dtype))
            else:
                gradients = example_gradients(x, g).float()
                layer = LayerFactors(side_in, side_out, sums[name])
                sums[name] += rotate(gradients, layer).square_().sum(0)

        return sink

    def add(name: str, x: Tensor, g: Tensor) -> None:
        for part, block in gradient_blocks(x, g):
            sums[name][part] += block.square_().sum(0, dtype=torch.float32)

    backward_pass(
        lm,
        rows,
        modules,
        sink_for,
        settings,
        batches=shard.mine(settings.batches(rows)),
        sample_seed=sample_seed,
        progress=progress,
    )
    return {n: shard.sum(total).div_(len(rows)) for n, total in sums.items()}
