"""Is a model what another one was tuned from?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from assay.errors import AssayError
from assay.models.language_model import LanguageModel
from assay.models.load import (
    adapter_base,
    auto_class,
    find_model,
    load_model,
    quiet_libraries,
    source_of,
)

Model = str | LanguageModel
Weights = Mapping[str, Callable[[], Tensor]]


@dataclass(frozen=True)
class _Build:
    """How a model is built, whatever its weights are.

    Attributes:
        kind: Its ``model_type``.
        shapes: Weight to its shape.
        rows: Rows of the embedding.
        vocabulary: Token to its id.
    """

    kind: str
    shapes: dict[str, tuple[int, ...]]
    rows: int
    vocabulary: dict[str, int]


def check_base(model: Model, base: Model) -> None:
    """Refuse a base model that the model cannot have been tuned from.

    Retraining such a base says nothing about the model.

    Args:
        model: What is scanned, ``--model``.
        base: What it is said to have been tuned from, ``--base-model``.

    Raises:
        AssayError: They are one model, or differ in architecture, in the sizes of
            their weights, or in what their tokens mean.
    """
    first, second = _name(model), _name(base)
    same = (
        f"--base-model {second} and --model {first} are the same model; give what it "
        "was before it was tuned on these data, or leave --base-model out"
    )
    if _is_one(model, base):
        raise AssayError(same)
    model, base = _gguf_loaded(model), _gguf_loaded(base)
    with quiet_libraries():
        ours, theirs = _build(model), _build(base)
        other = f"--base-model {second} is not what --model {first} was tuned from: "
        if ours.kind != theirs.kind:
            raise AssayError(f"{other}one is of type {theirs.kind}, one {ours.kind}")
        moved = [t for t, i in theirs.vocabulary.items() if ours.vocabulary.get(t) != i]
        if moved:
            raise AssayError(
                f"{other}{len(moved)} of its {len(theirs.vocabulary)} tokens, such as "
                f"{moved[0]!r}, have another id or none"
            )
        for name in sorted(ours.shapes.keys() | theirs.shapes.keys()):
            one, two = theirs.shapes.get(name), ours.shapes.get(name)
            # Added tokens lengthen what has a row for each token.
            if _without_rows(one, theirs.rows) != _without_rows(two, ours.rows):
                sizes = " and ".join(
                    "missing" if s is None else "×".join(map(str, s))
                    for s in (one, two)
                )
                raise AssayError(f"{other}weight {name} is {sizes}")
        if _changes_nothing(model, base):
            raise AssayError(same)


def _name(model: Model) -> str:
    return model if isinstance(model, str) else model.name


def _is_one(model: Model, base: Model) -> bool:
    if isinstance(model, LanguageModel) and isinstance(base, LanguageModel):
        return model.model is base.model
    if isinstance(model, LanguageModel) or isinstance(base, LanguageModel):
        return False
    return find_model(model)[0].resolve() == find_model(base)[0].resolve()


def _gguf_loaded(model: Model) -> Model:
    # Its tokenizer, configuration and weights take as long to read one by one.
    if isinstance(model, str) and find_model(model)[0].suffix == ".gguf":
        return load_model(model)
    return model


def _without_rows(shape: tuple[int, ...] | None, rows: int) -> tuple[int, ...] | None:
    return (-1, *shape[1:]) if shape and shape[0] == rows else shape


def _build(model: Model) -> _Build:
    if isinstance(model, LanguageModel):
        network, tokenizer = model.model, model.tokenizer
        if hasattr(network, "peft_config"):
            network = network.get_base_model()
    else:
        path, _ = find_model(model)
        adapted = adapter_base(model, path)
        if adapted is not None:
            return _build(adapted)
        source, options = source_of(path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            config = AutoConfig.from_pretrained(source, **options)
            with torch.device("meta"):
                network = auto_class(model, config).from_config(config)
        except AssayError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise AssayError(f"model {model!r} cannot be loaded: {reason}") from error
    shapes = {
        name.replace(".base_layer.", "."): tuple(weight.shape)
        for name, weight in network.named_parameters()
        if ".lora_" not in name
    }
    return _Build(
        network.config.model_type,
        shapes,
        network.get_input_embeddings().weight.shape[0],
        tokenizer.get_vocab(),
    )


def _changes_nothing(model: Model, base: Model) -> bool:
    """Whether all weights that both have are equal; reads until one is not."""
    ours = _weights(model)
    adapters = [read for name, read in ours.items() if ".lora_B." in name]
    if adapters:
        return not any(read().any() for read in adapters)
    theirs = _weights(base)
    common = [name for name in ours if name in theirs]
    return bool(common) and all(_equal(ours[n](), theirs[n]()) for n in common)


def _equal(one: Tensor, two: Tensor) -> bool:
    # Rows of tokens that were added afterwards say nothing.
    rows = min(len(one), len(two)) if one.dim() else None
    return torch.equal(one[:rows].float().cpu(), two[:rows].float().cpu())


def _weights(model: Model) -> Weights:
    """Name to a function that reads the weight."""
    if isinstance(model, str):
        return _on_disk(find_model(model)[0])
    state: dict[str, Any] = model.model.state_dict()

    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: state[name]

    return {name: reader(name) for name in state}


def _on_disk(folder: Path) -> Weights:
    if (folder / "adapter_config.json").is_file():
        files = [folder / "adapter_model.safetensors"]
    else:
        index = folder / "model.safetensors.index.json"
        shards = (
            set(json.loads(index.read_text())["weight_map"].values())
            if index.is_file()
            else {"model.safetensors"}
        )
        files = [folder / name for name in sorted(shards)]

    def reader(file: Path, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with safe_open(file, framework="pt") as weights:
                tensor: Tensor = weights.get_tensor(name)
            return tensor

        return read

    found: dict[str, Callable[[], Tensor]] = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            found |= {name: reader(file, name) for name in weights.keys()}  # noqa: SIM118
    return found
