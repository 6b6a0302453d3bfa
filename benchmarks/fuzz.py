"""Feed the readers broken and hostile files, and count what becomes of them.

.venv/bin/python benchmarks/fuzz.py --inputs 100000

Every input must end in a corpus that accounts for every record of the file and is
written back as it was, or in one line of `AssayError`. Anything else is a bug, and the
input is kept in the work folder. tests/data/test_fuzz.py runs a few hundred of them.
"""

from __future__ import annotations

import csv
import io
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as parquet
import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from assay.data.corpus import Corpus
from assay.data.formats import FORMATS, parse, render
from assay.data.read import read_corpus
from assay.data.write import write_corpus
from assay.errors import AssayError

HERE = Path(__file__).parent
MAPPING = {"text": "q", "response": "a"}
SUFFIXES = ("jsonl", "json", "csv", "tsv", "parquet")
LONGEST_LINE = 2000
PATIENCE = 20
TWO_WAYS = "rows if quotation marks enclose cells"
CHUNK = 2500

NASTY = st.sampled_from(
    [
        "",
        " ",
        "\x00",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\ufeff",
        "\u2028",
        "\u0085",
        "\x1b[31m",
        "\u202e",
        "\ud800",
        '"',
        "'",
        ",",
        "\\",
        "<script>",
        "[/bold]",
        "NaN",
        "null",
        "-0",
        "1e999",
        "a\tb\nc",
        "\U0001f600",
    ]
)
texts = st.one_of(st.text(max_size=12), NASTY, st.lists(NASTY).map("".join))
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**4000), 2**63, 1e308, 5e-324]),
)
leaves = st.one_of(texts, numbers, st.none(), st.booleans())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)
# Mostly what belongs there, so that more than the first check is reached.
likely = st.one_of(texts, texts, texts, values)


def _turns(who: str, what: str) -> st.SearchStrategy[Any]:
    roles = st.sampled_from(["system", "user", "assistant", "human", "gpt", "tool"])
    turn = st.fixed_dictionaries({who: st.one_of(roles, likely), what: likely})
    good = st.tuples(likely, likely).map(
        lambda t: [{who: "user", what: t[0]}, {who: "assistant", what: t[1]}]
    )
    return st.one_of(good, good, st.lists(st.one_of(turn, values), max_size=4))


_instance = st.one_of(
    st.fixed_dictionaries({"input": likely, "output": likely}, optional={"id": values}),
    values,
)
extra = st.dictionaries(texts, values, max_size=2)
SHAPES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "alpaca": st.fixed_dictionaries(
        {"instruction": likely, "output": likely},
        optional={"input": likely, "id": values, "task": values},
    ),
    "messages": st.fixed_dictionaries({"messages": _turns("role", "content")}),
    "sharegpt": st.fixed_dictionaries({"conversations": _turns("from", "value")}),
    "prompt-completion": st.fixed_dictionaries(
        {"prompt": likely, "completion": likely}, optional={"id": values}
    ),
    "sni": st.fixed_dictionaries(
        {"Definition": likely},
        optional={
            "Positive Examples": st.lists(_instance, max_size=2),
            "Instance": _instance,
            "Instances": st.lists(_instance, max_size=2),
        },
    ),
    "columns": st.fixed_dictionaries({"q": likely, "a": likely}),
}
shaped = st.tuples(st.one_of(*SHAPES.values()), extra).map(lambda t: {**t[1], **t[0]})
records = st.one_of(shaped, shaped, shaped, st.dictionaries(texts, values, max_size=3))
tables = st.one_of(
    *[st.lists(shape, min_size=1, max_size=4) for shape in SHAPES.values()],
    st.lists(records, max_size=4),
)
ENDINGS = st.sampled_from(
    ["\n", "\n", "\n", "\n", "\r\n", "\r\n", "\r", "\n\n", "\u2028"]
)


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    pieces = [draw(st.sampled_from(["", "", "", "\ufeff", "\n"]))]
    for record in draw(tables):
        line = json.dumps(record, ensure_ascii=draw(st.booleans()))
        if len(line) > 2 and draw(st.integers(0, 9)) == 0:
            # A key that stands twice.
            line = '{"output": "twice", "prompt": 1, ' + line[1:]
        pieces += [draw(st.sampled_from(["", "", " ", "\t"])), line, draw(ENDINGS)]
    return "".join(pieces).encode("utf-8", draw(_errors))


