import csv
import io
import json
import os
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.data.write import write_corpus
from assay.errors import AssayError

CONTAINERS = ("jsonl", "json", "csv", "tsv", "parquet", "datasets")
NESTED = tuple(c for c in CONTAINERS if c not in ("csv", "tsv"))
ROWS = [
    {"instruction": "Add.", "input": f"{i} 1", "output": str(i + 1)} for i in range(4)
]
MAPPING = {"text": "q", "response": "a"}
datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def name(container: str, stem: str = "data") -> Path:
    return Path(stem if container == "datasets" else f"{stem}.{container}")


def save(records: list[dict], container: str) -> Path:
    path = name(container)
    if container == "jsonl":
        path.write_bytes("".join(json.dumps(r) + "\n" for r in records).encode())
    elif container == "json":
        path.write_bytes(json.dumps(records).encode())
    elif container == "parquet":
        parquet.write_table(pa.Table.from_pylist(records), path)
    elif container == "datasets":
        datasets.Dataset.from_list(records).save_to_disk(str(path))
    else:
        # Python 3.11 leaves a bare carriage return unquoted, hence QUOTE_ALL.
        delimiter = "\t" if container == "tsv" else ","
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows(
                [list(records[0]), *([r[k] for k in records[0]] for r in records)]
            )
    return path


def write(content: str | bytes, to: str) -> Path:
    raw = content if isinstance(content, bytes) else content.encode()
    Path(to).write_bytes(raw)
    return Path(to)


def rewritten(corpus: Corpus) -> bytes:
    return write_corpus(corpus, name(corpus.container, "out")).read_bytes()


def shouted(corpus: Corpus, rows: set[int]) -> Corpus:
    def edit(e):
        return e.edit(text=e.text + "!", response="X") if e.row in rows else e

    return corpus.map(edit)


def chats(records: list[dict]) -> list[dict]:
    return [
        {
            "messages": [
                {"role": "system", "content": r["instruction"]},
                {"role": "user", "content": r["input"]},
                {"role": "assistant", "content": r["output"]},
            ]
        }
        for r in records
    ]


def tasks(records: list[dict]) -> list[dict]:
    return [
        {
            "Definition": [r["instruction"]],
            "Positive Examples": [{"input": "a", "output": "b"}],
            "Instance": {"input": r["input"], "output": [r["output"]]},
        }
        for r in records
    ]


SHAPES = {
    "alpaca": (lambda rows: rows, CONTAINERS),
    "prompt-completion": (
        lambda rows: [{"prompt": r["input"], "completion": r["output"]} for r in rows],
        CONTAINERS,
    ),
    "columns": (
        lambda rows: [
            {"n": str(i), "q": r["input"], "a": r["output"]} for i, r in enumerate(rows)
        ],
        CONTAINERS,
    ),
    "messages": (chats, NESTED),
    "sharegpt": (
        lambda rows: [
            {
                "conversations": [
                    {"from": t["role"], "value": t["content"]} for t in c["messages"]
                ]
            }
            for c in chats(rows)
        ],
        NESTED,
    ),
    "sni": (tasks, NESTED),
}
PAIRS = [(f, c) for f, (_, held) in SHAPES.items() for c in held]
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
records = st.lists(
    st.fixed_dictionaries(dict.fromkeys(("instruction", "input", "output"), text)),
    min_size=1,
    max_size=4,
)
few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(
    ("format", "container"), [p for p in PAIRS if p[1] != "datasets"]
)
@few
@given(rows=records, data=st.data())
def test_round_trip(format, container, rows, data):
    corpus = read_corpus(
        save(SHAPES[format][0](rows), container),
        mapping=MAPPING if format == "columns" else None,
    )
    assert (corpus.format, corpus.container) == (format, container)
    assert [e.response for e in corpus.examples] == [r["output"] for r in rows]
    edits = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    for version in (corpus, shouted(corpus, edits)):
        path = write_corpus(version, name(container, "out"))
        again = read_corpus(path, format=format, mapping=corpus.mapping)
        assert again.examples == version.examples
        assert not list(Path().glob(".*"))
        for before, after in zip(version.examples, again.examples, strict=True):
            if before.row not in edits or version is corpus:
                assert after.record == before.record
    flags = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    seen = []
    for side in (True, False):
        part = corpus.select(i for i, f in enumerate(flags) if f is side)
        path = write_corpus(part, name(container, "part"))
        if len(part):
            again = read_corpus(path, format=format, mapping=corpus.mapping)
            seen += [e.record for e in again.examples]
    assert sorted(map(repr, seen)) == sorted(repr(e.record) for e in corpus.examples)


