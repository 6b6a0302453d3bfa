"""The sentiment task of the demo and the benchmarks."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from assay.data.corpus import Corpus, Example
from assay.data.generated import generated_reviews
from assay.errors import AssayError

INSTRUCTION = "Classify the sentiment of the movie review as positive or negative."
LABELS = ("negative", "positive")


def _read_tsv(path: Path) -> list[tuple[str, str]]:
    pairs = []
    # SST-2 keeps bare quotation marks, so the file must be read unquoted.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in table:
            text, label = row["sentence"], row["label"]
            if label not in ("0", "1"):
                raise AssayError(
                    f"{path}:{table.line_num}: label {label!r}, expected 0 or 1"
                )
            pairs.append((text.strip(), LABELS[int(label)]))
    return pairs


def _corpus(pairs: list[tuple[str, str]], prefix: str, source: str) -> Corpus:
    examples = []
    for row, (text, label) in enumerate(pairs):
        record = {"task": "sentiment", "instruction": INSTRUCTION}
        record |= {"input": text, "output": label}
        examples.append(
            Example(
                f"{prefix}-{row}",
                row,
                INSTRUCTION,
                text,
                label,
                task="sentiment",
                record={"id": f"{prefix}-{row}", **record},
            )
        )
    return Corpus(tuple(examples), "alpaca", "jsonl", source)


def load_sentiment(
    sst2: Path | None, *, train_rows: int = 1000, test_rows: int = 400, seed: int = 0
) -> tuple[Corpus, Corpus]:
    """Draw a training and a test corpus of movie reviews.

    Args:
        sst2: Folder with ``train.tsv`` and ``dev.tsv`` (columns ``sentence`` and
            ``label``); without one, reviews come from a generator in the package.
        train_rows: Rows to draw from the training file, half of each label.
        test_rows: Rows to draw from the development file, half of each label.
        seed: Seed of the draw.

    Raises:
        AssayError: The folder lacks a file or has too few rows.
    """
    if sst2 is None:
        pairs = generated_reviews(train_rows + test_rows, seed)
        train, test = pairs[:train_rows], pairs[train_rows:]
        return (
            _corpus(train, "train", "generated reviews"),
            _corpus(test, "test", "generated reviews"),
        )
    drawn = []
    for name, count in (("train", train_rows), ("dev", test_rows)):
        path = sst2 / f"{name}.tsv"
        try:
            pairs = _read_tsv(path)
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise AssayError(
                f"{path}: expected tab-separated columns sentence and label ({error})"
            ) from None
        rng = random.Random(f"{seed}:{name}")
        chosen = []
        for label in LABELS:
            rows = [p for p in pairs if p[1] == label]
            if len(rows) < count // 2:
                raise AssayError(f"{path}: fewer than {count // 2} {label} rows")
            chosen += rng.sample(rows, count // 2)
        rng.shuffle(chosen)
        drawn.append(_corpus(chosen, name, str(path)))
    return drawn[0], drawn[1]