@st.composite
def json_lists(draw: st.DrawFn) -> bytes:
    indent = draw(st.sampled_from([None, None, 0, 2, "\t"]))
    text = json.dumps(draw(tables), indent=indent, ensure_ascii=draw(st.booleans()))
    before = draw(st.sampled_from(["", "", "\ufeff", " ", "\n", "\u2028"]))
    after = draw(st.sampled_from(["", "", "\n", "\x00", ",", "[]"]))
    return (before + text + after).encode("utf-8", draw(_errors))


_errors = st.sampled_from(["surrogatepass", "replace"])


def separated(delimiter: str) -> st.SearchStrategy[bytes]:
    @st.composite
    def made(draw: st.DrawFn) -> bytes:
        known = [["prompt", "completion"], ["instruction", "input", "output"]]
        known += [["q", "a"], ["id", "prompt", "completion"], ["prompt", "completion"]]
        odd = st.lists(texts, max_size=3)
        head = draw(st.one_of(*[st.just(h) for h in known], odd))
        width = len(head)
        row = st.lists(texts, min_size=width, max_size=width)
        ragged = st.one_of(row, row, row, st.lists(texts, max_size=4))
        rows = draw(st.one_of(*[st.lists(r, max_size=4) for r in (row, row, ragged)]))
        ending = draw(ENDINGS)
        if draw(st.integers(0, 3)) == 0:
            lines = [delimiter.join(cells) for cells in [head, *rows]]
            text = ending.join(lines)
        else:
            file = io.StringIO(newline="")
            quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
            csv.writer(
                file, delimiter=delimiter, lineterminator=ending, quoting=quoting
            ).writerows([head, *rows])
            text = file.getvalue()
        mark = draw(st.sampled_from(["", "", "\ufeff"]))
        return (mark + text).encode("utf-8", draw(_errors))

    return made()


def _strings(rows: int) -> st.SearchStrategy[Any]:
    plain = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
    full = st.lists(plain, min_size=rows, max_size=rows)
    some = st.lists(st.one_of(plain, st.none()), min_size=rows, max_size=rows)
    return st.one_of(full, full, full, some).map(
        lambda cells: pa.array(cells, pa.string())
    )


def _broken_strings(rows: int) -> st.SearchStrategy[Any]:
    cells = st.lists(st.binary(max_size=6), min_size=rows, max_size=rows)
    return cells.map(lambda c: pa.array(c, pa.binary()).view(pa.string()))


def _columns(rows: int) -> st.SearchStrategy[Any]:
    def made(inner: st.SearchStrategy[Any], kind: Any) -> st.SearchStrategy[Any]:
        cells = st.lists(st.one_of(inner, st.none()), min_size=rows, max_size=rows)
        return cells.map(lambda c: pa.array(c, kind))

    whole = st.integers(-(2**63), 2**63 - 1)
    turn = st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", ""]),
            "content": st.one_of(st.none(), st.just("hi"), st.just("é")),
        }
    )
    turn_type = pa.struct([("role", pa.string()), ("content", pa.string())])
    decimals = st.decimals(-(10**9), 10**9, places=2, allow_nan=False)
    return st.one_of(
        _strings(rows),
        _strings(rows),
        _strings(rows),
        _strings(rows).map(lambda a: a.dictionary_encode()),
        _strings(rows).map(lambda a: a.cast(pa.large_string())),
        _broken_strings(rows),
        made(whole, pa.int64()),
        made(whole, pa.timestamp("us")),
        made(whole, pa.timestamp("us", "Europe/Nowhere")),
        made(whole, pa.duration("ns")),
        made(st.floats(), pa.float64()),
        made(st.booleans(), pa.bool_()),
        made(decimals, pa.decimal128(20, 2)),
        made(st.datetimes(datetime(1, 1, 1)), pa.timestamp("us")),
        made(st.binary(max_size=5), pa.binary()),
        made(st.timedeltas(timedelta(0), timedelta(9)), pa.duration("us")),
        made(st.lists(turn, max_size=3), pa.list_(turn_type)),
        made(
            st.lists(st.tuples(st.just("k"), whole), max_size=2),
            pa.map_(pa.string(), pa.int64()),
        ),
        st.just(pa.nulls(rows)),
    )


@st.composite
def parquets(draw: st.DrawFn) -> bytes:
    rows = draw(st.integers(0, 4))
    known = [["prompt", "completion"], ["instruction", "input", "output", "id"]]
    known += [["prompt", "completion", "x"], ["messages"], ["q", "a", "x"]]
    odd = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=3))
    names = draw(st.one_of(*[st.just(n) for n in known], odd))
    likely = st.one_of(_strings(rows), _strings(rows), _columns(rows))
    columns = [draw(likely) for _ in names]
    table = pa.Table.from_arrays(columns, names=names)
    sink = io.BytesIO()
    parquet.write_table(
        table,
        sink,
        compression=draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        row_group_size=draw(st.sampled_from([1, 2, 100])),
        version=draw(st.sampled_from(["1.0", "2.6"])),
    )
    return sink.getvalue()


