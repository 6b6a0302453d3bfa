"""Feed the readers broken and hostile files, and count what becomes of them.

.venv/bin/python benchmarks/fuzz.py --inputs 100000

Every input must end in a corpus that accounts for every record of the file and is
written back as it was, or in one line of `AssayError`. Anything else is a bug; the
result file names its kind and number, and ``--only KIND:NUMBER`` shows it. A sound
input must be read, and as it is meant. Some inputs are also edited, rendered, encoded
and planned. A run that was stopped goes on from its last chunk. tests/data/test_fuzz.py
runs a few hundred inputs.
"""

from __future__ import annotations

import atexit
import bz2
import csv
import gzip
import io
import json
import logging
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from inspect import signature
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import typer
from fuzz_inputs import KINDS, Input, made

from assay.data.corpus import Corpus, Example
from assay.data.layout import container_of
from assay.data.read import read_corpus
from assay.data.write import write_corpus
from assay.errors import AssayError

HERE = Path(__file__).parent
LONGEST_LINE = 2000
PATIENCE = 20
CHUNK = 1000
TWO_WAYS = "rows if quotation marks enclose cells"
REFUSED = "refused in one line"
WRITTEN = "read and written"
READ = "read, written, edited and written in parts"
UNFIT = "read; an edit is refused in one line"
DOUBT = "read and written; a part of it is refused in one line"
# Of this many inputs one is edited and written in parts, one rendered in every template
# and encoded, and one planned.
EDITED = 4
ENCODED = 10
PLANNED = 100
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like the templates of current models: calls and tools of their own kind.
NATIVE = (
    "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} "
    "{{ c.function.arguments | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _unpacked(raw: bytes, name: str) -> bytes:
    """Unpack by other means than the reader's own, where there are some."""
    ending = Path(name).suffix.lower()
    if ending == ".gz":
        return gzip.decompress(raw) if raw else b""
    if ending == ".bz2":
        return bz2.decompress(raw)
    if ending in (".zst", ".lz4"):
        kind = {".zst": "zstd", ".lz4": "lz4"}[ending]
        with pa.CompressedInputStream(pa.BufferReader(raw), kind) as file:
            return bytes(file.read())
    return raw


def records_in(raw: bytes, name: str, payload: Any, container: str) -> int:
    """Count a file's records by other means than the reader's own."""
    if container == "parquet":
        return int(parquet.read_metadata(pa.BufferReader(raw)).num_rows) if raw else 0
    # Rows of other bytes are left out, and counted among the records all the same.
    text = _unpacked(raw, name).decode("utf-8-sig", "surrogateescape")
    if container_of(name) in ("csv", "tsv"):
        if payload is None:
            return 0
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=payload.delimiter,
            quoting=payload.quoting,
        )
        return max(0, sum(bool(cells) for cells in reader) - 1)
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return sum(bool(line.strip()) for line in text.split("\n"))
    if isinstance(whole, list):
        return len(whole)
    if container == "jsonl":
        return 1
    lists = [
        v
        for k, v in whole.items()
        if v
        and isinstance(v, list)
        and (k == "Instances" or "Definition" not in whole)
        # What else stands among a task's instances is a row that cannot be read.
        and ("Definition" in whole or all(isinstance(r, dict) for r in v))
    ]
    assert len(lists) < 2
    return sum(map(len, lists))


def count(corpus: Corpus, folder: Path) -> int:
    """Count the records of a corpus' files by other means than the reader's own."""
    if corpus.container != "shards":
        path = Path(corpus.source)
        return records_in(
            path.read_bytes(), path.name, corpus.payload, corpus.container
        )
    found = 0
    for shard in corpus.payload:
        (path,) = folder.rglob(Path(shard.name).name)
        held = records_in(path.read_bytes(), path.name, shard.payload, shard.container)
        assert held == shard.rows, (shard.name, held, shard.rows)
        found += held
    return found


def same_file(before: Path, after: Path) -> None:
    """Make sure that a file was written back as it was."""
    old, new = before.read_bytes(), after.read_bytes()
    if before.suffix.lower() == ".parquet" and old:
        tables = [
            parquet.ParquetFile(pa.BufferReader(raw)).read() for raw in (old, new)
        ]
        assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
        # Tables with NaN in them are not equal to themselves.
        assert repr(tables[0].to_pydict()) == repr(tables[1].to_pydict())
        return
    old, new = _unpacked(old, before.name), _unpacked(new, after.name)
    assert old == new, f"not written as it was: {before.name}"


