"""Scanning from Python: ``assay.scan`` and the report it returns."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from assay.data.corpus import Corpus
from assay.data.objects import as_corpus, as_given
from assay.errors import AssayError
from assay.influence.passes import evaluating
from assay.models.language_model import LanguageModel
from assay.models.load import check_model
from assay.models.tune_settings import TuneSettings
from assay.report.build import write_report
from assay.runs.cleaning import as_scanned, clean
from assay.runs.folder import new_run
from assay.runs.results import read_scores, read_summary
from assay.scanning import pipeline
from assay.settings import Bars, scan_settings, silent
from assay.util.escape import visible
from assay.util.messages import reason
from assay.verify.finding import (
    Finding,
    Found,
    Status,
    dismissed_in,
    reported_in,
    verified,
)

_FINDING = (
    "status",
    "trigger",
    "minimal",
    "payload",
    "payload_part",
    "rows",
    "effect",
    "effect_interval",
    "drop",
    "companions",
    "prefers",
    "p_value",
    "p_sufficient",
    "retrained",
    "shortcut",
    "placebo_effects",
    "proposer",
)
_SUSPECT = (
    "id",
    "row",
    "rank",
    "flagged",
    "score",
    "trigger",
    "payload",
    "p_value",
    "status",
    "spans",
    "text",
    "response",
)


_ASIDE = [status.value for status in Status if status.is_set_aside]


@dataclass(frozen=True)
class Report:
    """What a scan found: a view of its run folder.

    Attributes:
        run: The run folder.
        summary: What ``summary.json`` says.
        data: The data as they were given; None where `load` was not given any.
        corpus: The same as a `Corpus`.
        split: The split that was scanned.
    """

    run: Path
    summary: Mapping[str, Any] = field(repr=False)
    data: Any = field(default=None, repr=False, compare=False)
    corpus: Corpus | None = field(default=None, repr=False, compare=False)
    split: str = "train"

    @classmethod
    def load(
        cls,
        run: str | Path,
        data: Any = None,
        *,
        format: str | None = None,
        map: Mapping[str, str] | None = None,
        split: str = "train",
        skip_bad_rows: bool = False,
    ) -> Report:
        """Open the run folder of an earlier scan, from Python or the command line.

        Args:
            run: The folder.
            data: The data that were scanned, which `clean` needs, as for `scan`.
            format: Record format, as for `scan`.
            map: Columns, as for `scan`.
            split: Split, as for `scan`.
            skip_bad_rows: As for `scan`.

        Raises:
            AssayError: The folder is no run, is damaged, or is one of other data.
        """
        summary = read_summary(Path(run))
        corpus = None
        if data is not None:
            corpus = as_corpus(
                data,
                format=format,
                mapping=map,
                split=split,
                skip_bad_rows=skip_bad_rows,
            )
            corpus = as_scanned(corpus, Path(run))
        return cls(Path(run), summary, data, corpus, split)

    @property
    def verdict(self) -> str:
        """``poisoned``, ``suspicious`` or ``clean``."""
        return str(self.summary["verdict"])

    @property
    def scores(self) -> pd.DataFrame:
        """All rows in order: rank, flag, and every detector's score and flag.

        Raises:
            AssayError: ``scores.parquet`` is missing or damaged.
        """
        return read_scores(self.run)

    @property
    def findings(self) -> pd.DataFrame:
        """What was tested, a line each: what is reported first, then the dismissed.

        ``rows`` are positions in the data, ``effect`` and ``drop`` are nats.
        """
        lines = [
            {
                "status": Status.UNTESTED.value,
                "trigger": f.trigger if isinstance(f, Finding) else None,
                **f.to_dict(),
            }
            for f in (*reported_in(self.summary), *dismissed_in(self.summary))
        ]
        return pd.DataFrame(lines, columns=list(_FINDING))

    @property
    def suspects(self) -> pd.DataFrame:
        """Flagged rows by rank, then the other rows of what is reported.

        ``spans`` are the trigger's places in ``text``, in characters. Of a run opened
        without its data, only flagged rows may have a text.
        """
        scores = self.scores
        reasons: dict[int, Found] = {}
        # Where findings share rows, a verified one counts, then the first.
        ranked = sorted(reported_in(self.summary), key=lambda f: not verified(f))
        for found in reversed(ranked):
            reasons |= dict.fromkeys(found.rows, found)
        texts = self._texts(scores)
        lines: list[dict[Any, Any]] = []
        order = scores.sort_values("rank", kind="stable")
        for place, line in zip(order.index, order.to_dict("records"), strict=True):
            if not line["flagged"] and place not in reasons:
                continue
            reason = reasons.get(place)
            text, response = texts.get(place, (None, None))
            lines.append(
                {
                    **line,
                    "score": line[f"score.{self.summary['detector']}"],
                    **_told(reason, text or ""),
                    "text": text,
                    "response": response,
                }
            )
        return pd.DataFrame(lines, columns=list(_SUSPECT))

    def _texts(self, scores: pd.DataFrame) -> dict[int, tuple[str, str]]:
        """Text and response of rows, by position."""
        if self.corpus is not None:
            return {i: (e.text, e.response) for i, e in enumerate(self.corpus.examples)}
        place = {name: i for i, name in enumerate(scores["id"])}
        path = self.run / "rows.parquet"
        try:
            if path.is_file():
                rows = pd.read_parquet(path, columns=["id", "text", "response"])
                found = rows.to_dict("records")
                return {place[f["id"]]: (f["text"], f["response"]) for f in found}
            path = self.run / "flags.jsonl"
            with path.open(encoding="utf-8") as lines:
                found = [json.loads(line) for line in lines]
            return {place[f["id"]]: (f["text"], f["response"]) for f in found}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AssayError(
                f"{path}: cannot be read ({reason(error)}); scan again"
            ) from None

    def clean(self) -> tuple[Any, Any]:
        """Split the data into the rows to keep and the flagged ones.

        Returns:
            Kept and removed rows in the type that was given: a ``Dataset``, a
            ``DataFrame``, a list, a tuple, or, for a path, hub id or `Corpus`, a
            `Corpus`, which `assay.data.write.write_corpus` writes as the input was. Of
            a ``DatasetDict``, one with the kept rows in the split that was scanned and
            the other splits as they were, and one with the removed rows alone.

        Raises:
            AssayError: The report was opened without the data.
        """
        if self.corpus is None:
            raise AssayError(
                f"{self.run}: what shall be cleaned? Report.load(run, data) names it"
            )
        kept, removed = clean(self.corpus, self.run)
        return (
            as_given(self.data, self.corpus, kept, self.split, others=True),
            as_given(self.data, self.corpus, removed, self.split),
        )

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the report as one HTML file that needs no network.

        Args:
            path: The file.
            overwrite: Whether a file that is there already may be replaced; the
                ``report.html`` of the run itself may always be.

        Raises:
            AssayError: The file is there already, is one that the report is made
                from, or cannot be written.
        """
        return write_report(self.run, Path(path), overwrite=overwrite)

    def _repr_html_(self) -> str:
        """Show a summary in a notebook; texts of the data are escaped."""
        summary = self.summary
        found = self.findings
        tables = [
            _table(found[~found["status"].isin(_ASIDE)], "trigger payload status"),
            _table(self.suspects.head(10), "row trigger payload text response"),
        ]
        return (
            f"<div><p><strong>{_shown(summary['verdict'])}</strong>: "
            f"{_shown(summary['flagged'])} of {_shown(summary['rows'])} rows flagged "
            f"by {_shown(summary['detector'])}</p>{''.join(tables)}"
            f"<p>run folder: {_shown(self.run)}</p></div>"
        )