TOKENS = st.sampled_from(
    [
        b"\x00",
        b"\xff",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b'"',
        b"\n",
        b"\r",
        b"\t",
        b",",
        b"{",
        b"}",
        b"]",
        b"[" * 2000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"-Infinity",
        b"PAR1",
        b"\x7f\xff\xff\xff",
    ]
)


@st.composite
def mutated(draw: st.DrawFn, kind: st.SearchStrategy[bytes]) -> bytes:
    raw = draw(kind)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 4]))):
        at = draw(st.integers(0, len(raw)))
        to = draw(st.integers(at, min(len(raw), at + 40)))
        way = draw(st.integers(0, 6))
        if way == 0:
            raw = raw[:at]
        elif way == 1 and at < len(raw):
            byte = draw(st.integers(0, 255))
            raw = raw[:at] + bytes([byte]) + raw[at + 1 :]
        elif way == 2:
            raw = raw[:at] + draw(TOKENS) + raw[at:]
        elif way == 3:
            raw = raw[:at] + raw[to:]
        elif way == 4:
            raw = raw[:to] + raw[at:to] + raw[to:]
        elif way == 5:
            coding = draw(st.sampled_from(["utf-16", "utf-32", "latin-1", "utf-7"]))
            raw = raw.decode("utf-8", "replace").encode(coding, "replace")
        elif raw.endswith(b"PAR1") and len(raw) > 60:
            # The footer is where a Parquet file says what it is.
            place = len(raw) - draw(st.integers(1, 60))
            raw = raw[:place] + draw(st.binary(min_size=1, max_size=2)) + raw[place:]
    return raw


KINDS: dict[str, st.SearchStrategy[bytes]] = {
    "jsonl": mutated(json_lines()),
    "json": mutated(json_lists()),
    "csv": mutated(separated(",")),
    "tsv": mutated(separated("\t")),
    "parquet": mutated(parquets()),
}
requests = st.one_of(
    st.just({}),
    st.just({}),
    st.just({"mapping": MAPPING}),
    st.sampled_from(FORMATS).map(lambda f: {"format": f}),
    st.sampled_from(FORMATS).map(lambda f: {"format": f, "mapping": MAPPING}),
)


def records_in(path: Path, corpus: Corpus) -> int:
    """Count a file's records by other means than the reader's own."""
    if corpus.container == "parquet":
        return int(parquet.read_metadata(path).num_rows)
    text = path.read_bytes().decode("utf-8-sig")
    if corpus.container == "jsonl":
        return sum(bool(line.strip()) for line in text.encode().split(b"\n"))
    if corpus.container == "json":
        return len(json.loads(text))
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if corpus.container == "tsv" else ",",
        quoting=corpus.payload.quoting,
    )
    return sum(bool(cells) for cells in reader) - 1


def _held(corpus: Corpus) -> list[str]:
    return [repr(e.record) for e in corpus.examples]


def _shouted(corpus: Corpus, row: int) -> Corpus:
    def edit(example: Any) -> Any:
        return example.edit(text=example.text + "!") if example.row == row else example

    return corpus.map(edit)


def told(error: AssayError, outcome: str) -> str:
    """The outcome of a refusal, which has to be one line of some length."""
    line = str(error)
    assert "\n" not in line, line
    assert len(line) <= LONGEST_LINE, len(line)
    return outcome


def check_file(path: Path, **request: Any) -> str:
    """Read, write and read again; an error where a promise is broken."""
    try:
        corpus = read_corpus(path, **request)
    except AssayError as error:
        return told(error, "refused in one line")
    assert len(corpus) == records_in(path, corpus)
    assert [e.row for e in corpus.examples] == list(range(len(corpus)))
    assert len({e.id for e in corpus.examples}) == len(corpus)
    for example in corpus.examples:
        (example.text + example.response + example.instruction + example.id).encode()
    known = {"format": corpus.format, "mapping": corpus.mapping}
    out = path.with_name("out" + path.suffix)
    write_corpus(corpus, out)
    assert _held(read_corpus(out, **known)) == _held(corpus)
    if corpus.container == "jsonl":
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        written = [line for line in out.read_bytes().split(b"\n") if line.strip()]
        assert written == lines
    order = list(range(len(corpus)))[::-1]
    write_corpus(corpus.select(order), out)
    try:
        turned = read_corpus(out, **known)
    except AssayError as error:
        # Without the row that gave it away, quoting may look like text.
        if corpus.container == "tsv" and TWO_WAYS in str(error):
            return told(error, "read and written; quoting is in doubt then")
        raise
    assert _held(turned) == _held(corpus)[::-1]
    last = len(corpus) - 1
    edited = _shouted(corpus, last)
    try:
        write_corpus(edited, out)
    except AssayError as error:
        return told(error, "read; an edit is refused in one line")
    again = read_corpus(out, **known)
    assert again.examples[last].text == edited.examples[last].text
    assert _held(again)[:-1] == _held(corpus)[:-1]
    return "read, written and edited"


