from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from assay.errors import AssayError
from assay.influence.factor_file import load_factors, save_factors
from assay.influence.factors import Factors, fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.models.encode import encode
from assay.models.language_model import LanguageModel
from tests.influence.conftest import KINDS, REVIEWS, examples

FACTS: dict[str, Any] = {
    "model": ["tiny", ["model.safetensors", 1234, 5678], None],
    "data": "5f3a",
    "number of rows": 6,
    "template": "plain",
    "maximal length": 512,
    "precision": "fp32",
    "seed": 0,
}


class Kept:
    """A file of factors; too long to be shown when a test fails."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"<{len(self.content)} bytes>"

    @property
    def header(self) -> int:
        return 8 + int.from_bytes(self.content[:8], "little")

    def flipped(self, place: int, bit: int) -> bytes:
        changed = bytearray(self.content)
        changed[place] ^= 1 << bit
        return bytes(changed)


SIDES = ("basis_in", "basis_out", "eigenvalues")


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    return KINDS["llama"]([f"{t} {r}" for t, r in REVIEWS])


@pytest.fixture(scope="module")
def modules(tiny: LanguageModel) -> dict[str, nn.Module]:
    return linear_modules(tiny.model)


@pytest.fixture(scope="module")
def factors(tiny: LanguageModel, modules: dict[str, nn.Module]) -> Factors:
    rows = encode(examples(), tiny, template="plain").examples
    return fit_factors(tiny, rows, modules, PassSettings())


@pytest.fixture(scope="module")
def kept(factors: Factors, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    path = tmp_path_factory.mktemp("kept") / "factors.safetensors"
    save_factors(factors, path, FACTS)
    return Kept(path.read_bytes())


def equal(found: Factors, right: Factors) -> bool:
    return list(found) == list(right) and all(
        torch.equal(getattr(found[n], side), getattr(right[n], side))
        for n in right
        for side in SIDES
    )


def test_factors_come_back_as_they_were(
    tmp_path: Path, factors: Factors, modules: dict[str, nn.Module]
) -> None:
    path = tmp_path / "deep" / "factors.safetensors"
    save_factors(factors, path, FACTS)
    found = load_factors(path, FACTS, modules)
    assert equal(found, factors)
    assert all(getattr(f, s).is_contiguous() for f in found.values() for s in SIDES)
    assert [p.name for p in path.parent.iterdir()] == ["factors.safetensors"]


def test_shared_bases_are_kept_once(
    kept: Kept, tmp_path: Path, factors: Factors, modules: dict[str, nn.Module]
) -> None:
    distinct = {
        id(tensor): tensor.numel() * 4
        for layer in factors.values()
        for tensor in (getattr(layer, side) for side in SIDES)
    }
    # Each of two blocks spares the bases of k, v and up_proj.
    assert len(distinct) == 3 * len(modules) - 2 * 3
    assert len(kept.content) - kept.header == sum(distinct.values())
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.content)
    found = load_factors(path, FACTS, modules)
    for block in (0, 1):
        one, other, third = (
            found[f"model.layers.{block}.self_attn.{n}_proj"] for n in "qkv"
        )
        assert one.basis_in is other.basis_in is third.basis_in
        assert one.basis_out is not other.basis_out


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"model": ["tiny", ["model.safetensors", 1234, 5679], None]}, "model"),
        ({"model": ["tiny", ["model.safetensors", 1234, 5678], {"seed": 1}]}, "model"),
        ({"data": "5f3b"}, "data"),
        ({"number of rows": 7}, "number of rows"),
        ({"template": "chat"}, "template"),
        ({"maximal length": 256}, "maximal length"),
        ({"precision": "bf16"}, "precision"),
        ({"data": "x", "seed": 1}, "data, seed"),
        ({"choice of layers": "f00"}, "choice of layers"),
    ],
)
def test_factors_of_another_job_are_refused_and_the_difference_named(
    changed: dict[str, Any],
    named: str,
    kept: Kept,
    tmp_path: Path,
    modules: dict[str, nn.Module],
) -> None:
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.content)
    with pytest.raises(AssayError) as told:
        load_factors(path, FACTS | changed, modules)
    assert str(told.value) == (
        f"{path}: these factors were fitted with another {named}; fit them again"
    )


def test_tuples_among_the_facts_are_lists_in_the_file(
    kept: Kept, tmp_path: Path, factors: Factors, modules: dict[str, nn.Module]
) -> None:
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.content)
    same = FACTS | {"model": ("tiny", ("model.safetensors", 1234, 5678), None)}
    assert equal(load_factors(path, same, modules), factors)


def test_other_layers_are_refused_by_name(
    kept: Kept, tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.content)
    with pytest.raises(AssayError, match="no factors of layer another; fit them"):
        load_factors(path, FACTS, modules | {"another": nn.Linear(16, 16, bias=False)})
    first = next(iter(modules))
    for other in (nn.Linear(16, 16), nn.Linear(16, 8, bias=False)):
        with pytest.raises(AssayError, match=f"no factors of layer {first}"):
            load_factors(path, FACTS, {first: other})
    # Fewer layers are no reason to fit again.
    assert list(load_factors(path, FACTS, {first: modules[first]})) == [first]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_refused(
    place: float, kept: Kept, tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.content[: int(place * len(kept.content))])
    with pytest.raises(AssayError, match="not a file of factors, or damaged"):
        load_factors(path, FACTS, modules)


def test_a_flipped_bit_in_the_middle_of_the_numbers_is_refused(
    kept: Kept, tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    path = tmp_path / "factors.safetensors"
    middle = (kept.header + len(kept.content)) // 2
    path.write_bytes(kept.flipped(middle, 0))
    with pytest.raises(AssayError, match=r"damaged \(its checksum differs\); remove"):
        load_factors(path, FACTS, modules)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), in_header=st.booleans(), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused_or_harmless(
    data: st.DataObject,
    in_header: bool,
    bit: int,
    kept: Kept,
    tmp_path: Path,
    factors: Factors,
    modules: dict[str, nn.Module],
) -> None:
    most = kept.header if in_header else len(kept.content)
    place = data.draw(st.integers(0, most - 1))
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.flipped(place, bit))
    try:
        found = load_factors(path, FACTS, modules)
    except AssayError:
        return
    # Some bytes say nothing, such as the spaces that fill up the header.
    assert equal(found, factors)


def test_a_flipped_bit_cannot_give_a_layer_the_factors_of_another(
    kept: Kept, tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    layer = r"\"model.layers.0.self_attn.q_proj\": [\"model.layers."
    # Where the file says which tensor is the layer's: "0" and "1" differ in one bit.
    place = kept.content.index(layer.encode()) + len(layer)
    path = tmp_path / "factors.safetensors"
    path.write_bytes(kept.flipped(place, 0))
    with pytest.raises(AssayError, match="damaged"):
        load_factors(path, FACTS, modules)


def test_what_is_no_file_of_factors_is_refused(
    tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    from safetensors.torch import save_file

    with pytest.raises(AssayError, match="no such file of factors"):
        load_factors(tmp_path / "nowhere", FACTS, modules)
    with pytest.raises(AssayError, match="no such file of factors"):
        load_factors(tmp_path, FACTS, modules)
    text = tmp_path / "notes.txt"
    text.write_text("not factors at all\n" * 20)
    with pytest.raises(AssayError, match="not a file of factors, or damaged"):
        load_factors(text, FACTS, modules)
    weights = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(2)}, weights)
    with pytest.raises(AssayError, match="not a file of factors, or damaged"):
        load_factors(weights, FACTS, modules)


def test_nothing_is_left_where_nothing_can_be_written(
    tmp_path: Path, factors: Factors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    path = tmp_path / "factors.safetensors"
    save_factors(factors, path, FACTS)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("assay.influence.factor_file.save_file", full)
        with pytest.raises(AssayError, match=r"cannot be written .*No space left"):
            save_factors(factors, path, FACTS)
    # What was there before is still there.
    assert [p.name for p in tmp_path.iterdir()] == ["factors.safetensors"]
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_told_in_one_line(
    tmp_path: Path, factors: Factors
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(AssayError, match="cannot be written"):
        save_factors(factors, blocked / "factors.safetensors", FACTS)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_facts_are_readable_without_the_tensors(kept: Kept) -> None:
    header = json.loads(kept.content[8 : kept.header])
    assert json.loads(header["__metadata__"]["facts"]) == FACTS
