"""The report: one HTML file that explains a run, opens offline, and trusts no data."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from assay.errors import AssayError
from assay.report import facts
from assay.report.findings import cards, dismissed_line
from assay.report.folder import Run, read_run
from assay.report.rows import pack
from assay.report.texts import shortened
from assay.runs.folder import EVALUATION, files_of
from assay.util.escape import visible
from assay.util.files import check_outputs, replacing
from assay.util.messages import reason

NAME = "report.html"
PLOTLY = "plotly-basic.min.js"
SCRIPT = "report.js"


def write_report(
    folder: Path, out: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write a run's report from what its folder holds.

    Args:
        folder: The run folder.
        out: File to write; by default ``report.html`` in the run folder, which is
            replaced.
        overwrite: Whether another file that is there already may be replaced, too.

    Returns:
        The file written.

    Raises:
        AssayError: The folder is no run, is damaged or was left by an older assay, or
            the file is there already, is one that the report is made from, or cannot
            be written.
    """
    run = read_run(folder)
    path = out or folder / NAME
    if path.resolve() != (folder / NAME).resolve():
        source = run.config.get("input")
        read = [*files_of(folder), source if isinstance(source, str) else None]
        check_outputs([path], read, overwrite=overwrite)
    try:
        text = page(run)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        # The files were read, but do not hold what this version writes.
        raise AssayError(
            f"{folder}: cannot be understood ({type(error).__name__}: "
            f"{reason(error, 80)}); scan again"
        ) from error
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return path


def page(run: Run) -> str:
    """Return the report as HTML."""
    scripts = {"plotly": _resource(PLOTLY), "script": _resource(SCRIPT)}
    packed = pack(run)
    distributions = facts.distributions(run)
    groups = list(dict.fromkeys(run.table["response"]))
    data = {
        "detectors": run.detectors,
        "detector": run.summary["detector"],
        "rows": len(run.table),
        "groups": (
            [shortened(g, 60) for g in groups] if len(groups) <= 20 else ["all rows"]
        ),
        "distributions": distributions,
    }
    environment = Environment(
        loader=PackageLoader("assay", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment.get_template("report.html.jinja").render(
        policy=policy(list(scripts.values())),
        style=Markup(_resource("report.css")),
        **{name: Markup(text) for name, text in scripts.items()},
        data=Markup(as_json(data)),
        packed=packed,
        verdict=run.summary["verdict"],
        sentence=facts.verdict_sentence(run),
        cards=cards(run),
        dismissed=[dismissed_line(f) for f in run.dismissed],
        compared=facts.compared(run),
        agreement=facts.agreement(run),
        facts=facts.facts(run),
        command=facts.command(run),
        timings=run.summary["timings"],
        versions=run.summary["versions"],
        settings=json.dumps(run.config["settings"], indent=1),
        source=run.config["input"],
        has_map=bool(run.table["x"].notna().any()),
        has_influence=bool(distributions),
    )


def policy(scripts: list[str]) -> str:
    """Content-Security-Policy: these scripts run, nothing else does or is fetched."""
    hashes = " ".join(
        "'sha256-"
        + base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()
        + "'"
        for s in scripts
    )
    # Plotly sets style attributes and adds a style element as it draws; a style can
    # neither run code nor, with nothing allowed to load, send anything.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def as_json(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _resource(name: str) -> str:
    return (resources.files("assay.report") / name).read_text(encoding="utf-8")


def forget_evaluation(folder: Path, config: dict[str, Any]) -> None:
    """Remove measurements of models that were made for another scan.

    Args:
        folder: The run folder, before its ``config.json`` is replaced.
        config: What that will be replaced by.
    """
    path = folder / "config.json"
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if earlier != config:
        (folder / EVALUATION).unlink(missing_ok=True)
