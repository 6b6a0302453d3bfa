from __future__ import annotations

import pytest
import torch

from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings, backward_pass, sampled_labels
from assay.models.encode import IGNORED, EncodedExample, collate
from assay.models.language_model import LanguageModel


def test_every_row_passes_once_and_progress_is_reported(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    seen: list[int] = []
    told: list[tuple[int, int]] = []
    layers: set[str] = set()
    modules = linear_modules(lm.model)

    def sink_for(positions: object, batch: object) -> object:
        return lambda name, x, g: layers.add(name)

    lm.model.train()
    backward_pass(
        lm,
        rows,
        modules,
        sink_for,
        PassSettings(max_batch=2),
        done=lambda positions, _: seen.extend(positions),
        progress=lambda done, total: told.append((done, total)),
    )
    assert sorted(seen) == list(range(len(rows)))
    assert told == [(2, 6), (4, 6), (6, 6)]
    assert layers == set(modules)
    assert lm.model.training


def test_an_interrupted_pass_leaves_the_model_as_it_was(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backward_pass(
            lm,
            rows,
            linear_modules(lm.model),
            lambda *_: lambda *_: None,
            PassSettings(),
            progress=stop,
        )
    assert not any(m._forward_hooks for m in lm.model.modules())


def test_sampled_labels_follow_the_model_and_keep_the_prompt(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    batch = collate(rows, lm)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([sampled_labels(lm, batch, generator) for _ in range(300)])
    ignored = batch.labels == IGNORED
    assert (draws[:, ignored] == IGNORED).all()
    lm.model.eval()
    with torch.no_grad():
        logits = lm.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            labels=batch.labels,
        ).logits
    row, column = (~ignored).nonzero()[0].tolist()
    place = column if lm.is_encoder_decoder else column - 1
    expected = logits[row, place].float().softmax(-1)
    found = torch.bincount(draws[:, row, column], minlength=len(expected)) / 300
    assert float((found - expected).abs().max()) < 0.12
