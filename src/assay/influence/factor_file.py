"""Keeping factors on disk, and refusing those of another job."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.ekfac import LayerFactors
from assay.influence.factors import Factors
from assay.influence.modules import weight_shape
from assay.util.files import replacing

log = logging.getLogger("assay")

Facts = Mapping[str, Any]


def _checksum(described: str, tensors: Iterable[Tensor]) -> int:
    value = zlib.crc32(described.encode())
    for tensor in tensors:
        value = zlib.crc32(tensor.numpy().data, value)
    return value


def save_factors(factors: Factors, path: Path, facts: Facts) -> None:
    """Write factors with what they were fitted on, complete or not at all.

    Bases that layers share are written once.

    Args:
        factors: Layer name to factors.
        path: A ``.safetensors`` file.
        facts: JSON-ready description of model, data and settings.

    Raises:
        AssayError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    places: dict[str, list[str]] = {}
    written: dict[int, str] = {}
    for name, layer in factors.items():
        places[name] = []
        for side in ("basis_in", "basis_out", "eigenvalues"):
            tensor = getattr(layer, side)
            place = written.setdefault(id(tensor), f"{name}/{side}")
            tensors.setdefault(place, tensor.cpu().contiguous())
            places[name].append(place)
    described = {
        "facts": json.dumps(facts),
        "places": json.dumps(places),
        "order": json.dumps(list(tensors)),
    }
    # What belongs to which layer is checked like the numbers.
    described["checksum"] = str(
        _checksum(described["facts"] + described["places"], tensors.values())
    )
    with replacing(path) as partial:
        save_file(tensors, partial, described)


def load_factors(
    path: Path,
    facts: Facts,
    modules: Mapping[str, nn.Module],
    device: torch.device | str = "cpu",
) -> Factors:
    """Read factors, if they are of this very job.

    Args:
        path: What `save_factors` wrote.
        facts: Description of this job.
        modules: Layers that are tracked.
        device: Where the factors go.

    Raises:
        AssayError: The file is missing or damaged, or its factors are of another
            model, other data or other settings; the message says which.
    """
    if not path.is_file():
        raise AssayError(f"{path}: no such file of factors")
    try:
        with safe_open(path, "pt") as file:
            described = file.metadata() or {}
            found = json.loads(described["facts"])
            places = json.loads(described["places"])
            order = json.loads(described["order"])
            checksum = int(described["checksum"])
            other = [
                k for k in facts if found.get(k) != json.loads(json.dumps(facts[k]))
            ]
            if other:
                raise AssayError(
                    f"{path}: these factors were fitted with another "
                    f"{', '.join(other)}; fit them again"
                )
            tensors = {key: file.get_tensor(key) for key in order}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AssayError(
            f"{path}: not a file of factors, or damaged ({error}); remove it"
        ) from None
    text = described["facts"] + described["places"]
    if _checksum(text, tensors.values()) != checksum:
        raise AssayError(f"{path}: damaged (its checksum differs); remove it")
    factors = {}
    moved = {k: t.to(device) for k, t in tensors.items()}
    for name, module in modules.items():
        sides = [moved.get(p) for p in places.get(name, ())]
        out, inner = weight_shape(module)
        if len(sides) != 3 or [
            None if s is None else tuple(s.shape) for s in sides
        ] != [
            (inner, inner),
            (out, out),
            (out, inner),
        ]:
            raise AssayError(f"{path}: no factors of layer {name}; fit them again")
        basis_in, basis_out, eigenvalues = (s for s in sides if s is not None)
        factors[name] = LayerFactors(basis_in, basis_out, eigenvalues)
    return factors
