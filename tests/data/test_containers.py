"""Packed files, pipes, shards, JSON around rows, odd CSV: read, and written as read."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from assay.data.read import read_corpus
from assay.data.write import write_corpus
from assay.errors import AssayError

ROWS = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(6)]
LINES = "".join(json.dumps(r) + "\n" for r in ROWS)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pack(text, name):
    kind = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}[
        Path(name).suffix
    ]
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    with pa.output_stream(name, compression=kind) as file:
        file.write(text.encode())
    return name


def unpack(name):
    with pa.input_stream(str(name), compression="detect") as file:
        return file.read().decode()


def put(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".lz4"])
@pytest.mark.parametrize("inner", ["jsonl", "json", "csv"])
def test_packed_files(ending, inner):
    text = LINES
    if inner == "json":
        text = json.dumps(ROWS, indent=2)
    if inner == "csv":
        text = "prompt,completion\n" + "".join(f"p{i},c{i}\n" for i in range(6))
    corpus = read_corpus(pack(text, f"data.{inner}{ending}"))
    assert corpus.suffix == f".{inner}{ending}"
    assert [e.text for e in corpus.examples] == [r["prompt"] for r in ROWS]
    out = write_corpus(corpus, Path(f"out.{inner}{ending}"))
    assert unpack(out) == text
    assert out.read_bytes()[:2] != text.encode()[:2]
    plain = write_corpus(corpus, Path(f"out.{inner}"))
    assert plain.read_text() == text


def test_damaged_and_misnamed_packed_files():
    Path("x.jsonl.gz").write_text(LINES)
    with pytest.raises(AssayError, match=r"x\.jsonl\.gz: cannot be unpacked as gzip"):
        read_corpus("x.jsonl.gz")
    whole = gzip.compress(LINES.encode() * 1000)
    Path("x.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssayError, match=r"x\.jsonl\.gz: "):
        read_corpus("x.jsonl.gz")
    Path("x.jsonl").write_bytes(whole)
    with pytest.raises(AssayError, match=r"x\.jsonl: is gzip-compressed; .*end.* \.gz"):
        read_corpus("x.jsonl")
    Path("x.jsonl").write_bytes(b"\x80\x04\x95\x00")
    with pytest.raises(AssayError, match="is a Python pickle; pickles are never read"):
        read_corpus("x.jsonl")


def test_a_packed_file_that_would_fill_the_memory(monkeypatch):
    pack(" " * 2**26 + "\n" + LINES, "x.jsonl.gz")
    monkeypatch.setattr("assay.data.bytes_of._SHARE", 1e-5)
    with pytest.raises(AssayError, match="half of the free memory; split it"):
        read_corpus("x.jsonl.gz")


@pytest.mark.parametrize("source", ["data", "data/*", "data/**/*.*"])
def test_shards(source):
    put("data/a.jsonl", LINES)
    pack(LINES.replace(': "p', ': "q'), "data/b.jsonl.gz")
    put("data/README.md", "no data")
    put("data/.hidden.jsonl", "{")
    put("data/empty.jsonl", "")
    corpus = read_corpus(source)
    assert (corpus.container, len(corpus)) == ("shards", 12)
    assert [e.row for e in corpus.examples] == list(range(12))
    out = write_corpus(corpus, Path("out"))
    assert (out / "a.jsonl").read_text() == LINES
    assert unpack(out / "b.jsonl.gz") == LINES.replace(': "p', ': "q')
    edited = corpus.map(lambda e: e.edit(text="new") if e.row == 7 else e).select(
        [0, 7]
    )
    out = write_corpus(edited, Path("part"))
    assert (out / "a.jsonl").read_text() == json.dumps(ROWS[0]) + "\n"
    assert [e.text for e in read_corpus("part").examples] == ["p0", "new"]


def test_places_in_shards():
    put("data/a.jsonl", LINES)
    put("data/b.jsonl", LINES + '{"prompt": "x"}\n')
    with pytest.raises(AssayError, match=r"data/b\.jsonl:7: field 'completion' is"):
        read_corpus("data")
    put("data/b.json", json.dumps([*ROWS, {"prompt": "x"}]))
    Path("data/b.jsonl").unlink()
    with pytest.raises(AssayError, match=r"data/b\.json: row 6: field 'completion' is"):
        read_corpus("data")


def test_splits_of_a_folder():
    put("data/train-00000-of-00002.jsonl", LINES)
    put("data/train-00001-of-00002.jsonl", LINES)
    put("data/validation-00000-of-00001.jsonl", LINES)
    assert len(read_corpus("data")) == 12
    assert len(read_corpus("data", split="dev")) == 6
    with pytest.raises(AssayError, match=r"splits train, validation, none of 'test'"):
        read_corpus("data", split="test")


def test_a_folder_without_data():
    put("data/notes.txt", "x")
    with pytest.raises(
        AssayError, match=r"data: no data file in it; .expected \.jsonl"
    ):
        read_corpus("data")
    with pytest.raises(AssayError, match=r"data/\*\.csv: no data file matches"):
        read_corpus("data/*.csv")


def test_shards_are_not_written_among_other_files():
    put("data/a.jsonl", LINES)
    put("out/mine.txt", "precious")
    with pytest.raises(AssayError, match="out: a folder with other files than data"):
        write_corpus(read_corpus("data"), Path("out"))
    assert Path("out/mine.txt").read_text() == "precious"


@pytest.mark.parametrize("text", [LINES, json.dumps(ROWS)])
def test_a_pipe(text):
    code = (
        "from assay.data.read import read_corpus; c = read_corpus('-'); "
        "print(len(c), c.suffix)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True
    )
    assert done.stdout.split() == ["6", ".jsonl" if text == LINES else ".json"]


def test_a_named_pipe():
    os.mkfifo("fifo")
    code = f"open('fifo', 'w').write({LINES!r})"
    with subprocess.Popen([sys.executable, "-c", code]):
        assert len(read_corpus("fifo")) == 6


def test_what_a_pipe_cannot_carry(monkeypatch):
    os.mkfifo("fifo")
    code = "open('fifo', 'w').write('a,b\\n')"
    with (
        subprocess.Popen([sys.executable, "-c", code]),
        pytest.raises(AssayError, match="fifo: what comes through a pipe must be"),
    ):
        read_corpus("fifo")


@pytest.mark.parametrize("indent", [None, 2, 4])
def test_rows_within_an_object(indent):
    whole = {"version": "1.0", "data": ROWS, "n": 6}
    text = json.dumps(whole, indent=indent) + "\n"
    corpus = read_corpus(put("x.json", text))
    assert len(corpus) == 6
    assert write_corpus(corpus, Path("out.json")).read_text() == text
    edited = corpus.map(lambda e: e.edit(text="new") if e.row == 2 else e)
    rows = [*ROWS]
    rows[2] = {**rows[2], "prompt": "new"}
    after = write_corpus(edited, Path("out.json")).read_text()
    assert after == json.dumps({**whole, "data": rows}, indent=indent) + "\n"


def test_native_task_files_of_super_natural_instructions():
    task = {
        "Definition": ["Add."],
        "Positive Examples": [{"input": "1", "output": "1", "explanation": "x"}],
        "Instances": [
            {"id": f"t-{i}", "input": f"{i} 1", "output": [f"{i + 1}"]}
            for i in range(3)
        ],
        "Instance License": ["MIT"],
    }
    text = json.dumps(task, indent=4)
    corpus = read_corpus(put("task1.json", text))
    assert (corpus.format, len(corpus)) == ("sni", 3)
    assert corpus.examples[1].instruction == "Add."
    assert corpus.examples[1].id == "t-1"
    assert list(corpus.examples[1].record) == list(task)
    assert write_corpus(corpus, Path("out.json")).read_text() == text
    part = corpus.map(lambda e: e.edit(response="x") if e.row == 2 else e)
    part = part.select([1, 2])
    after = json.loads(write_corpus(part, Path("out.json")).read_text())
    kept = [task["Instances"][1], {**task["Instances"][2], "output": ["x"]}]
    assert after == {**task, "Instances": kept}


def test_one_record_over_several_lines():
    text = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
            ]
        },
        indent=2,
    )
    corpus = read_corpus(put("x.json", text + "\n"))
    assert [e.response for e in corpus.examples] == ["b"]
    assert write_corpus(corpus, Path("out.json")).read_text() == text + "\n"


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": ["a", "b"], "completion": ["c", "d"]},
        {"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}},
    ],
)
def test_json_by_columns_is_refused_with_advice(value):
    put("x.json", json.dumps(value))
    with pytest.raises(AssayError, match=r"a list for each of the columns .*to_json"):
        read_corpus("x.json")


def test_two_lists_of_rows_are_not_guessed():
    put("x.json", json.dumps({"train": ROWS, "test": ROWS}))
    with pytest.raises(AssayError, match="lists of rows under 'train', 'test'; write"):
        read_corpus("x.json")


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_other_signs_between_the_cells_of_a_csv(sign):
    text = f"prompt{sign}completion\na, b{sign}c\nd{sign}e\n"
    corpus = read_corpus(put("x.csv", text))
    assert [(e.text, e.response) for e in corpus.examples] == [
        ("a, b", "c"),
        ("d", "e"),
    ]
    assert write_corpus(corpus, Path("out.csv")).read_text() == text
    edited = corpus.map(lambda e: e.edit(text=f"x{sign}y") if e.row else e)
    again = read_corpus(write_corpus(edited, Path("out.csv")))
    assert [e.text for e in again.examples] == ["a, b", f"x{sign}y"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", "completion": "b", "prompt": "c"}', "key 'prompt' stands tw"),
        ('{"prompt": "a", "completion": "b", "x": {"y": 1, "y": 2}}', "key 'y' stands"),
        ('{"prompt": "a", "completion": Infinity}', "'completion' is Infinity"),
        ('{"prompt": "a", "completion": 1e999}', "'completion' is Infinity"),
        ('{"prompt": "a", "completion": NaN}', "'completion' is NaN"),
    ],
)
def test_values_that_json_readers_swallow(line, message):
    put("x.jsonl", LINES + line)
    with pytest.raises(AssayError, match=rf"x\.jsonl:7: .*{message}"):
        read_corpus("x.jsonl")
    whole = f"[{','.join(LINES.splitlines())},{line}]"
    with pytest.raises(AssayError, match=rf"x\.json: row 6: .*{message}"):
        read_corpus(put("x.json", whole))


def test_windows_text_is_named():
    Path("x.jsonl").write_bytes(
        '{"prompt": "it\x92s", "completion": "b"}'.encode("latin1")
    )
    with pytest.raises(AssayError, match="iconv -f windows-1252"):
        read_corpus("x.jsonl")


BAD = [
    ("jsonl", LINES + "{oops\n" + '{"prompt": "x"}\n' + LINES, 2),
    ("csv", "prompt,completion\na,b\nc\nd,e\n", 1),
    ("json", json.dumps([*ROWS, {"prompt": None, "completion": "x"}]), 1),
    ("tsv", "prompt\tcompletion\na\tb\nc\nd\te\n", 1),
]


@pytest.mark.parametrize(("container", "text", "bad"), BAD)
def test_bad_rows_are_left_out_listed_and_kept(container, text, bad, caplog):
    source = put(f"x.{container}", text)
    with pytest.raises(AssayError):
        read_corpus(source)
    corpus = read_corpus(source, skip_bad_rows=True)
    assert len(corpus.left_out) == bad
    assert f"{bad} rows cannot be read and are left out" in caplog.text
    assert str(corpus.left_out[0].reason) in caplog.text
    out = write_corpus(corpus, Path(f"out.{container}"))
    assert out.read_text() == text
    some = write_corpus(corpus.select([0]), Path(f"some.{container}"))
    again = read_corpus(some, skip_bad_rows=True)
    assert (len(again), len(again.left_out)) == (1, bad)


def test_a_file_of_bad_rows_only():
    put("x.jsonl", "{\n{\n")
    with pytest.raises(AssayError, match=r"no row of it can be read; x\.jsonl:1: not"):
        read_corpus("x.jsonl", skip_bad_rows=True)


def test_rows_that_teach_nothing_are_left_out_and_kept(caplog):
    rows = [{**r, "label": i % 3 == 0} for i, r in enumerate(ROWS)]
    text = "".join(json.dumps(r) + "\n" for r in rows)
    corpus = read_corpus(put("x.jsonl", text))
    assert [e.row for e in corpus.examples] == [0, 3]
    assert "4 rows are left out: its label says that the answer is unw" in caplog.text
    assert write_corpus(corpus, Path("out.jsonl")).read_text() == text


def test_fields_that_are_not_read_are_named_once(caplog):
    rows = [{**r, "source": "web", "n": i or None} for i, r in enumerate(ROWS)]
    read_corpus(put("x.jsonl", "".join(json.dumps(r) + "\n" for r in rows)))
    assert caplog.text.count("fields not read") == 1
    assert "source (6 rows), n (5 rows)" in caplog.text


def test_llama_factory_names_the_fields():
    put("data/x.json", json.dumps([{"q": "2 3", "a": "5", "hint": "Add."}]))
    put(
        "data/chat.json",
        json.dumps(
            [{"talk": [{"who": "me", "what": "Hi"}, {"who": "bot", "what": "Ho"}]}]
        ),
    )
    put("data/rank.json", json.dumps([{"q": "Hi", "good": "Ho", "bad": "Go"}]))
    info = {
        "one": {
            "file_name": "x.json",
            "columns": {"prompt": "hint", "query": "q", "response": "a"},
        },
        "two": {
            "file_name": "chat.json",
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {
                "role_tag": "who",
                "content_tag": "what",
                "user_tag": "me",
                "assistant_tag": "bot",
            },
        },
        "three": {
            "file_name": "rank.json",
            "ranking": True,
            "columns": {"prompt": "q", "chosen": "good", "rejected": "bad"},
        },
    }
    put("data/dataset_info.json", json.dumps(info))
    (example,) = read_corpus("data/x.json").examples
    assert (example.instruction, example.text, example.response) == ("Add.", "2 3", "5")
    (example,) = read_corpus("data/chat.json").examples
    assert (example.text, example.response) == ("Hi", "Ho")
    (example,) = read_corpus("data/rank.json").examples
    assert (example.text, example.response, example.rejected) == ("Hi", "Ho", "Go")


def same(name, text, **request):
    """Read a file, and make sure that it is written as it was."""
    corpus = read_corpus(put(name, text), **request)
    out = write_corpus(corpus, Path(f"out{Path(name).suffix}"))
    assert out.read_bytes() == text.encode()
    return corpus


def test_blank_lines_stay_where_they_are():
    lines = LINES.splitlines(keepends=True)
    text = "\n \n" + lines[0] + "\n\t\n" + lines[1] + "\r\n" + lines[2] + " \n "
    corpus = same("x.jsonl", text)
    edited = corpus.map(lambda e: e.edit(text="new") if e.row == 1 else e)
    after = write_corpus(edited, Path("out.jsonl")).read_text()
    assert after == text.replace('"p1"', '"new"').replace("\r", "")
    some = write_corpus(corpus.select([2, 0]), Path("out.jsonl")).read_text()
    assert [json.loads(line) for line in some.split("\n") if line.strip()] == [
        ROWS[2],
        ROWS[0],
    ]
    corpus = same("x.csv", "\nprompt,completion\n\n\na,b\n\n\nc,d\n\n")
    assert [e.text for e in corpus.examples] == ["a", "c"]
    edited = corpus.map(lambda e: e.edit(text="x") if e.row == 0 else e)
    after = write_corpus(edited, Path("out.csv")).read_text()
    assert after == "\nprompt,completion\n\n\nx,b\n\n\nc,d\n\n"


def test_uneven_spaces_between_the_rows_of_a_list():
    one, two, three, four = map(json.dumps, ROWS[:4])
    text = f"[ {one},{two} ,\n\n{three}\t,{four}\n]"
    corpus = same("x.json", text)
    after = write_corpus(corpus.select([0, 2, 3]), Path("out.json")).read_text()
    assert after == f"[ {one},{three}\t,{four}\n]"


EMPTY = {
    "a.json": b"",
    "b.json": b"[ ]\n",
    "c.jsonl": b"\n \n",
    "d.csv": b"",
    "e.csv": b"prompt;completion\n",
    "f.parquet": b"",
    "g.jsonl.gz": gzip.compress(b""),
    "h.json.zst": b"",
    "i.json": b'{"Definition": ["x"], "Instances": []}',
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_shard_without_rows_is_written_as_it_was(name):
    put("data/z.jsonl", LINES)
    Path("data", name).write_bytes(EMPTY[name])
    corpus = read_corpus("data")
    assert len(corpus) == 6
    after = (write_corpus(corpus, Path("out")) / name).read_bytes()
    if name.endswith((".gz", ".zst")):
        after = unpack(f"out/{name}").encode()
        assert after == b""
    else:
        assert after == EMPTY[name]
    assert read_corpus("out").examples == corpus.examples


def test_a_packed_file_of_nothing():
    Path("x.jsonl.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(AssayError, match=r"x\.jsonl\.gz: the file is empty"):
        read_corpus("x.jsonl.gz")


def test_quoted_cells_of_a_tsv_whatever_is_skipped():
    text = 'prompt\tcompletion\n"a\nb"\tc\nd\te\n'
    for skip in (False, True):
        corpus = same("x.tsv", text, skip_bad_rows=skip)
        assert [e.text for e in corpus.examples] == ["a\nb", "d"]
    corpus = same("x.tsv", text + "lone\n", skip_bad_rows=True)
    assert [e.text for e in corpus.examples] == ["a\nb", "d"]
    assert [left.row for left in corpus.left_out] == [2]


def test_a_header_in_quotation_marks_is_not_read_as_text_with_them():
    broken = '"prompt"\t"completion"\n"a"\t"b"\n"c"\t"d"x\n'
    # Where its cells end nobody knows.
    for skip in (False, True):
        with pytest.raises(AssayError, match=r"x\.tsv:3: malformed CSV"):
            read_corpus(put("x.tsv", broken), skip_bad_rows=skip)
    short = '"prompt"\t"completion"\n"a"\t"b\tc"\nd\n'
    corpus = same("x.tsv", short, skip_bad_rows=True)
    assert [(e.text, e.response) for e in corpus.examples] == [("a", "b\tc")]


def test_formatted_text_in_the_one_column_of_a_tsv():
    text = 'text\n"### Instruction:\na\n\n### Response:\nb"\n'
    assert [e.response for e in same("x.tsv", text).examples] == ["b"]


def test_a_quoted_header_alone_with_other_signs():
    text = '"prompt";"completion"\na;b\n'
    out = write_corpus(read_corpus(put("x.csv", text)).select([]), Path("out.csv"))
    assert out.read_text() == '"prompt";"completion"\n'
    with pytest.raises(AssayError, match=r"out\.csv: no rows in it"):
        read_corpus(out)


@pytest.mark.parametrize(
    ("row", "why"),
    [("5", "expected a JSON object, found int"), ('{"a": 1, "a": 2}', "stands twice")],
)
def test_a_row_of_a_list_that_is_no_record(row, why):
    text = f"[{json.dumps(ROWS[0])}, {row}, {json.dumps(ROWS[1])}]"
    with pytest.raises(AssayError, match=rf"x\.json: row 1: .*{why}"):
        read_corpus(put("x.json", text))
    corpus = same("x.json", text, skip_bad_rows=True)
    assert [e.row for e in corpus.examples] == [0, 2]
    assert [left.row for left in corpus.left_out] == [1]
    assert why in corpus.left_out[0].reason


def test_a_key_that_stands_twice_in_the_first_line():
    twice = '{"prompt": "a", "completion": "b", "prompt": "c"}\n'
    for name in ("x.jsonl", "x.json"):
        with pytest.raises(AssayError, match=rf"{name}:1: key 'prompt' stands twice"):
            read_corpus(put(name, twice + LINES))
        corpus = same(name, twice + LINES, skip_bad_rows=True)
        assert (len(corpus), corpus.left_out[0].row) == (6, 0)
    with pytest.raises(AssayError, match=r"x\.json: key 'a' stands twice in the file"):
        read_corpus(put("x.json", '{\n"a": [],\n"a": []\n}'))


def test_a_first_row_of_unknown_fields_may_be_skipped():
    text = '{"x": 1}\n' + LINES
    with pytest.raises(AssayError, match=r"x\.jsonl: unknown format, its fields are"):
        read_corpus(put("x.jsonl", text))
    corpus = same("x.jsonl", text, skip_bad_rows=True)
    assert (corpus.format, len(corpus)) == ("prompt-completion", 6)
    assert [left.row for left in corpus.left_out] == [0]


def test_a_field_nested_too_deep_to_be_written_as_text(monkeypatch):
    def read_record(*_):
        raise RecursionError

    monkeypatch.setattr("assay.data.read.read_record", read_record)
    with pytest.raises(AssayError, match=r"x\.jsonl:1: its fields are nested too deep"):
        read_corpus(put("x.jsonl", LINES))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"columns": ["a"]}, r"columns is \['a'\], expected an object that names"),
        (
            {"formatting": "sharegpt", "columns": {"messages": "x" * 9999}},
            "no column 'xxx",
        ),
        ({"columns": {"prompt": ["x"] * 9999}}, "'prompt' is .* expected a field's na"),
        ({"tags": "a"}, "tags is 'a', expected an object"),
    ],
)
def test_a_description_that_is_not_as_it_should_be(entry, message):
    put("data/x.jsonl", LINES)
    info = {"x": {"file_name": "x.jsonl", **entry}}
    put("data/dataset_info.json", json.dumps(info))
    with pytest.raises(AssayError, match=message) as caught:
        read_corpus("data/x.jsonl")
    assert len(str(caught.value)) < 500


def test_an_edit_that_cannot_be_written_names_its_row():
    segments = [{"label": True, "text": "a"}, {"label": True, "text": "b"}]
    corpus = read_corpus(put("x.jsonl", json.dumps({"segments": segments}) + "\n"))
    with pytest.raises(AssayError, match=r"x\.jsonl: row 0: .* no text to edit"):
        write_corpus(corpus.map(lambda e: e.edit(text="x")), Path("out.jsonl"))


def test_one_line_with_a_list_of_objects_in_it_is_a_row():
    line = json.dumps({"q": "a", "a": "b", "x": [{"name": "c"}, {"name": "d"}]}) + "\n"
    names = {"text": "q", "response": "a"}
    assert len(same("x.jsonl", line, mapping=names)) == 1
    # A name that ends in .json may as well stand for an object around the rows.
    with pytest.raises(AssayError, match="no column 'q'; it has 'name'"):
        read_corpus(put("x.json", line), mapping=names)


def test_a_quoted_header_says_that_cells_are_quoted():
    rows = '"a\tb\nc"\t"d"\n'
    with pytest.raises(AssayError, match="1 rows if quotation marks enclose cells, 2"):
        read_corpus(put("x.tsv", "prompt\tcompletion\n" + rows))
    corpus = same("x.tsv", '"prompt"\t"completion"\n' + rows)
    assert [e.text for e in corpus.examples] == ["a\tb\nc"]


def test_llama_factory_without_an_input():
    put("data/x.json", json.dumps([{"instruction": "Hi", "output": "Ho"}]))
    info = {"x": {"file_name": "x.json", "columns": {"prompt": "instruction"}}}
    put("data/dataset_info.json", json.dumps(info))
    (example,) = read_corpus("data/x.json").examples
    assert (example.text, example.response) == ("Hi", "Ho")


def test_a_field_whose_name_is_as_long_as_a_page():
    turns = [{"role": "user", "content": None}, {"role": "assistant", "content": "b"}]
    row = {"long " * 2000: [*turns, {"role": "user", "content": 5}, 5]}
    put("x.jsonl", json.dumps(row))
    with pytest.raises(AssayError) as caught:
        read_corpus("x.jsonl", format="messages", mapping={"messages": "long " * 2000})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("names", [{"system": "prompt"}, {"task": "x", "tools": "x"}])
def test_a_column_that_is_named_as_two_things(names):
    put("x.jsonl", json.dumps({**ROWS[0], "x": "y"}) + "\n")
    with pytest.raises(AssayError, match=r"is named as \w+ and \w+; name another"):
        read_corpus("x.jsonl", mapping=names)


def test_one_row_that_is_not_utf8_is_left_out_and_kept():
    raw = LINES.encode() + b'{"prompt": "it\x92s", "completion": "b"}\n'
    Path("x.jsonl").write_bytes(raw)
    corpus = read_corpus("x.jsonl", skip_bad_rows=True)
    assert (len(corpus), corpus.left_out[0].row) == (6, 6)
    assert "x.jsonl:7: not UTF-8" in corpus.left_out[0].reason
    assert write_corpus(corpus, Path("out.jsonl")).read_bytes() == raw
    table = b"prompt,completion\na,b\nit\x92s,c\n"
    Path("x.csv").write_bytes(table)
    corpus = read_corpus("x.csv", skip_bad_rows=True)
    assert (len(corpus), len(corpus.left_out)) == (1, 1)
    assert write_corpus(corpus, Path("out.csv")).read_bytes() == table


def test_labels_of_kto_after_the_first_row(caplog):
    rows = [{**r, "label": i != 3} for i, r in enumerate(ROWS)]
    text = "".join(json.dumps(r) + "\n" for r in rows)
    corpus = read_corpus(put("x.jsonl", text))
    assert corpus.format == "kto"
    del rows[0]["label"]
    put("x.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(AssayError, match=r"x\.jsonl:1: field 'label' is None"):
        read_corpus("x.jsonl")


def test_llama_factory_names_the_fields_of_a_folder():
    put("sets/mine/a.json", json.dumps([{"q": "2 3", "a": "5"}]))
    info = {"file_name": "mine", "columns": {"prompt": "q", "response": "a"}}
    put("sets/dataset_info.json", json.dumps({"mine": info}))
    (example,) = read_corpus("sets/mine").examples
    assert (example.text, example.response) == ("2 3", "5")


def test_a_line_without_an_instance_is_no_task_of_no_rows():
    good = {"Definition": ["Add."], "Instances": [{"input": "1 2", "output": ["3"]}]}
    put("data/a.jsonl", json.dumps(good) + "\n")
    put("data/b.jsonl", json.dumps({**good, "Instances": []}) + "\n")
    with pytest.raises(
        AssayError, match=r"b\.jsonl:1: 0 Instances in a line, expected"
    ):
        read_corpus("data")
    corpus = read_corpus("data", skip_bad_rows=True)
    assert (len(corpus), [left.row for left in corpus.left_out]) == (1, [1])
    Path("data/b.jsonl").rename("data/b.json")
    assert len(read_corpus("data")) == 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_line_of_json_lines_is_a_row_whatever_is_in_it(count):
    one = {"input": "b", "output": ["c"]}
    line = json.dumps({"Definition": ["a"], "Instances": [one] * count}) + "\n"
    put("data/a.json", json.dumps({"Definition": ["a"], "Instances": [one] * 3}))
    put("data/b.jsonl", line)
    corpus = read_corpus("data", skip_bad_rows=True)
    assert (len(corpus), len(corpus.left_out)) == ((4, 0) if count == 1 else (3, 1))
    out = write_corpus(corpus.select([0]), Path("out"))
    # A row that is removed is gone, and one that cannot be read stays as it is.
    assert (out / "b.jsonl").read_text() == ("\n" if count == 1 else line)
    again = read_corpus("out", skip_bad_rows=True)
    assert (len(again), len(again.left_out)) == (1, len(corpus.left_out))