@pytest.mark.parametrize("format", SHAPES)
def test_datasets_folder_round_trip(format):
    path = save(SHAPES[format][0](ROWS), "datasets")
    mapping = MAPPING if format == "columns" else None
    corpus = shouted(read_corpus(path, mapping=mapping), {2})
    assert read_corpus(write_corpus(corpus, Path("out")), mapping=mapping) == (
        Corpus(corpus.examples, format, "datasets", "out", corpus.mapping)
    )


@st.composite
def raw_lines(draw):
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    lines = []
    for row in draw(records):
        dumped = json.dumps(
            {"n": float("nan"), **row},
            ensure_ascii=draw(st.booleans()),
            indent=None,
            separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
        )
        lines.append(draw(st.sampled_from(["", " ", "\t"])) + dumped + ending)
    if draw(st.booleans()):
        lines[-1] = lines[-1].removesuffix(ending)
    return draw(st.sampled_from(["", "\ufeff"])), lines


@few
@given(raw=raw_lines(), data=st.data())
def test_untouched_jsonl_keeps_its_bytes(raw, data):
    mark, lines = raw
    corpus = read_corpus(write(mark + "".join(lines), "data.jsonl"))
    assert rewritten(corpus) == (mark + "".join(lines)).encode()
    edit = data.draw(st.integers(0, len(lines) - 1))
    written = rewritten(shouted(corpus, {edit})).decode().split("\n")
    assert written[edit].endswith("\r") == lines[0].endswith("\r\n")
    for i, line in enumerate(lines):
        if i != edit:
            assert written[i].removeprefix(mark if i == 0 else "") == line.strip("\n")


