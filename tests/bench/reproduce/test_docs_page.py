"""The page of the docs and the files that it is made of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from assay.bench.reproduce.items import ITEMS
from assay.bench.reproduce.page import page
from assay.bench.reproduce.record import read_record

FOLDER = Path(__file__).parents[3] / "docs" / "reproduced"


def test_the_page_of_the_docs_is_made_of_the_files_beside_it() -> None:
    names = [i.name for i in ITEMS if (FOLDER / f"{i.name}.json").is_file()]
    assert len(names) == len(list(FOLDER.glob("*.json"))) >= 7
    records = [read_record(FOLDER / f"{name}.json") for name in names]
    plots = {path.name for path in FOLDER.glob("*.png")}
    assert (FOLDER / "index.md").read_text(encoding="utf-8") == page(records, plots)
    for record in records:
        table = pd.read_csv(FOLDER / f"{record.item}.csv")
        assert table["ours"].to_numpy().tolist() == [
            v.value for values in record.values.values() for v in values
        ]
        assert "+changes" not in record.provenance.code