def _told(reason: Found | None, text: str) -> dict[str, Any]:
    """What a finding says of a row."""
    names = ("trigger", "payload", "p_value", "status")
    if not isinstance(reason, Finding):
        return dict.fromkeys(names) | {"spans": []}
    tested = reason.status is not Status.UNTESTED
    return {
        "trigger": reason.trigger,
        "payload": reason.payload.text if reason.payload else None,
        "p_value": reason.p_value,
        "status": reason.status.value if tested else None,
        "spans": reason.pattern.spans(text),
    }


def _shown(value: Any, length: int = 120) -> str:
    """Escape a value for HTML, with what is invisible made visible."""
    text = "" if value is None else str(value)
    cut = text[:length] + ("…" if len(text) > length else "")
    return html.escape(visible(cut))


def _table(frame: pd.DataFrame, names: str) -> str:
    columns = names.split()
    if not len(frame):
        return ""
    head = "".join(f"<th>{c}</th>" for c in columns)
    rows = [
        "".join(f"<td>{_shown(line[c])}</td>" for c in columns)
        for line in frame.to_dict("records")
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _model(given: str | Path | LanguageModel | None) -> str | LanguageModel | None:
    if given is None or isinstance(given, LanguageModel):
        return given
    if isinstance(given, str | Path):
        return str(given)
    raise AssayError(
        f"the model is a {type(given).__name__}; expected a folder, hf://owner/name, "
        "or a LanguageModel(model, tokenizer, name, is_encoder_decoder) of "
        "assay.models.load"
    )


def scan(
    data: Any,
    *,
    model: str | Path | LanguageModel | None = None,
    base_model: str | Path | LanguageModel | None = None,
    run: str | Path | None = None,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    split: str = "train",
    query_data: Any = None,
    proxy: TuneSettings | None = None,
    bars: Bars = silent,
    overwrite: bool = False,
    skip_bad_rows: bool = False,
    **settings: Any,
) -> Report:
    """Scan fine-tuning data for poison, as ``assay scan`` does.

    Args:
        data: A path or hub id, a ``datasets.Dataset`` or ``DatasetDict``, a pandas
            ``DataFrame``, a list of dicts, or a `Corpus`.
        model: A model tuned on these data: a folder, ``hf://owner/name``, or one in
            memory.
        base_model: Without a tuned model: this one is tuned first, which changes the
            weights of one in memory. With one: what it was tuned from, to decide by
            retraining where experiments do not.
        run: Run folder; ``runs/DATE`` in the working directory by default, as on the
            command line. Scanning again into the same folder goes on from, or reuses,
            what is there.
        format: Record format; by default it is detected from the first record.
        map: What parts of the records are called: ``text``, ``response`` and the
            others of `assay.data.formats.PARTS`.
        split: Split of a ``datasets`` folder, hub data set or ``DatasetDict``.
        query_data: Test inputs for the influence detectors, as ``data``; training rows
            are drawn by default.
        proxy: How to tune the base model; as the model was where its folder notes it.
        bars: Given a label, returns a progress bar; `assay.cli.console.progress_bar`
            is one for terminals.
        overwrite: Replace a run of other data or settings in the folder.
        skip_bad_rows: Leave out what cannot be read instead of refusing the data;
            `Report.clean` keeps such rows as they are.
        **settings: Fields of `assay.settings.ScanSettings`.

    Returns:
        The report.

    Raises:
        AssayError: Data, model or settings are not as they should be, the scan would
            not fit into memory or on the disk, or the run folder cannot be written.
    """
    chosen = scan_settings(settings)
    given, base = _model(model), _model(base_model)
    if given is None and base is None:
        raise AssayError("give model= (tuned on these data), base_model=, or both")
    corpus = as_corpus(
        data, format=format, mapping=map, split=split, skip_bad_rows=skip_bad_rows
    )
    queries = None if query_data is None else as_corpus(query_data)
    lm = next((m for m in (given, base) if isinstance(m, LanguageModel)), None)
    with evaluating(lm.model) if lm else nullcontext():
        if lm is not None:
            check_model(lm)
        with nullcontext(Path(run)) if run is not None else new_run() as folder:
            summary = pipeline.scan(
                corpus,
                folder,
                chosen,
                model=given,
                base_model=base,
                proxy=proxy,
                queries=queries,
                bars=bars,
                overwrite=overwrite,
            )
    return Report(folder, summary, data, corpus, split)