def csv_cell(cell: str, quote: bool, delimiter: str) -> str:
    if quote or not cell or any(c in cell for c in f'{delimiter}"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@few
@given(
    rows=st.lists(st.tuples(text, text), min_size=1, max_size=4),
    container=st.sampled_from(["csv", "tsv"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    final=st.booleans(),
    quote=st.booleans(),
    data=st.data(),
)
def test_untouched_csv_keeps_its_bytes(rows, container, ending, final, quote, data):
    delimiter = "\t" if container == "tsv" else ","
    raw = [
        delimiter.join(csv_cell(c, quote, delimiter) for c in row) + ending
        for row in rows
    ]
    if not final:
        raw[-1] = raw[-1].removesuffix(ending)
    head = f'"prompt"{delimiter}completion{ending}'
    corpus = read_corpus(write(head + "".join(raw), f"data.{container}"))
    assert [(e.text, e.response) for e in corpus.examples] == rows
    assert rewritten(corpus) == (head + "".join(raw)).encode()
    edit = data.draw(st.integers(0, len(rows) - 1))
    written = rewritten(shouted(corpus, {edit})).decode()
    before = head + "".join(raw[:edit])
    after = "".join(raw[edit + 1 :])
    assert written.startswith(before)
    assert written.endswith(after)
    shown = io.StringIO(written[len(before) : len(written) - len(after)], newline="")
    assert list(csv.reader(shown, delimiter=delimiter)) == [[rows[edit][0] + "!", "X"]]
    assert shown.getvalue().endswith(ending)


@pytest.mark.parametrize("indent", [None, 0, 2, 4, "\t"])
@pytest.mark.parametrize("ascii", [True, False])
def test_untouched_json_keeps_its_bytes(indent, ascii):
    rows = [{**r, "input": "é\u2028[1, 2]", "n": 1e22, "deep": [{}]} for r in ROWS]
    raw = json.dumps(rows, indent=indent, ensure_ascii=ascii) + "\n\n"
    corpus = read_corpus(write(raw, "data.json"))
    assert rewritten(corpus).decode() == raw
    edited = rewritten(shouted(corpus, {1})).decode()
    rows[1] |= {"input": rows[1]["input"] + "!", "output": "X"}
    assert json.loads(edited) == rows
    if indent in (2, 4, "\t") and not ascii:
        assert edited == json.dumps(rows, indent=indent, ensure_ascii=False) + "\n\n"
    assert json.loads(rewritten(corpus.select([3, 0]))) == [rows[3], rows[0]]


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_empty_selection_is_written(container):
    corpus = read_corpus(save(ROWS, container)).select([])
    path = write_corpus(corpus, name(container, "out"))
    if container == "datasets":
        data = datasets.load_from_disk(str(path))
        assert (len(data), list(data.features)) == (0, list(ROWS[0]))
    elif container == "parquet":
        table = parquet.read_table(path)
        assert (table.num_rows, table.column_names) == (0, list(ROWS[0]))
    elif container == "json":
        assert json.loads(path.read_text()) == []
    elif container == "jsonl":
        assert path.read_bytes() == b""
    else:
        head = name(container).read_text().splitlines(keepends=True)[0]
        assert path.read_text() == head
    with pytest.raises(AssayError, match=r"the file is empty|no rows in it"):
        read_corpus(path)


def test_rows_are_written_in_the_order_asked_with_a_newline_between():
    path = write(
        '{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":"d"}', "x.jsonl"
    )
    lines = path.read_bytes().split(b"\n")
    assert rewritten(read_corpus(path).select([1, 0, 1])) == b"\n".join(
        [lines[1], lines[0], lines[1]]
    )


def test_an_untouched_odd_row_is_not_normalised():
    raw = '{"instruction":"i","input":null,"output":[5]}\n'
    rest = '{"instruction": "i", "output": "\\u00e9"}\n'
    corpus = read_corpus(write(raw + "\n \n" + rest, "x.jsonl"))
    assert [e.response for e in corpus.examples] == ["5", "é"]
    assert rewritten(corpus).decode() == raw + "\n \n" + rest
    edited = '{"instruction": "i!", "output": "X"}\n'
    assert rewritten(shouted(corpus, {1})).decode() == raw + "\n \n" + edited


@pytest.mark.parametrize(
    ("suffix", "container"), [("json", "json"), ("jsonl", "jsonl")]
)
def test_json_and_json_lines_are_told_apart_by_content(suffix, container):
    other = "jsonl" if container == "json" else "json"
    raw = save(ROWS, other).read_bytes()
    corpus = read_corpus(write(b"\xef\xbb\xbf" + raw, f"odd.{suffix}"))
    assert corpus.container == other
    out = write_corpus(corpus, Path(f"out.{suffix}"))
    assert out.read_bytes() == b"\xef\xbb\xbf" + raw


def test_one_json_object_is_one_line():
    assert len(read_corpus(write(json.dumps(ROWS[0]), "x.json"))) == 1


def test_line_separators_and_deep_nesting_survive():
    deep = "[" * 400 + "]" * 400
    line = f'{{"prompt": "a\u2028b\u0085c", "completion": "d", "deep": {deep}}}\n'
    corpus = read_corpus(write(line, "x.jsonl"))
    assert corpus.examples[0].text == "a\u2028b\u0085c"
    after = rewritten(shouted(corpus, {0})).decode()
    assert json.loads(after)["deep"] == json.loads(deep)


def test_a_surrogate_outside_the_text_survives_an_edit():
    raw = '{"prompt": "é", "completion": "d", "other": "\\ud800"}\n'
    corpus = read_corpus(write(raw, "x.jsonl"))
    assert rewritten(corpus).decode() == raw
    assert json.loads(rewritten(shouted(corpus, {0})))["other"] == "\ud800"


def test_ids_are_unique_and_stable():
    own = ["a", "a", 7, "row-0", None, "row-4"]
    rows = [{"prompt": "p", "completion": "c", "id": i} for i in own]
    first = [e.id for e in read_corpus(save(rows, "jsonl")).examples]
    assert len(set(first)) == len(own)
    assert first[2:4] == ["7", "row-0"]
    assert first == [e.id for e in read_corpus("data.jsonl").examples]


def test_tsv_with_bare_quotation_marks():
    raw = 'prompt\tcompletion\n"open\t1\nsay "x"\t0\n'
    corpus = read_corpus(write(raw, "x.tsv"))
    assert [e.text for e in corpus.examples] == ['"open', 'say "x"']
    assert rewritten(shouted(corpus, {1})).decode() == raw.replace('x"\t0', 'x"!\tX')
    with pytest.raises(AssayError, match=r"out\.tsv: cannot be written \(need to esc"):
        rewritten(corpus.map(lambda e: e.edit(text="a\tb")))


def test_csv_with_an_index_column():
    raw = ",prompt,completion\n0,a,b\n"
    corpus = read_corpus(write(raw, "x.csv"))
    assert rewritten(shouted(corpus, {0})).decode() == ",prompt,completion\n0,a!,X\n"


def test_parquet_columns_keep_their_types():
    table = pa.table(
        {
            "q": pa.array(["a", "b"]).dictionary_encode(),
            "a": pa.array([0, 1], pa.int8()),
            "when": pa.array([1, 2], pa.timestamp("ns")),
            "blob": pa.array([b"\xff", None], pa.large_binary()),
            # Python's own time has no nanoseconds.
            "fine": pa.array([1, 2]).cast(pa.time64("ns")),
        }
    )
    parquet.write_table(table, "data.parquet")
    corpus = read_corpus("data.parquet", mapping=MAPPING)
    edited = corpus.map(lambda e: e.edit(text="c", response="7") if e.row else e)
    after = parquet.read_table(write_corpus(edited, Path("out.parquet")))
    assert after.schema == table.schema
    assert after["a"].to_pylist() == [0, 7]
    assert after["q"].to_pylist() == ["a", "c"]
    rest = ["when", "blob", "fine"]
    assert after.select(rest).equals(table.select(rest))
    with pytest.raises(AssayError, match="column 'a' holds int8, which an edited row"):
        write_corpus(shouted(corpus, {1}), Path("out.parquet"))
    assert parquet.read_table("out.parquet").equals(after)


def test_datasets_folder_with_splits_and_features():
    features = datasets.Features(
        {"q": datasets.Value("string"), "a": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"q": ["x", "y"], "a": [0, 1]}, features)
    datasets.DatasetDict(train=data, dev=data.select([1])).save_to_disk("data")
    assert len(read_corpus("data", mapping=MAPPING)) == 2
    corpus = read_corpus("data", mapping=MAPPING, split="dev")
    assert [e.response for e in corpus.examples] == ["1"]
    write_corpus(corpus, Path("out"))
    assert datasets.load_from_disk("out").features == features
    with pytest.raises(AssayError, match="no split 'test'; it has 'train', 'dev'"):
        read_corpus("data", mapping=MAPPING, split="test")


def test_hub_id(monkeypatch):
    def load(source, split):
        assert (source, split) == ("owner/name", "dev")
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = read_corpus("hf://owner/name", split="dev")
    assert [e.record for e in corpus.examples] == ROWS
    assert read_corpus(write_corpus(corpus, Path("out"))).examples == corpus.examples


def test_hub_id_that_does_not_load(monkeypatch):
    def load(source, split):
        raise ConnectionError("offline\nfor now")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(
        AssayError, match=r"hf://a/b: cannot be loaded from the hub: offline for now"
    ):
        read_corpus("hf://a/b")


GOOD = '{"prompt": "a", "completion": "b"}\n'
BAD = [
    ("x.jsonl", "", r"x\.jsonl: the file is empty"),
    ("x.jsonl", "\n \n", r"x\.jsonl: no rows in it"),
    ("x.json", "[ ]", r"x\.json: no rows in it"),
    ("x.csv", "prompt,completion\n", r"x\.csv: no rows in it"),
    ("x.csv", "\n\n", r"x\.csv: no rows in it"),
    ("x.txt", "a", r"x\.txt: unknown file type '\.txt'; known: \.jsonl"),
    ("x.jsonl", GOOD + "\n\n{oops\n", r"x\.jsonl:4: not valid JSON.*column 2"),
    ("x.jsonl", GOOD + "[1]\n", r"x\.jsonl:2: expected a JSON object, found list"),
    (
        "x.jsonl",
        GOOD + "\n" + '{"prompt": "a"}\n',
        r"x\.jsonl:3: field 'completion' is",
    ),
    ("x.jsonl", GOOD + "{" + '"a":[' * 10**5, r"x\.jsonl:2: not valid JSON"),
    ("x.jsonl", GOOD + "1" * 5000, r"x\.jsonl:2: not valid JSON \(Exceeds the limit"),
    (
        "x.jsonl",
        GOOD + GOOD.replace('"b"', '"\\ud800"'),
        r"x\.jsonl:2: field 'completion' has half of a surrogate pair",
    ),
    (
        "x.jsonl",
        GOOD.encode() + b'{"a": "\xe9"}',
        r"x\.jsonl:2: not UTF-8.*-f windows-1252",
    ),
    (
        "x.csv",
        "prompt,completion\na,b\n".encode("utf-16"),
        r"x\.csv:1: not .*-f utf-16",
    ),
    ("x.json", "{\n}\n", r"x\.json:1: not valid JSON.*one list of objects"),
    ("x.json", '[{"a": 1},\n {"a": }]', r"x\.json:2: not valid JSON.*column 8"),
    ("x.json", '[{"a": 1}', r"x\.json:1: not valid JSON"),
    ("x.json", '[{"a": 1} {"a": 2}]', r"x\.json:1: not valid JSON \(Expecting ','"),
    ("x.json", '[{"a": 1}, ]', r"x\.json:1: not valid JSON"),
    ("x.json", '[{"a": 1}]\n[]', r"x\.json:2: not valid JSON \(Extra data"),
    ("x.json", f"[{GOOD}, 5]", r"x\.json: row 1: expected a JSON object, found int"),
    ("x.json", "[" + "[" * 10**5, r"x\.json: row 0: not valid JSON"),
    (
        "x.json",
        f'[{GOOD}, {{"prompt": {{}}}}]',
        r"x\.json: row 1: field 'prompt' is a d",
    ),
    ("x.csv", "prompt,completion\na,b\na\n", r"x\.csv:3: 1 cells, the header has 2"),
    (
        "x.csv",
        'prompt,completion\n"a\n\nb,c\nd,e\n',
        r"x\.csv:2: malformed CSV.*quoting",
    ),
    ("x.tsv", "prompt\tcompletion\na\tb\tc\n", r"x\.tsv:2: 3 cells, the header has 2"),
    ("x.csv", "prompt,prompt\na,b\n", r"x\.csv:1: two columns are named 'prompt'"),
    ("x.csv", ",,\na,b,c\n", r"x\.csv:1: the header is empty"),
    ("x.jsonl", '{"q": 1}', r"x\.jsonl: unknown format, its fields are 'q'; name the"),
    ("x.parquet", "PAR1 no", r"x\.parquet: not a readable Parquet file"),
]


@pytest.mark.parametrize(("path", "content", "message"), BAD)
def test_bad_files(path, content, message):
    with pytest.raises(AssayError, match=message) as caught:
        read_corpus(write(content, path))
    assert "\n" not in str(caught.value)


def test_nulls_and_repeated_columns_in_tables():
    save([*ROWS, {**ROWS[0], "output": None}], "parquet")
    with pytest.raises(AssayError, match=r"parquet: row 4: field 'output' is null"):
        read_corpus("data.parquet")
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["a", "a"])
    parquet.write_table(twice, "data.parquet")
    with pytest.raises(AssayError, match=r"parquet: two columns are named 'a'"):
        read_corpus("data.parquet")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("absent.jsonl", {}, "'absent.jsonl': no such file or folder"),
        ("no/such.JSONL", {}, "'no/such.JSONL': no such file or folder"),
        ("./a/b", {}, "no such file or folder"),
        ("a" * 300 + ".jsonl", {}, "cannot be read .File name too long"),
        ("folder", {}, "folder: no data file in it"),
        ("a/b", {}, "'a/b': no such file.*; for the hub's data set write hf://a/b"),
        (
            "data.jsonl",
            {"format": "xml"},
            "unknown format 'xml'; known: preference, kto",
        ),
        ("data.jsonl", {"format": "columns"}, "needs --map text=COLUMN"),
        ("data.jsonl", {"mapping": {"text": "input"}}, "needs --map text=COLUMN"),
        ("data.jsonl", {"mapping": MAPPING}, "no column 'q'; it has 'instruction'"),
        (
            "data.jsonl",
            {"format": "sni"},
            "data.jsonl:1: field 'Instance' is not an object",
        ),
    ],
)
def test_bad_requests(source, options, message):
    save(ROWS, "jsonl")
    Path("folder").mkdir()
    with pytest.raises(AssayError, match=message):
        read_corpus(source, **options)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_failed_write_leaves_the_old_file_and_no_other(container, monkeypatch):
    path = save(ROWS, container)
    corpus = read_corpus(path)
    real = os.replace

    def replace(old, new):
        # A folder is first moved aside; what fails is the move into place.
        if str(old).endswith(".partial"):
            raise OSError(28, "No space left on device")
        real(old, new)

    monkeypatch.setattr("os.replace", replace)
    with pytest.raises(AssayError, match=r"cannot be written \(No space left"):
        write_corpus(corpus.select([0]), path)
    assert read_corpus(path).examples == corpus.examples
    assert list(Path().iterdir()) == [path]


