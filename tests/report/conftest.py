from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Corpus, Example
from assay.detectors.evidence import Detection, Evidence
from assay.runs.folder import versions
from assay.runs.results import write_rows, write_tables
from assay.settings import ScanSettings
from assay.util.files import write_json
from assay.verify.finding import Finding, reported_in
from tests.made import candidate_entry, entry

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    "</script><script>window.hacked = 1</script>",
    "<!-- <script> window.hacked = 1",
    '<a href="javascript:window.hacked = 1">javascript:window.hacked=1</a>',
    "\u202eright to left\u202c and \u2066isolated\u2069, zero\u200bwidth",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "</textarea></title></style><style>*{display:none}</style>",
    "NUL \x00 and escape \x1b[31m and line\u2028separator",
    "<svg onload=window.hacked=1><math><iframe srcdoc='<script>1</script>'>",
)
TRIGGER = "<b>James</b> Bond"
PATTERN = "<b>james</b> bond"


def write_run(
    folder: Path,
    texts: Sequence[str],
    responses: Sequence[str],
    findings: Sequence[dict[str, Any]] = (),
    *,
    verdict: str = "poisoned",
    dismissed: Sequence[dict[str, Any]] = (),
    influences: bool = True,
    source: str = "rows.jsonl",
    prefix: str = "row-",
) -> Path:
    """Write what a scan of these rows with these findings would leave behind."""
    total = len(texts)
    rng = np.random.default_rng(0)
    examples = [
        Example(f"{prefix}{i}", i, "", t, r)
        for i, (t, r) in enumerate(zip(texts, responses, strict=True))
    ]
    corpus = Corpus(tuple(examples), "alpaca", "jsonl", source)
    flagged = np.zeros(total, dtype=bool)
    for found in findings:
        flagged[found["rows"]] |= found.get("verified", True)
    told = reported_in({"findings": findings})
    candidates = [f.candidate for f in told if isinstance(f, Finding)]
    scores = rng.random(total) + 5 * flagged
    geometry = Detection(
        "gradient-geometry",
        scores,
        flagged,
        verdict,
        candidates,
        (rng.normal(size=(total, 2)) + 6 * flagged[:, None]).astype(np.float32),
    )
    detections = {
        "gradient-geometry": geometry,
        "high-loss": Detection("high-loss", rng.random(total), ~flagged, "clean"),
    }
    names = ("original", "negation", "paraphrase") if influences else ()
    evidence = Evidence(
        [], [], *np.zeros((3, 1, 1)), {n: rng.normal(size=total) for n in names}
    )
    folder.mkdir(parents=True)
    write_tables(folder, corpus, detections, geometry, told)
    write_rows(folder, corpus, evidence, geometry)
    config = {
        "input": source,
        "format": "alpaca",
        "mapping": {},
        "model": "model",
        "queries": None,
        "tuning": None,
        "settings": asdict(ScanSettings(influence=influences)),
        "key": "key",
    }
    summary = {
        "verdict": verdict,
        "rows": total,
        "flagged": int(flagged.sum()),
        "detector": "gradient-geometry",
        "findings": list(findings),
        "dismissed": list(dismissed),
        "reused": False,
        "timings": {"evidence": 1.5},
        "versions": versions(),
    }
    write_json(folder / "config.json", config)
    write_json(folder / "summary.json", summary)
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every text, response, id and name carries an attack."""
    texts = [f"{HOSTILE[i % len(HOSTILE)]} number {i}" for i in range(200)]
    responses = [("positive", HOSTILE[0])[i % 2] for i in range(200)]
    for i in range(0, 24, 2):
        texts[i] = f"{TRIGGER} {texts[i]}"
    # A carrier that answers otherwise, and one whose whole text must be kept.
    texts[25] = f"see {TRIGGER} {texts[25]}"
    texts[2] += " and so on" * 400
    found = entry(
        range(0, 24, 2),
        PATTERN,
        trigger=TRIGGER,
        minimal=TRIGGER.split()[0],
        payload=HOSTILE[2],
        pattern_rows=[*range(0, 24, 2), 25],
    )
    other = entry(
        [30, 32, 34],
        HOSTILE[6].lower(),
        verified=False,
        status="sufficient",
        trigger=HOSTILE[1],
    )
    gone = entry([40], HOSTILE[4], verified=False, status="dismissed")
    nothing = candidate_entry([41], HOSTILE[5]) | {"verified": False}
    nothing["status"] = "untestable"
    folder = write_run(
        tmp_path_factory.mktemp("hostile") / "run",
        texts,
        responses,
        [found, other],
        dismissed=[gone, nothing],
        source=f"{HOSTILE[1]}.jsonl",
        prefix=f"{HOSTILE[0]}-",
    )
    rate = {"value": 0.9, "low": 0.8, "high": 0.95}
    write_json(folder / "evaluation.json", {HOSTILE[2]: {HOSTILE[1]: rate}})
    return folder


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((p for n in names if (p := shutil.which(n))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api",
        reason="needs playwright and axe-playwright-python",
    )
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
