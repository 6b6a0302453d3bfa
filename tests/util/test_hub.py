from __future__ import annotations

import logging

import pytest

from assay.errors import AssayError
from assay.util.hub import HubName, is_hub_name, not_found, parse_hub, quiet_hub


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf://owner/name", HubName("owner/name", online=True)),
        ("hf://gpt2", HubName("gpt2", online=True)),
        ("hf://datasets/owner/name", HubName("owner/name", online=True)),
        ("owner/name-1.5_b", HubName("owner/name-1.5_b", online=False)),
        ("gpt2", None),
        ("a/b/c", None),
        ("./run1", None),
        ("../run1", None),
        ("/run1", None),
        ("runs/", None),
        ("data/train.jsonl", HubName("data/train.jsonl", online=False)),
        ("data/my file", None),
    ],
)
def test_names(spec: str, expected: HubName | None) -> None:
    assert parse_hub(spec) == expected


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "a b", "../a", "a/..", "/a", "a/", "a--b", "a/b.git", "ü/b"]
)
def test_no_names(name: str) -> None:
    assert not is_hub_name(name)
    with pytest.raises(AssayError, match="not a name on the hub; they look like hf://"):
        parse_hub(f"hf://{name}")


def test_the_longest_name() -> None:
    assert is_hub_name("a" * 96)
    assert not is_hub_name("a" * 97)


def test_what_is_not_found_is_told_with_a_way_out() -> None:
    assert str(not_found("model", "runs/one")) == (
        "model 'runs/one': no such folder, GGUF file or alias; for the hub's model "
        "write hf://runs/one"
    )
    assert str(not_found("data set", "a/b/c")) == (
        "data set 'a/b/c': no such file or folder"
    )
    assert str(not_found("data set", "rows.jsonl")) == (
        "data set 'rows.jsonl': no such file or folder"
    )
    assert "write hf://squad" in str(not_found("data set", "squad"))


def test_quiet_hub_restores_what_it_silences() -> None:
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    with quiet_hub():
        assert not logger.isEnabledFor(logging.ERROR)
    assert logger.level == before