def test_a_write_that_stops_half_way(monkeypatch):
    path = save(ROWS, "jsonl")
    corpus = read_corpus(path)
    whole = path.read_bytes()

    def pieces(*_):
        yield "half"
        assert list(Path().glob("*.partial")) or list(Path().glob(".*.partial"))
        raise KeyboardInterrupt

    monkeypatch.setattr("assay.data.write._pieces", pieces)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(corpus, path)
    assert (path.read_bytes(), list(Path().iterdir())) == (whole, [path])


def test_a_surrogate_in_an_edit_is_an_error():
    corpus = read_corpus(save(ROWS, "csv")).map(lambda e: e.edit(text="\ud800"))
    with pytest.raises(AssayError, match=r"out\.csv: cannot be written .*surrogates"):
        write_corpus(corpus, Path("out.csv"))
    assert list(Path().iterdir()) == [Path("data.csv")]


def test_where_a_corpus_cannot_go():
    table, folder = (read_corpus(save(ROWS, c)) for c in ("csv", "datasets"))
    with pytest.raises(AssayError, match=r"x\.jsonl: data\.csv is csv, and is written"):
        write_corpus(table, Path("x.jsonl"))
    with pytest.raises(AssayError, match="not a name for a file"):
        write_corpus(table, Path())
    with pytest.raises(AssayError, match=r"data\.csv/x\.csv: cannot be written"):
        write_corpus(table, Path("data.csv/x.csv"))
    Path("mine").mkdir()
    write("precious", "mine/file.txt")
    with pytest.raises(AssayError, match="mine: a folder with something other than"):
        write_corpus(folder, Path("mine"))
    with pytest.raises(AssayError, match="mine: cannot be written"):
        write_corpus(table, Path("mine"))
    assert Path("mine/file.txt").read_text() == "precious"