def told(error: AssayError, outcome: str, names: Sequence[str] = ()) -> str:
    """The outcome of a refusal, which has to be one line of some length."""
    line = str(error)
    assert "\n" not in line, line
    assert len(line) <= LONGEST_LINE, len(line)
    about = ("unknown format", "the columns format needs", *names)
    assert not names or any(name in line for name in about), line
    return outcome


def _seen(example: Example) -> Any:
    """What is read of a row, and its record as far as it can be compared."""
    return example.digest(), repr(example.record)


@dataclass
class Check:
    """What is done with one input."""

    input: Input
    folder: Path
    rng: Random
    edit: bool = True
    encode: bool = False
    plan: bool = False

    def __post_init__(self) -> None:
        """Write the files."""
        for name, raw in self.input.files.items():
            path = self.folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
        self.source = self.folder / "in" / self.input.source

    def written(self, corpus: Corpus) -> Path:
        """Write a corpus under another name."""
        name = "out" if corpus.container == "shards" else f"out{corpus.suffix}"
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        return write_corpus(corpus, path)

    def again(self, corpus: Corpus, path: Path) -> Corpus:
        """Read what was written, as what it was taken for."""
        return read_corpus(
            path,
            format=corpus.format,
            mapping=corpus.mapping,
            skip_bad_rows=self.input.options.get("skip_bad_rows", False),
        )

    def run(self) -> str:
        """Read, write, edit, render and encode; raise where a promise breaks."""
        outcome = self._of_data()
        if self.plan:
            outcome += f"; plan {self._planned(outcome)}"
        return outcome

    def _of_data(self) -> str:
        try:
            corpus = read_corpus(self.source, **self.input.options)
        except AssayError as error:
            self._may_refuse(error)
            return told(error, REFUSED, [str(self.source), str(self.source.parent)])
        self._whole(corpus)
        self._as_meant(corpus)
        path = self.written(corpus)
        if corpus.container == "shards":
            for shard in corpus.payload:
                (before,) = self.folder.joinpath("in").rglob(Path(shard.name).name)
                same_file(before, path / shard.name)
        else:
            same_file(self.source, path)
        for example in corpus.examples:
            self._earlier(example)
        if self.encode:
            self._rendered(corpus)
        if not self.edit:
            return WRITTEN
        try:
            self._parts(corpus)
        except AssayError as error:
            # Without the row that gave it away, quoting may look like text; or a
            # column that is named stands in no other row.
            if not (TWO_WAYS in str(error) or self.input.changes):
                raise
            return told(error, DOUBT)
        return self._edited(corpus)

    def _may_refuse(self, error: AssayError) -> None:
        if self.input.meant is not None:
            raise AssertionError(f"a sound file is refused: {error}") from error

    def _whole(self, corpus: Corpus) -> None:
        held = count(corpus, self.folder / "in")
        rows = [e.row for e in corpus.examples]
        left = [row.row for row in corpus.left_out]
        assert rows == sorted(rows)
        assert sorted(rows + left) == list(range(held)), (rows, left, held)
        assert len({e.id for e in corpus.examples}) == len(corpus)
        for row in corpus.left_out:
            told(AssayError(row.reason), "")
        for e in corpus.examples:
            seen = (e.text, e.response, e.instruction, e.id, e.system, e.tools, e.task)
            for turn in (*e.before, *e.following):
                seen += (turn.said, turn.name, turn.call_id)
            "".join((*seen, e.rejected or "", *e.alternatives)).encode()

    def _as_meant(self, corpus: Corpus) -> None:
        if self.input.meant is None:
            return
        read = {e.row: (e.text, e.response, e.system) for e in corpus.examples}
        for row, expected in enumerate(self.input.meant):
            assert read.get(row) == expected, (row, read.get(row), expected)
        assert not any(row.is_bad for row in corpus.left_out)

    def _parts(self, corpus: Corpus) -> None:
        """A part and the rest of it hold all rows."""
        if "bytes" in self.input.changes and any(r.is_bad for r in corpus.left_out):
            # Without the rows between them, broken lines may make a whole.
            return
        flags = [self.rng.random() < 0.5 for _ in corpus.examples]
        seen: list[Any] = []
        for side in (True, False):
            part = corpus.select(i for i, flag in enumerate(flags) if flag is side)
            path = self.written(part)
            if not len(part):
                continue
            again = self.again(corpus, path)
            assert len(again.left_out) == len(corpus.left_out)
            seen += map(_seen, again.examples)
        assert Counter(seen) == Counter(map(_seen, corpus.examples))
        if len(corpus) > 1 and not corpus.left_out and corpus.container != "shards":
            turned = corpus.select(range(len(corpus))[::-1])
            again = self.again(corpus, self.written(turned))
            assert list(map(_seen, again.examples)) == list(map(_seen, turned.examples))

    def _edited(self, corpus: Corpus) -> str:
        """An edit of one row changes that row alone, and is read again."""
        at = self.rng.randrange(len(corpus))
        row = corpus.examples[at].row
        parts = self.rng.choice((("text",), ("response",), ("text", "response")))
        new = {
            p: f"new {p} {self.rng.choice(('7', 'é x', '[0], {}', '天気'))}"
            for p in parts
        }
        if corpus.examples[at].text == "" and "text" in new and self.input.changes:
            new.pop("text")
            new["response"] = "new response"
        edited = corpus.map(lambda e: e.edit(**new) if e.row == row else e)
        try:
            path = self.written(edited)
        except AssayError as error:
            if corpus.container != "parquet":
                self._may_refuse(error)
            return told(error, UNFIT)
        again = self.again(corpus, path)
        assert len(again) == len(corpus)
        assert len(again.left_out) == len(corpus.left_out)
        for before, wanted, after in zip(
            corpus.examples, edited.examples, again.examples, strict=True
        ):
            if wanted.row == row:
                read = (after.text, after.response, after.rejected, after.instruction)
                kept = (before.rejected, before.instruction)
                if "request" in self.input.changes:
                    kept = read[2:]
                assert read == (wanted.text, wanted.response, *kept), (
                    read,
                    wanted,
                    kept,
                )
                others = [
                    (e.history, e.steps, e.following, e.system, e.tools, e.alternatives)
                    for e in (before, after)
                ]
                # What is asked for may give one field two meanings.
                assert others[0] == others[1] or "request" in self.input.changes
            else:
                assert _seen(before) == _seen(after)
        if corpus.container in ("jsonl", "json", "csv", "tsv"):
            self._one_place(corpus, row, path)
        return READ

    def _one_place(self, corpus: Corpus, row: int, path: Path) -> None:
        """Everything outside a row's own text is as it was."""
        raws = [_unpacked(p.read_bytes(), p.name) for p in (self.source, path)]
        old, new = (raw.decode("utf-8", "surrogateescape") for raw in raws)
        raw = corpus.payload.rows[row]
        pairs = list(zip(old, new, strict=False))
        front = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        rest = list(zip(old[front:][::-1], new[front:][::-1], strict=False))
        back = next((i for i, (a, b) in enumerate(rest) if a != b), len(rest))
        changed = old[front : len(old) - back]
        assert len(changed) <= len(raw), (changed, raw)
        assert sum(map(len, corpus.payload.rows[:row])) <= front

    def _earlier(self, example: Example) -> None:
        for earlier in example.earlier_answers:
            assert earlier.response or earlier.response == ""
            earlier.digest()
        trained = sum(t.trained for t in (*example.history, *example.steps))
        assert len(example.earlier_answers) == trained

    def _rendered(self, corpus: Corpus) -> None:
        from assay.models.encode import IGNORED, encode
        from assay.models.templates import (
            TEMPLATES,
            framed,
            render_answer,
            render_prompt,
        )

        lm = _language_model()
        for example in corpus.examples:
            turns = (*example.history, *example.steps)
            for chat_template in (None, CHATML, NATIVE):
                lm.tokenizer.chat_template = chat_template
                names = ["chat", "auto"] if chat_template else ["auto", *TEMPLATES]
                for name in names:
                    try:
                        prompt = render_prompt(example, lm.tokenizer, name)
                        answer = render_answer(example, lm.tokenizer, name)
                    except AssayError as error:
                        self._may_refuse(error)
                        told(error, REFUSED)
                        continue
                    if example.frame is None:
                        for said in (example.text, *(t.content for t in turns)):
                            assert said in prompt, (name, said, prompt)
                        assert example.calls or answer == example.response
            if example.frame is not None and corpus.format == "text":
                field = corpus.mapping.get("text", "text")
                raw = example.record[field]
                whole = raw[0] if isinstance(raw, list) else str(raw)
                assert whole.startswith(framed(example) + example.response)
        for chat_template in (None, CHATML):
            lm.tokenizer.chat_template = chat_template
            for all_answers in (False, True):
                try:
                    found = encode(
                        corpus.examples, lm, max_length=4096, all_answers=all_answers
                    )
                except AssayError as error:
                    if "rows are longer than" not in str(error):
                        self._may_refuse(error)
                    told(error, REFUSED)
                    continue
                rows = {e.row for e in found.examples}
                assert rows == {e.row for e in corpus.examples}
                for one in found.examples:
                    assert len(one.labels) == len(one.input_ids) <= 4096
                    assert one.labels[0] == IGNORED
                    assert one.labels[-1] != IGNORED

    def _planned(self, outcome: str) -> str:
        from assay.cli import run
        from assay.cli.plan import plan_command as plan

        options = self.input.options
        words = ["plan", str(self.source), "--model", str(_model_folder())]
        words += ["--out", str(self.folder / "run")]
        words += ["--format", options["format"]] if "format" in options else []
        for part, name in options.get("mapping", {}).items():
            words += ["--map", f"{part}={name}"]
        if (
            options.get("skip_bad_rows")
            and "skip_bad_rows" in signature(plan).parameters
        ):
            words.append("--skip-bad-rows")
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said):
            status = run(words)
        quiet()
        assert status in (0, 2), (status, said.getvalue()[-500:])
        assert "Traceback" not in said.getvalue()
        assert not (self.folder / "run").exists()
        if status == 2 and outcome != REFUSED and "mapping" not in options:
            return "refused after reading"
        return "fits" if status == 0 else "refuses"


