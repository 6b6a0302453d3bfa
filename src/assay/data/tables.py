"""Reading tables: Parquet, what ``datasets`` saved or holds, and the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay.data.layout import Rows, unique_names
from assay.errors import AssayError
from assay.util.hub import SCHEME, quiet_hub
from assay.util.messages import listed, reason, shortened


def _table_rows(source: str, table: Any, container: str) -> Rows:
    try:
        names = list(table.column_names)
    except UnicodeDecodeError:
        raise AssayError(
            f"{source}: the name of a column is not UTF-8; rename it"
        ) from None
    if table.num_rows:
        unique_names(names, source)
    cells = []
    for i, name in enumerate(names):
        try:
            column = table.column(i)
            # Not every reader checks that text is UTF-8.
            column.validate(full=True)
            cells.append(column.to_pylist())
        except Exception as error:
            raise AssayError(
                f"{source}: column {shortened(repr(name), 60)} cannot be read "
                f"({reason(error)}); mend it or leave it out"
            ) from None
    records = [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]
    return Rows(records, container, table)


def read_parquet(path: Path) -> Rows:
    """Read a Parquet file.

    Raises:
        AssayError: It is empty or damaged, or a column cannot be read.
    """
    import pyarrow.parquet as parquet

    if path.stat().st_size == 0:
        raise AssayError(f"{path}: the file is empty")
    try:
        table = parquet.ParquetFile(path).read()
    except Exception as error:
        raise AssayError(
            f"{path}: not a readable Parquet file ({reason(error)})"
        ) from None
    return _table_rows(str(path), table, "parquet")


def dataset_rows(source: str, data: Any) -> Rows:
    """Read a ``datasets.Dataset``.

    Raises:
        AssayError: A column cannot be read, or two have one name.
    """
    if not len(data):
        return Rows([], "datasets")
    # As a table, columns that are not text (pictures, sound) stay undecoded.
    try:
        table = data.with_format("arrow")[:]
    except Exception as error:
        raise AssayError(f"{source}: cannot be read ({reason(error)})") from None
    return _table_rows(source, table, "datasets")


def of_split(data: Any, source: str, split: str) -> Any:
    """Take a split of a ``DatasetDict``.

    Raises:
        AssayError: There is no such split.
    """
    if split not in data:
        raise AssayError(
            f"{source}: no split {split!r}; it has {listed(data)}: use --split"
        )
    return data[split]


def read_folder(path: Path, split: str) -> Rows:
    """Read a folder saved by ``datasets``.

    Raises:
        AssayError: The folder is something else or damaged, or lacks the split.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except Exception as error:
        raise AssayError(
            f"{path}: not a datasets folder ({reason(error)}); name the file in it"
        ) from None
    if isinstance(data, DatasetDict):
        data = of_split(data, str(path), split)
    return dataset_rows(str(path), data)


def read_hub(source: str, split: str) -> Rows:
    """Read a data set from the Hugging Face Hub.

    Raises:
        AssayError: It cannot be loaded.
    """
    from datasets import load_dataset

    try:
        with quiet_hub():
            data = load_dataset(source, split=split)
    except Exception as error:
        raise AssayError(
            f"{SCHEME}{source}: cannot be loaded from the hub: {reason(error)}"
        ) from None
    return dataset_rows(source, data)