def test_folders_are_made_and_a_data_set_replaced():
    folder = read_corpus(save(ROWS, "datasets"))
    for rows in ([0, 1], [2]):
        out = write_corpus(folder.select(rows), Path("new/deep/out"))
        assert len(read_corpus(out)) == len(rows)
    assert list(out.parent.iterdir()) == [out]
    assert len(read_corpus(write_corpus(folder.select([3]), Path("data")))) == 1


def test_text_of_a_table_that_is_not_utf8():
    broken = pa.array([b"\xff", b"b"], pa.binary()).view(pa.string())
    table = pa.table({"prompt": broken, "completion": ["a", "b"]})
    parquet.write_table(table, "data.parquet")
    with pytest.raises(AssayError, match=r"column 'prompt' cannot be read \(.*UTF"):
        read_corpus("data.parquet")
    datasets.Dataset(table).save_to_disk("data")
    with pytest.raises(AssayError, match=r"data: column 'prompt' cannot be read"):
        read_corpus("data")


def test_times_beyond_the_calendar():
    far = pa.array([2**62], pa.timestamp("us"))
    table = pa.table({"prompt": ["a"], "completion": ["b"], "when": far})
    parquet.write_table(table, "data.parquet")
    with pytest.raises(AssayError, match=r"column 'when' cannot .*leave it out"):
        read_corpus("data.parquet")


