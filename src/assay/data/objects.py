"""Corpora from what a Python session holds: data sets, frames and lists of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.data.corpus import Corpus
from assay.data.layout import Rows, unique_names
from assay.data.read import corpus_of, read_corpus
from assay.data.tables import dataset_rows, of_split
from assay.errors import AssayError


def as_corpus(
    data: Any,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    split: str = "train",
    skip_bad_rows: bool = False,
) -> Corpus:
    """Turn whatever data a user has into a corpus.

    Args:
        data: A `Corpus`, a path or hub id, a ``datasets.Dataset`` (of a
            ``DatasetDict`` the split is taken), a pandas ``DataFrame`` or a list of
            records.
        format: Record format; by default it is detected from the first record.
        mapping: What parts of the records are called, of
            `assay.data.formats.PARTS`.
        split: Split of a ``datasets`` folder, hub data set or ``DatasetDict``.
        skip_bad_rows: Leave out what cannot be read.

    Raises:
        AssayError: The data are of another type, empty, malformed, or of unknown
            format.
    """
    if isinstance(data, Corpus):
        return data
    if isinstance(data, str | Path):
        return read_corpus(
            data,
            format=format,
            mapping=mapping,
            split=split,
            skip_bad_rows=skip_bad_rows,
        )
    if isinstance(data, pd.DataFrame):
        source = "the DataFrame"
        rows = Rows(_frame_records(data, source), "jsonl")
    elif isinstance(data, Sequence) and not isinstance(data, bytes | bytearray):
        source = "the list"
        rows = Rows(_checked(data, source), "jsonl")
    else:
        source = f"the {type(data).__name__}"
        rows = dataset_rows(source, _dataset(data, source, split))
    return corpus_of(rows, source, format, mapping, skip_bad_rows)


def _dataset(data: Any, source: str, split: str) -> Any:
    import datasets

    if isinstance(data, datasets.DatasetDict):
        data = of_split(data, source, split)
    if isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise AssayError(
            f"{source}: a stream has no rows to come back to; load the data set "
            "without streaming=True"
        )
    if not isinstance(data, datasets.Dataset):
        raise AssayError(
            f"{source}: expected a path, a datasets.Dataset, a pandas DataFrame or a "
            "list of dicts"
        )
    return data


def _checked(data: Sequence[Any], source: str) -> list[dict[str, Any]]:
    for row, record in enumerate(data):
        if not isinstance(record, Mapping):
            raise AssayError(
                f"{source}: row {row}: expected a dict, found {type(record).__name__}"
            )
    return [dict(record) for record in data]


def _frame_records(frame: pd.DataFrame, source: str) -> list[dict[str, Any]]:
    if len(frame):
        unique_names([str(c) for c in frame.columns], source)
    # What is missing is NaN, NaT or NA, by the type of the column.
    objects = frame.astype(object)
    objects = objects.where(frame.notna(), None)
    return [
        {str(name): _plain(value) for name, value in record.items()}
        for record in objects.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """Make lists of the arrays that pandas reads lists of a Parquet file as."""
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return value


def as_given(
    data: Any,
    corpus: Corpus,
    part: Corpus,
    split: str = "train",
    *,
    others: bool = False,
) -> Any:
    """Return some rows of a corpus in the type that it was made from.

    Args:
        data: What `as_corpus` was given.
        corpus: What it made of that.
        part: A selection of its examples.
        split: The split that was taken.
        others: Whether a ``DatasetDict`` keeps its other splits, or has this one only.

    Returns:
        A ``Dataset``, ``DatasetDict``, ``DataFrame``, list or tuple of the same
        records; for a path, hub id or `Corpus` the part itself.
    """
    if isinstance(data, str | Path | Corpus):
        return part
    rows = [e.row for e in part.examples]
    if part.left_out:
        # Rows that are no examples stay where they were.
        rows = sorted([*rows, *(left.row for left in part.left_out)])
    if isinstance(data, pd.DataFrame):
        return data.iloc[rows]
    if isinstance(data, Sequence):
        chosen = [data[i] for i in rows]
        return tuple(chosen) if isinstance(data, tuple) else chosen
    selected = _dataset(data, "", split).select(rows)
    if not isinstance(data, dict):
        return selected
    # A DatasetDict is a dict, whose order of splits is kept.
    return type(data)({**(data if others else {}), split: selected})