def quiet() -> None:
    """Let nothing be logged; what is logged is the command line's matter."""
    log = logging.getLogger("assay")
    log.handlers, log.propagate = [logging.NullHandler()], False


@cache
def _language_model() -> Any:
    from fuzz_records import NASTY, WORDS

    from assay.models.tiny import tiny_causal

    return tiny_causal([*WORDS, *(n for n in NASTY if n.isascii())], width=16, layers=1)


@cache
def _model_folder() -> Path:
    from assay.models import load

    folder = Path(tempfile.mkdtemp(prefix="fuzz-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lm = _language_model()
    lm.tokenizer.chat_template = None
    load.save_model(lm, folder / "model")
    # What is planned is the data; the model is the same every time.
    load.load_model = cache(load.load_model)
    return folder / "model"


def check(
    found: Input,
    folder: Path,
    seed: str,
    *,
    edit: bool = True,
    encode: bool = False,
    plan: bool = False,
) -> str:
    """Say what becomes of an input; an error where a promise is broken."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Check(found, folder, Random(seed), edit, encode, plan).run()


@contextmanager
def patient() -> Iterator[None]:
    """End what hangs."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def parts(number: int) -> dict[str, bool]:
    """Say which of the dearer checks an input goes through."""
    return {
        "edit": number % EDITED == 0,
        "encode": number % ENCODED == 0,
        "plan": number % PLANNED == 0,
    }


def one(kind: str, seed: int, number: int, folder: Path) -> tuple[Input, str]:
    """Make an input, and say what becomes of it; ``BUG`` where a promise is broken."""
    found = made(kind, seed, number)
    try:
        with patient():
            outcome = check(found, folder, f"{kind}/{seed}/{number}", **parts(number))
    except Exception as error:
        outcome = f"BUG: {type(error).__name__}"
    return found, outcome


@dataclass
class Chunk:
    """What became of some inputs of a kind.

    Attributes:
        outcomes: Number of inputs by outcome.
        formats: The same by the format of the records.
        sound: The same for those that nothing was done to.
        slowest: Longest time of one input in seconds.
        seconds: Time of all.
        bugs: Numbers of the inputs that broke a promise.
    """

    outcomes: Counter[str]
    formats: dict[str, Counter[str]]
    sound: Counter[str]
    slowest: float
    seconds: float
    bugs: list[int]


def chunk(kind: str, seed: int, first: int, size: int) -> Chunk:
    """Check inputs of a kind."""
    quiet()
    found = Chunk(Counter(), {}, Counter(), 0.0, 0.0, [])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        _model_folder()
        for number in range(first, first + size):
            start = time.perf_counter()
            made_, outcome = one(kind, seed, number, Path(work) / "one")
            seconds = time.perf_counter() - start
            found.outcomes[outcome] += 1
            found.formats.setdefault(made_.format, Counter())[outcome] += 1
            found.sound[outcome] += made_.meant is not None
            found.slowest = max(found.slowest, seconds)
            found.seconds += seconds
            if outcome.startswith("BUG"):
                found.bugs.append(number)
    return found


def worker() -> ProcessPoolExecutor:
    """Start another process: a library that crashes takes that along, not this one."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _done(path: Path) -> Chunk | None:
    if not path.is_file():
        return None
    held = json.loads(path.read_text())
    return Chunk(
        Counter(held["outcomes"]),
        {name: Counter(c) for name, c in held["formats"].items()},
        Counter(held["sound"]),
        held["slowest"],
        held["seconds"],
        held["bugs"],
    )


def _split(outcomes: Counter[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Outcomes of the data, and of the plans."""
    data: Counter[str] = Counter()
    plans: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        of_data, _, of_plan = outcome.partition("; plan ")
        data[of_data] += number
        if of_plan:
            plans[of_plan] += number
    return dict(data.most_common()), dict(plans.most_common())


def run_all(inputs: int, seed: int, work: Path) -> tuple[dict[str, list[Chunk]], int]:
    """Check inputs of all kinds in turn, going on from the chunks that are there."""
    chunks: dict[str, list[Chunk]] = {kind: [] for kind in KINDS}
    left = {kind: inputs // len(KINDS) for kind in KINDS}
    left["jsonl"] += inputs % len(KINDS)
    first = 0
    died = 0
    pool = worker()
    while any(left.values()):
        for kind in KINDS:
            size = min(CHUNK, left[kind])
            left[kind] -= size
            if not size:
                continue
            path = work / f"{seed}-{kind}-{first}-{size}.json"
            found = _done(path)
            if found is None:
                try:
                    found = pool.submit(chunk, kind, seed, first, size).result()
                except BrokenProcessPool:
                    died += 1
                    pool = worker()
                    continue
                path.write_text(json.dumps(vars(found)))
                print(kind, first, found.bugs, dict(found.outcomes), flush=True)
            chunks[kind].append(found)
        first += CHUNK
    pool.shutdown()
    return chunks, died


def main(
    inputs: int = 100_000,
    seed: int = 0,
    out: Path = HERE / "results" / "fuzz.json",
    work: Path = HERE / "work" / "fuzz",
    only: str = typer.Option("", help="One input, as KIND:NUMBER; shows what breaks."),
) -> None:
    """Run and write the result file. Exit status 1 when a promise was broken."""
    if only:
        kind, _, number = only.partition(":")
        found = made(kind, seed, int(number))
        print(found)
        at = f"{kind}/{seed}/{number}"
        print(check(found, Path(work) / "one", at, **parts(int(number))))
        return
    from provenance import provenance

    from assay.util.files import write_json

    work.mkdir(parents=True, exist_ok=True)
    chunks, died = run_all(inputs, seed, work)
    every = [c for found in chunks.values() for c in found]
    total = sum((c.outcomes for c in every), Counter[str]())
    outcomes, plans = _split(total)
    formats: dict[str, Counter[str]] = {}
    for c in every:
        for name, counted in c.formats.items():
            formats.setdefault(name, Counter()).update(counted)
    bugs = sum(len(c.bugs) for c in every) + died
    write_json(
        out,
        {
            **provenance(),
            "seed": seed,
            "inputs": sum(total.values()),
            "checks": (
                "every input: read, counted, written back; one of "
                f"{EDITED}: edited and written in parts as well; one of {ENCODED}: "
                f"rendered in every template and encoded; one of {PLANNED}: assay plan"
            ),
            "outcomes": outcomes,
            "plans": plans,
            "sound": _split(sum((c.sound for c in every), Counter[str]()))[0],
            "by_kind": {
                kind: _split(sum((c.outcomes for c in found), Counter[str]()))[0]
                for kind, found in chunks.items()
            },
            "by_format": {name: _split(c)[0] for name, c in sorted(formats.items())},
            "bugs": bugs,
            "bugs_at": {k: [n for c in f for n in c.bugs] for k, f in chunks.items()},
            "slowest_input_seconds": round(max(c.slowest for c in every), 2),
            "inputs_per_second": round(
                sum(total.values()) / sum(c.seconds for c in every), 1
            ),
        },
    )
    raise typer.Exit(int(bugs > 0))


if __name__ == "__main__":
    typer.run(main)
