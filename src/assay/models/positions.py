"""How many positions a model takes, and rows that have more tokens than that."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from assay.errors import AssayError
from assay.models.checks import ordinary_ids
from assay.models.encode import IGNORED, EncodedExample, collate
from assay.models.language_model import LanguageModel
from assay.models.loss import response_logits

log = logging.getLogger("assay")

# What configurations call the longest sequence that the model was trained on.
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_encoder_position_embeddings",
)


@dataclass(frozen=True)
class Positions:
    """How long a row may be.

    Attributes:
        source: Tokens that fit into ``input_ids``; None where no table bounds them.
        target: The same of a decoder's labels; None for causal models.
    """

    source: int | None
    target: int | None

    @property
    def least(self) -> int | None:
        """The smaller of the two bounds: what ``--max-length`` may be at most."""
        bounds = [n for n in (self.source, self.target) if n is not None]
        return min(bounds, default=None)


@dataclass(frozen=True)
class _Lookup:
    """One look-up in a table: its rows, how many were taken, the first and the last."""

    rows: int
    taken: int
    first: int
    last: int

    @property
    def in_turn(self) -> bool:
        """Whether one row after the other was taken, as positions are."""
        return self.last - self.first == self.taken - 1


class _Lookups(TorchFunctionMode):
    """Notes every look-up by integers that a forward pass makes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Lookup] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.embedding:
            self._note(args[1] if len(args) > 1 else kwargs["weight"], 0, args[0])
        elif func in (torch.gather, Tensor.gather) and len(args) == 3:
            # The same row is taken once for each of its columns.
            self._note(args[0], args[1], args[2].select(-1, 0))
        elif func is Tensor.__getitem__:
            index = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
            if isinstance(index, Tensor):
                self._note(args[0], 0, index)
        return func(*args, **kwargs)

    def _note(self, table: Tensor, dim: int, index: Tensor) -> None:
        if index.dtype in (torch.int32, torch.int64) and index.numel():
            ends = int(index.min()), int(index.max())
            self.found.append(_Lookup(table.shape[dim], index.numel(), *ends))


def _lookups(lm: LanguageModel, source: int, target: int) -> list[_Lookup]:
    (token,) = ordinary_ids(lm, 1)
    ids = [token] * source
    labels = [token] * target if lm.is_encoder_decoder else [IGNORED, *ids[1:]]
    batch = collate([EncodedExample(0, ids, labels, False)], lm)
    with torch.no_grad(), _Lookups() as seen:
        response_logits(lm.model, batch, lm.is_encoder_decoder)
    return seen.found


def measure_positions(lm: LanguageModel) -> Positions:
    """Find the tables that a model looks positions up in, and where they end.

    A row of one token repeated makes every look-up but that of positions the same
    however long it is. Run at two lengths, a look-up of as many rows in turn as there
    are tokens, from the same first row on, is of positions; that row is their offset
    (2 in BART and OPT, the padding id and 1 in RoBERTa).
    """
    training = lm.model.training
    lm.model.eval()
    try:
        # Lengths and their differences tell source and target apart.
        short, long = (5, 7), (8, 12)
        first, second = _lookups(lm, *short), _lookups(lm, *long)
    finally:
        lm.model.train(training)

    def bound(side: int) -> int | None:
        longer = {
            (n.rows, n.first) for n in second if n.in_turn and n.taken == long[side]
        }
        ends = [
            n.rows - n.first
            for n in first
            if n.in_turn and n.taken == short[side] and (n.rows, n.first) in longer
        ]
        return min(ends, default=None)

    return Positions(bound(0), bound(1) if lm.is_encoder_decoder else None)


def positions_of(lm: LanguageModel) -> Positions:
    """Positions of a model, measured once."""
    if lm.positions is None:
        lm.positions = measure_positions(lm)
    found: Positions = lm.positions
    return found


def longest_length(lm: LanguageModel, max_length: int) -> int:
    """Cut ``--max-length`` down to what the model takes."""
    return min(max_length, positions_of(lm).least or max_length)


def room_for_answer(lm: LanguageModel, row: int, prompt: int, wanted: int) -> int:
    """How many tokens can be generated, ``wanted`` at the most.

    Args:
        lm: Model and tokenizer.
        row: The row with the longest prompt of a batch, for the message.
        prompt: Its tokens.
        wanted: Tokens to generate.

    Raises:
        AssayError: The prompt leaves no room.
    """
    places = positions_of(lm)
    bound = places.source
    if bound is not None and prompt + (not lm.is_encoder_decoder) > bound:
        raise AssayError(
            f"row {row}: {lm.model.config.model_type} takes {bound} positions, its "
            f"prompt has {prompt} tokens, which leaves none for an answer; shorten it"
        )
    if lm.is_encoder_decoder:
        return min(wanted, places.target or wanted)
    return wanted if bound is None else min(wanted, bound - prompt)


def check_positions(lm: LanguageModel, rows: Sequence[EncodedExample]) -> None:
    """Refuse rows that have more tokens than the model has positions.

    Warns where there is no such bound (rotary models, say) but rows are longer than
    the model was made for.

    Args:
        lm: Model and tokenizer.
        rows: Encoded rows.

    Raises:
        AssayError: A row is too long; says how many positions there are.
    """
    if not rows:
        return
    places = positions_of(lm)
    kind = lm.model.config.model_type
    prompt = "its prompt has" if lm.is_encoder_decoder else "it has"
    for bound, sizes, has in (
        (places.source, [len(r.input_ids) for r in rows], prompt),
        (places.target, [len(r.labels) for r in rows], "its response has"),
    ):
        most = max(sizes)
        longest = rows[sizes.index(most)]
        if bound is None or most <= bound:
            continue
        # On other devices a look-up past the end would leave them unusable.
        on_cpu = lm.model.get_input_embeddings().weight.device.type == "cpu"
        if on_cpu and not _failure(lm, longest):
            # Some families make their tables longer when they have to.
            lm.positions = Positions(None, None)
        else:
            raise AssayError(
                f"row {longest.row}: {kind} takes {bound} positions, {has} {most} "
                f"tokens; give --max-length {places.least}"
            )
    made_for = _made_for(lm)
    size = [max(len(r.input_ids), len(r.labels)) for r in rows]
    longest = rows[size.index(max(size))]
    if made_for is None or max(size) <= made_for:
        return
    unknown = None in (places.source, *[places.target] * lm.is_encoder_decoder)
    if unknown and (reason := _failure(lm, longest)):
        raise AssayError(
            f"row {longest.row}: it has {len(longest.input_ids)} tokens, {kind} was "
            f"made for {made_for} and fails ({reason}); give --max-length {made_for}"
        )
    log.warning(
        "%d of %d rows are longer than the %d tokens that %s was made for; losses may "
        "mean little (--max-length %d would cut them)",
        sum(n > made_for for n in size),
        len(rows),
        made_for,
        kind,
        made_for,
    )


def _made_for(lm: LanguageModel) -> int | None:
    config = lm.model.config
    # Models of images and text keep it with the text's configuration.
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    found = [getattr(text, name, None) for name in LENGTHS]
    return min((n for n in found if isinstance(n, int) and n > 0), default=None)


def _failure(lm: LanguageModel, row: EncodedExample) -> str:
    """Run a row that may be too long; return why it fails, nothing if it does not."""
    try:
        with torch.no_grad():
            response_logits(lm.model, collate([row], lm), lm.is_encoder_decoder)
    except torch.OutOfMemoryError:
        raise
    except (IndexError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:120] or type(error).__name__
    return ""