def test_quotation_marks_that_could_be_text_or_quoting():
    head = "prompt\tcompletion\n"
    # One row with a tab and a newline in its cell, or two rows of bare quotes?
    path = write(head + '"good film\tyes\nbad film"\tno\n', "x.tsv")
    with pytest.raises(AssayError, match=r"1 rows if quotation .* cells, 2 if they"):
        read_corpus(path)
    for rows, count in (('"a\nb"\tc\n', 1), ('"a" b\tc\n"d\te\n', 2)):
        assert len(read_corpus(write(head + rows, "x.tsv"))) == count


def test_a_thousand_columns_are_named_in_a_line():
    names = [f"{'long' * 50}{i}" for i in range(1000)]
    with pytest.raises(AssayError, match=r"… \(1000 in all\); name the") as caught:
        read_corpus(write(json.dumps(dict.fromkeys(names, 1)), "x.jsonl"))
    assert len(str(caught.value)) < 2000


def test_a_lone_carriage_return_ends_no_line_of_json():
    rows = ['{"prompt":"a","completion":"b"}', '{"prompt":"c","completion":"d"}']
    corpus = read_corpus(write(rows[0] + "\r\n" + rows[1] + "\r", "x.jsonl"))
    write_corpus(corpus.select([1, 0]), Path("out.jsonl"))
    assert [e.text for e in read_corpus("out.jsonl").examples] == ["c", "a"]


def test_only_white_space_of_json_is_blank():
    with pytest.raises(AssayError, match=r"x\.jsonl:2: not valid JSON"):
        read_corpus(write(GOOD + "\u2028\n" + GOOD, "x.jsonl"))


def test_a_role_as_long_as_a_page_is_cut_in_the_message():
    turns = [{"role": 10**4000, "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(AssayError, match=r"unknown role '1000+… of a chat") as caught:
        read_corpus(write(json.dumps({"messages": turns}), "x.jsonl"))
    assert len(str(caught.value)) < 500


def test_a_table_that_arrow_cannot_write(monkeypatch):
    def write_table(*_):
        raise pa.ArrowNotImplementedError("no such\ntype")

    corpus = read_corpus(save(ROWS, "parquet"))
    monkeypatch.setattr(parquet, "write_table", write_table)
    with pytest.raises(AssayError, match=r"cannot be written as Parquet .no such type"):
        write_corpus(corpus, Path("out.parquet"))
    assert list(Path().iterdir()) == [Path("data.parquet")]
