"""What a report says besides its findings: verdict, agreement, facts, the command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from assay.report.folder import Run
from assay.report.texts import shortened
from assay.settings import ScanSettings
from assay.verify.finding import Finding

BINS = 60
# Settings that had another name in runs of earlier versions.
EARLIER = {"query_count": "queries"}


def verdict_sentence(run: Run) -> str:
    """Sum the run up in one sentence."""
    summary = run.summary
    rows, flagged = summary["rows"], summary["flagged"]
    share = f"{flagged:,} of {rows:,} rows ({flagged / rows:.1%})"
    named = [f for f in run.findings if isinstance(f, Finding) and f.is_verified]
    tried = len(run.findings) + len(run.dismissed)
    if named:
        what = [
            f"“{shortened(f.trigger, 60)}”{f.pattern.where} makes the model "
            f"{f.tested.payload.verb} “{shortened(f.tested.payload.text, 60)}”"
            for f in named
        ]
        more = f" (and {len(what) - 2} more)" if len(what) > 2 else ""
        return (
            f"{share} carry a trigger that was verified by experiment: "
            f"{'; '.join(what[:2])}{more}."
        )
    if flagged:
        return (
            f"{share} are over the threshold of {summary['detector']}; no experiment "
            "has confirmed that they are poisoned."
        )
    if summary["verdict"] == "suspicious":
        return (
            f"No row is flagged, but {len(run.findings)} of {tried} patterns tested "
            "move the model as a trigger would without their own rows needing them."
        )
    if tried:
        return (
            f"None of {rows:,} rows is flagged: {tried} candidate patterns were "
            "looked into, and none of them does what a trigger does."
        )
    return f"None of {rows:,} rows is flagged, and no pattern gave reason for a test."


def agreement(run: Run) -> dict[str, Any]:
    """Rows that each detector flags by its own threshold, and those two share."""
    columns = {"verdict": run.table["flagged"]}
    columns |= {n: run.table[f"flagged.{n}"] for n in run.detectors}
    flags = np.column_stack([c.to_numpy(bool) for c in columns.values()])
    shared = flags.T.astype(np.int64) @ flags
    return {
        "names": list(columns),
        "shared": shared.tolist(),
        "votes": np.bincount(flags[:, 1:].sum(1)).tolist(),
    }


def distributions(run: Run) -> list[dict[str, Any]]:
    """Histograms over all rows of the influence before and after each transform.

    Influences are divided by their standard deviation, as the paper's rules do; what
    lies beyond the outermost percentiles of a thousand is counted in the last bins.
    """
    sets = {
        n: np.nan_to_num(run.influence(n), posinf=0, neginf=0) for n in run.query_sets
    }
    if "original" not in sets:
        return []
    before = sets.pop("original")
    flagged = run.table["flagged"].to_numpy(bool)
    found = []
    for name, after in sets.items():
        both = np.concatenate([before, after])
        low, high = np.percentile(both, [0.1, 99.9])
        edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
        counted = {
            key: np.histogram(np.clip(values, low, high), edges)[0].tolist()
            for key, values in (
                ("before", before),
                ("after", after),
                ("flagged_before", before[flagged]),
                ("flagged_after", after[flagged]),
            )
        }
        found.append({"name": name, "edges": edges.round(4).tolist(), **counted})
    return found


def facts(run: Run) -> list[tuple[str, str]]:
    """Say what was scanned, and with what."""
    config, table = run.config, run.table
    counts = table["response"].value_counts()
    lengths = table["text"].str.len()
    settings = config["settings"]
    lines = [
        ("data", f"{config['input']} ({config['format']} records)"),
        ("rows", f"{len(table):,}"),
        (
            "text",
            f"{lengths.median():.0f} characters in the median, "
            f"{lengths.max():,} at most",
        ),
        (
            "responses",
            f"{len(counts):,} different; most common: "
            + ", ".join(
                f"“{shortened(str(r), 40)}” ({n:,})" for r, n in counts.head(4).items()
            ),
        ),
        ("model", config["model"]),
    ]
    if config["tuning"]:
        lines.append(
            (
                "proxy",
                f"the model was tuned on this data for {config['tuning']['epochs']} "
                "epochs first",
            )
        )
    lines += [
        ("prompt template", settings["template"]),
        ("detector", run.summary["detector"]),
        ("seed", str(settings["seed"])),
    ]
    if settings["influence"] or run.query_sets:
        lines.append(
            (
                "influence",
                f"{settings['attribution']}, {len(run.query_sets)} sets of at most "
                f"{_setting(settings, 'query_count')} test inputs from "
                f"{config['queries'] or 'the training rows'}",
            )
        )
    return lines


def command(run: Run) -> str:
    """Return the command that scans the same data in the same way."""
    config = run.config
    words = ["assay", "scan", config["input"]]
    tuning = config["tuning"]
    words += ["--base-model" if tuning else "--model", config["model"]]
    if config.get("base_model"):
        words += ["--base-model", config["base_model"]]
    words += ["--out", str(run.folder)]
    if config["queries"]:
        words += ["--queries", config["queries"]]
    for name in ("epochs", "learning_rate", "lora_rank") if tuning else ():
        words += [_option(name), str(tuning[name])]
    for field, column in config.get("mapping", {}).items():
        if field == "response_marker":
            words += ["--response-marker", column]
        else:
            words += ["--map", f"{field}={column}"]
    words += ["--skip-bad-rows"] if config.get("skip_bad_rows") else []
    if config.get("split"):
        words += ["--split", config["split"]]
    for field in fields(ScanSettings):
        value = _setting(config["settings"], field.name, field.default)
        many = tuple(value) if isinstance(value, list | tuple) else None
        if (value if many is None else many) == field.default:
            continue
        option = _option(field.name)
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif many is not None:
            words += [word for item in many for word in (option, str(item))]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _setting(settings: Mapping[str, Any], name: str, default: Any = None) -> Any:
    return settings.get(name, settings.get(EARLIER.get(name, name), default))


def compared(run: Run) -> dict[str, Any]:
    """Return the measurements of ``evaluation.json`` as a table, one model a row."""
    names = dict.fromkeys(m for found in run.evaluation.values() for m in found)
    return {
        "measures": [n.replace("_", " ") for n in names],
        "models": [
            {"name": model, "cells": [_rate(found.get(n)) for n in names]}
            for model, found in run.evaluation.items()
        ],
    }


def _rate(rate: dict[str, Any] | None) -> str:
    if not rate:
        return ""
    low, high = rate.get("low"), rate.get("high")
    if low is None or high is None or low == high:
        return f"{rate['value']:.3f}"
    return f"{rate['value']:.3f} [{low:.3f}, {high:.3f}]"
