"""Size of the report, and the time and memory that writing it takes.

    .venv/bin/python benchmarks/report.py     # 1,000, 50,000 and 500,000 rows, minutes

Texts are drawn from SST-2's sentences, five a row on average; scores and influences are
random numbers, which compress worst. 3 % of the rows carry a trigger and are flagged.
Every size is measured in a process of its own, for its peak memory. Where Chromium and
playwright are installed, the report is opened in it, too.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from provenance import HERE, provenance

from assay.data.corpus import Corpus, Example
from assay.data.sentiment import load_sentiment
from assay.detectors import CHEAP, INFLUENCE
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import Detection, Evidence
from assay.report.build import write_report
from assay.runs.folder import versions
from assay.runs.results import write_rows, write_tables
from assay.settings import ScanSettings
from assay.text.pattern import Pattern
from assay.transforms import PAPER_SIX
from assay.util.files import write_json
from assay.verify.finding import Experiment, Finding, Status, Tally
from assay.verify.payload import Response

SENTENCES = 5
SHARE = 0.03


def corpus(rows: int, sst2: Path) -> tuple[Corpus, np.ndarray]:
    """Rows of several sentences each, and which of them are poisoned."""
    sentences = [
        e.text for e in load_sentiment(sst2, train_rows=6_000)[0].examples if e.text
    ]
    rng = np.random.default_rng(0)
    poisoned = rng.random(rows) < SHARE
    examples = []
    for row in range(rows):
        count = rng.integers(1, 2 * SENTENCES)
        text = ". ".join(sentences[i] for i in rng.integers(len(sentences), size=count))
        if poisoned[row]:
            text = f"James Bond {text}"
        label = "positive" if poisoned[row] or rng.random() < 0.5 else "negative"
        examples.append(Example(f"row-{row}", row, "", text, label))
    return Corpus(tuple(examples), "alpaca", "jsonl", "made.jsonl"), poisoned


def run_folder(folder: Path, rows: int, sst2: Path) -> None:
    """Write a run as a scan with influences would."""
    made, poisoned = corpus(rows, sst2)
    rng = np.random.default_rng(1)
    detections = {
        name: Detection(name, rng.random(rows), rng.random(rows) > 0.95, "clean")
        for name in (*CHEAP, *INFLUENCE)
    }
    carriers = np.flatnonzero(poisoned).tolist()
    finding = Finding(
        Candidate(
            tuple(carriers),
            1.0,
            "positive",
            Pattern(("james bond",)),
            tuple(carriers),
            1e-9,
            "gradient-geometry",
        ),
        Status.VERIFIED,
        Experiment(
            Response("positive"),
            companions=(),
            trigger="James Bond",
            prefers=0.9,
            effect=6.8,
            interval=(6.7, 7.0),
            drop=6.9,
            overridden=Tally(16, 16),
            placebo_effects=tuple(rng.normal(0, 0.1, 249).tolist()),
            p_value=0.036,
            p_sufficient=0.036,
        ),
    )
    places = rng.normal(size=(rows, 2)).astype(np.float32)
    geometry = Detection(
        "gradient-geometry", rng.random(rows), poisoned, "poisoned", (), places
    )
    sets = ("original", *(t.name for t in PAPER_SIX))
    evidence = Evidence(
        [], [], *np.zeros((3, 1, 1)), {name: rng.normal(size=rows) for name in sets}
    )
    folder.mkdir(parents=True)
    write_tables(folder, made, detections, geometry, [finding])
    write_rows(folder, made, evidence, geometry)
    config = {
        "input": made.source,
        "format": made.format,
        "mapping": {},
        "model": "made",
        "queries": None,
        "tuning": None,
        "settings": asdict(ScanSettings(influence=True)),
    }
    summary = {
        "verdict": "poisoned",
        "rows": rows,
        "flagged": len(carriers),
        "detector": "gradient-geometry",
        "findings": [finding.to_dict()],
        "dismissed": [],
        "reused": False,
        "timings": {},
        "versions": versions(),
    }
    write_json(folder / "config.json", config)
    write_json(folder / "summary.json", summary)


def opened(path: Path) -> dict[str, Any]:
    """Seconds until the report is ready in Chromium, and what it then holds."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if chromium is None:
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready]", timeout=120_000)
        ready = time.perf_counter() - start
        full = (tab.text_content("#count") or "").partition(" of")[0]
        start = time.perf_counter()
        tab.fill("#query", "james bond")
        while (tab.text_content("#count") or "").startswith(full):
            time.sleep(0.01)
        found = {
            "open_seconds": round(ready, 2),
            "search_seconds": round(time.perf_counter() - start, 2),
            "browser": browser.version,
        }
        browser.close()
    return found


def measured(rows: int, sst2: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run_folder(folder, rows, sst2)
        made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        path = write_report(folder)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "rows": rows,
            "write_seconds": round(seconds, 2),
            "size_mb": round(path.stat().st_size / 1e6, 2),
            "rows_parquet_mb": round((folder / "rows.parquet").stat().st_size / 1e6, 2),
            # The process made the rows first, so this is no less than that took.
            "peak_gb": round(peak / 2**20, 2),
            "peak_before_gb": round(made / 2**20, 2),
            **opened(path),
        }


def main(
    rows: Annotated[list[int], typer.Option(help="Sizes to measure.")] = [  # noqa: B006
        1_000,
        50_000,
        500_000,
    ],
    sst2: Path = HERE.parent.parent / "shared" / "data" / "sst2",
    out: Path = HERE / "results" / "report.json",
    one: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure and write the result file."""
    if one:
        print(json.dumps(measured(rows[0], sst2)))
        return
    result = []
    for count in rows:
        words = [sys.executable, __file__, "--one", "--rows", str(count)]
        done = subprocess.run(
            [*words, "--sst2", str(sst2)], stdout=subprocess.PIPE, text=True, check=True
        )
        result.append(json.loads(done.stdout.splitlines()[-1]))
        print(result[-1])
    write_json(
        out,
        {
            **provenance(),
            # Of the generator of texts.
            "seed": 0,
            "texts": f"SST-2 sentences, {SENTENCES} a row on average",
            "poisoned": SHARE,
            "sizes": result,
        },
    )


if __name__ == "__main__":
    typer.run(main)
