"""What a model has to be for its losses to mean anything: a few tiny forward passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from assay.errors import AssayError
from assay.models.encode import IGNORED, EncodedExample, collate
from assay.models.language_model import LanguageModel
from assay.models.loss import response_logits, use_own_logits

# Share of the largest logit. The same sums in another order differ by 1e-6 in float32
# and by 1e-2 in bfloat16; an untrained BERT, whose attention hardly weighs, changes
# earlier logits by 4e-3 (tests/models/test_checks.py).
EXACT, ROUGH = 1e-3, 2e-2


def ordinary_ids(lm: LanguageModel, count: int) -> list[int]:
    """Token ids that mean nothing special to tokenizer or model, all different.

    They repeat where the vocabulary is smaller than ``count``.
    """
    special = set(lm.tokenizer.all_special_ids) | _named_ids(lm.model.config.to_dict())
    size = len(lm.tokenizer)
    usable = [i for i in range(size) if i not in special] or list(range(size))
    step = max(1, len(usable) // count)
    return [usable[i * step % len(usable)] for i in range(count)]


def _named_ids(config: dict[Any, Any]) -> set[int]:
    """Ids that a configuration gives a role, such as that of an image."""
    found: set[int] = set()
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _named_ids(value)
        elif str(key).endswith(("token_id", "token_index")):
            several = value if isinstance(value, list) else [value]
            found |= {v for v in several if isinstance(v, int)}
    return found


def probe_rows(lm: LanguageModel, *lengths: int) -> list[EncodedExample]:
    """Rows of ordinary tokens, every one of which is predicted."""
    rows = []
    for number, length in enumerate(lengths):
        ids = ordinary_ids(lm, length + number)[number:]
        labels = ids if lm.is_encoder_decoder else [IGNORED, *ids[1:]]
        rows.append(EncodedExample(number, ids, labels, False))
    return rows


def _logits(lm: LanguageModel, rows: list[EncodedExample]) -> Tensor:
    return response_logits(lm.model, collate(rows, lm), lm.is_encoder_decoder)


def _differ(ours: Tensor, theirs: Tensor) -> bool:
    bound = EXACT if theirs.dtype is torch.float32 else ROUGH
    off = float((ours.float() - theirs.float()).abs().max())
    return not off <= bound * float(theirs.float().abs().max())


def _answers(lm: LanguageModel, row: EncodedExample) -> Tensor:
    """The model's own logits for a row, by its own forward pass."""
    batch = collate([row], lm)
    if lm.is_encoder_decoder:
        output = lm.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            labels=batch.labels,
            use_cache=False,
        )
        logits: Tensor = output.logits[0, : len(row.labels)]
        return logits
    output = lm.model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
    )
    own: Tensor = output.logits[0, :-1]
    return own


def projects_exactly(lm: LanguageModel) -> bool:
    """Whether `response_logits` gives the model's own logits."""
    (row,) = probe_rows(lm, 6)
    with torch.no_grad():
        try:
            ours = _logits(lm, [row])
        except (AttributeError, TypeError):
            # Not every family has the parts that logits are put together from.
            return False
        theirs = _answers(lm, row)
    return ours.shape == theirs.shape and not _differ(ours, theirs)


def keeps_rows_apart(lm: LanguageModel) -> bool:
    """Whether a row has the same logits in a padded batch as alone."""
    rows = probe_rows(lm, 6, 4)
    with torch.no_grad():
        alone = torch.cat([_logits(lm, [row]) for row in rows])
        return not _differ(_logits(lm, rows), alone)


def looks_ahead(lm: LanguageModel) -> bool:
    """Whether logits depend on tokens that come after what they predict."""
    (row,) = probe_rows(lm, 6)
    other = ordinary_ids(lm, 7)[-1]
    # The last label is no input of a decoder; what it is predicted from is the last.
    place = -2 if lm.is_encoder_decoder else -1
    changed = replace(row, labels=_with(row.labels, place, other))
    if not lm.is_encoder_decoder:
        changed = replace(changed, input_ids=_with(row.input_ids, place, other))
    kept = slice(None, -1 if lm.is_encoder_decoder else None)
    with torch.no_grad():
        return _differ(_logits(lm, [changed])[kept], _logits(lm, [row])[kept])


def _with(ids: list[int], place: int, other: int) -> list[int]:
    changed = list(ids)
    changed[place] = other
    return changed


def check_logits(lm: LanguageModel) -> None:
    """Make sure that losses of rows in a batch are those of the rows.

    Where the quick way to a family's logits does not give them, the model's own forward
    pass does from here on.

    Raises:
        AssayError: The model cannot read text alone, its logits are not numbers, or
            not those that assay works out, or they depend on later tokens or other
            rows.
    """
    kind = lm.model.config.model_type
    training = lm.model.training
    lm.model.eval()
    try:
        (row,) = probe_rows(lm, 6)
        with torch.no_grad():
            finite = bool(torch.isfinite(_answers(lm, row)).all())
        if not projects_exactly(lm):
            use_own_logits(lm.model)
        problem = None
        if not finite:
            problem = "its logits are not finite (NaN or infinite)"
        elif not projects_exactly(lm):
            problem = (
                f"{kind} changes its logits in a way assay does not know; losses would "
                "be wrong"
            )
        elif looks_ahead(lm):
            decoder = getattr(lm.model.config, "is_decoder", True)
            problem = f"{kind} predicts a token from those after it" + (
                "" if decoder else '; its config.json needs "is_decoder": true'
            )
        elif not keeps_rows_apart(lm):
            problem = (
                f"{kind} answers a row of a batch as it would not alone; losses would "
                "be wrong"
            )
    except AssayError:
        raise
    except Exception as error:
        # Models of images or speech need more than text, for one.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        problem = f"{kind} fails to read text alone ({reason})"
    finally:
        lm.model.train(training)
    if problem is not None:
        raise AssayError(f"model {lm.name!r}: {problem}")


def check_weights(lm: LanguageModel) -> None:
    """Refuse weights that are not numbers.

    Raises:
        AssayError: One is NaN or infinite; names it.
    """
    for name, weight in lm.model.named_parameters():
        # A sum needs no memory, and is finite wherever all of its terms are.
        if not weight.is_floating_point() or torch.isfinite(weight.detach().sum()):
            continue
        bad = int((~torch.isfinite(weight.detach())).sum())
        if bad:
            raise AssayError(
                f"model {lm.name!r}: weight {name} holds {bad} of {weight.numel()} "
                "values that are not finite (NaN or infinite)"
            )