def check_record(record: dict[str, Any], format: str) -> str:
    """Parse one record and write an edit back."""
    try:
        example = parse(record, 0, format, MAPPING, "f:1")
    except AssayError as error:
        return told(error, "refused in one line")
    assert render(example, format, MAPPING) is record
    edited = example.edit(text=example.text + "!", response=example.response + "?")
    again = parse(render(edited, format, MAPPING), 0, format, MAPPING, "f:1")
    assert (again.text, again.response) == (edited.text, edited.response)
    return "read, written and edited"


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


def _run(inputs: int, seed: int, test: Callable[..., None], *drawn: Any) -> None:
    hypothesis.seed(seed)(
        settings(
            max_examples=inputs,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(given(*drawn)(test))
    )()


def chunk(kind: str, inputs: int, seed: int, work: Path) -> tuple[Counter[str], float]:
    """Outcomes of one kind's inputs, and the longest time one took."""
    found: Counter[str] = Counter()
    slowest = [0.0]

    def note(check: Callable[[], str], raw: bytes) -> None:
        start = time.perf_counter()
        try:
            with patient():
                outcome = check()
        except Exception as error:
            outcome = f"BUG: {type(error).__name__}"
            (work / f"{outcome[5:]}-{seed}-{sum(found.values())}.{kind}").write_bytes(
                raw
            )
        found[outcome] += 1
        slowest[0] = max(slowest[0], time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data.{kind}"

        def of_file(raw: bytes, request: dict[str, Any]) -> None:
            path.write_bytes(raw)
            note(partial(check_file, path, **request), raw + repr(request).encode())

        def of_record(record: dict[str, Any], format: str) -> None:
            raw = repr((record, format)).encode("utf-8", "surrogatepass")
            note(partial(check_record, record, format), raw)

        if kind == "record":
            _run(inputs, seed, of_record, records, st.sampled_from(FORMATS))
        else:
            _run(inputs, seed, of_file, KINDS[kind], requests)
    return found, slowest[0]


def main(
    inputs: int = 100_000,
    seed: int = 0,
    out: Path = HERE / "results" / "fuzz.json",
    work: Path = HERE / "work" / "fuzz",
) -> None:
    """Run and write the result file. Exit status 1 when a promise was broken."""
    from provenance import provenance

    from assay.files import write_json

    work.mkdir(parents=True, exist_ok=True)
    kinds = [*KINDS, "record"]
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    slowest = 0.0
    start = time.perf_counter()
    left = {kind: inputs // len(kinds) for kind in kinds}
    left["record"] += inputs % len(kinds)
    for number in count():
        kind = kinds[number % len(kinds)]
        size = min(CHUNK, left[kind])
        if not any(left.values()):
            break
        if not size:
            continue
        left[kind] -= size
        # A library that crashes takes its process along, not this one.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                found, longest = pool.submit(
                    chunk, kind, size, seed * 10_000 + number, work
                ).result()
            except BrokenProcessPool:
                found, longest = Counter({"BUG: the process died": 1}), 0.0
        outcomes[kind] += found
        slowest = max(slowest, longest)
        print(f"{kind}: {dict(found)}", flush=True)
    total = sum(outcomes.values(), Counter[str]())
    bugs = sum(n for outcome, n in total.items() if outcome.startswith("BUG"))
    write_json(
        out,
        {
            **provenance(),
            "seed": seed,
            "inputs": sum(total.values()),
            "outcomes": dict(total.most_common()),
            "by_kind": {k: dict(c.most_common()) for k, c in outcomes.items()},
            "bugs": bugs,
            "slowest_input_seconds": round(slowest, 2),
            "minutes": round((time.perf_counter() - start) / 60, 1),
        },
    )
    raise typer.Exit(int(bugs > 0))


if __name__ == "__main__":
    typer.run(main)
