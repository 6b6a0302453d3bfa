from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from assay.data.objects import as_corpus, as_given
from assay.data.read import read_corpus
from assay.errors import AssayError

ROWS = [{"prompt": f"{i} and 1", "completion": str(i + 1), "n": i} for i in range(4)]
SHARED = datasets.Dataset.from_list(ROWS)
KINDS: dict[str, Any] = {
    "list": ROWS,
    "tuple": tuple(ROWS),
    "DataFrame": pd.DataFrame(ROWS, index=[7, 7, 8, 9]),
    "Dataset": SHARED,
    "shuffled Dataset": datasets.Dataset.from_list(ROWS[::-1]).select([3, 2, 1, 0]),
    "DatasetDict": datasets.DatasetDict(train=SHARED, test=SHARED.select([0])),
}


def contents(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, pd.DataFrame):
        return [dict(r) for r in data.to_dict("records")]
    return [dict(r) for r in data]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_in_and_go_out_in_their_own_type(kind: str) -> None:
    data = KINDS[kind]
    corpus = as_corpus(data)
    assert [(e.text, e.response) for e in corpus.examples] == [
        (r["prompt"], r["completion"]) for r in ROWS
    ]
    assert corpus.format == "prompt-completion"
    part = as_given(data, corpus, corpus.select([2, 0]))
    assert type(part) is type(data)
    if kind == "DatasetDict":
        assert list(part) == ["train"]
        part = part["train"]
    assert contents(part) == [ROWS[2], ROWS[0]]
    if isinstance(data, pd.DataFrame):
        assert list(part.index) == [8, 7]
        assert list(part.dtypes) == list(data.dtypes)


def test_the_other_splits_of_a_dataset_dict_stay_as_they_were() -> None:
    data = KINDS["DatasetDict"]
    for split, other in (("train", "test"), ("test", "train")):
        corpus = as_corpus(data, split=split)
        kept = corpus.select([0])
        part = as_given(data, corpus, kept, split, others=True)
        assert isinstance(part, datasets.DatasetDict)
        assert list(part) == ["train", "test"]
        assert contents(part[split]) == [ROWS[0]]
        assert contents(part[other]) == contents(data[other])
        assert list(as_given(data, corpus, kept, split)) == [split]
    assert [len(rows) for rows in data.values()] == [4, 1]


def test_a_path_and_a_corpus_stay_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    for data in (path, str(path), read_corpus(path)):
        corpus = as_corpus(data)
        part = as_given(data, corpus, corpus.select([1]))
        assert part == corpus.select([1])
    assert as_corpus(corpus) is corpus


def test_a_part_of_a_corpus_is_found_by_its_rows() -> None:
    corpus = as_corpus(ROWS).select([1, 3])
    assert as_given(corpus, corpus, corpus.select([1])).examples[0].row == 3


def test_columns_and_format_are_chosen_as_on_the_command_line() -> None:
    rows = [{"q": "a", "a": "b", "prompt": "p", "completion": "c"}]
    corpus = as_corpus(rows, mapping={"text": "q", "response": "a"})
    assert (corpus.format, corpus.examples[0].text) == ("columns", "a")
    assert as_corpus(rows, format="prompt-completion").examples[0].text == "p"
    assert as_corpus(KINDS["DatasetDict"], split="test").examples[0].text == "0 and 1"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
def test_what_is_missing_in_a_frame_is_empty(missing: Any) -> None:
    frame = pd.DataFrame({"instruction": ["i"], "output": ["o"], "input": [missing]})
    assert as_corpus(frame).examples[0].text == "i"
    frame = pd.DataFrame({"instruction": ["i"], "output": [missing]})
    with pytest.raises(AssayError, match="row 0: field 'output' is null"):
        as_corpus(frame)


def test_chats_in_a_frame() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    corpus = as_corpus(pd.DataFrame({"messages": [turns]}))
    assert (corpus.format, corpus.examples[0].response) == ("messages", "b")


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (5, {}, "the int: expected a path, a datasets.Dataset, a pandas DataFrame or"),
    (None, {}, "the NoneType: expected a path"),
    (b"x.jsonl", {}, "the bytes: expected a path"),
    ([], {}, "the list: no rows in it"),
    (pd.DataFrame(), {}, "the DataFrame: no rows in it"),
    (SHARED.select([]), {}, "the Dataset: no rows in it"),
    ([ROWS[0], "a"], {}, "the list: row 1: expected a dict, found str"),
    ([ROWS[0], {"prompt": "a"}], {}, "the list: row 1: field 'completion' is missing"),
    ([{1: 2}], {}, "the list: unknown format, its fields are 1;"),
    (ROWS, {"format": "xml"}, "unknown format 'xml'"),
    (ROWS, {"mapping": {"text": "z", "response": "n"}}, "the list: no column 'z'"),
    (
        pd.DataFrame([["a", "b"]], columns=["q", "q"]),
        {},
        "the DataFrame: two columns are named 'q'",
    ),
    (SHARED.to_iterable_dataset(), {}, "a stream has no rows to come back to"),
    (KINDS["DatasetDict"], {"split": "dev"}, "no split 'dev'; it has 'train', 'test'"),
]


@pytest.mark.parametrize(("data", "options", "message"), BAD)
def test_bad_data_end_in_one_line(
    data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssayError, match=message) as caught:
        as_corpus(data, **options)
    assert "\n" not in str(caught.value)
