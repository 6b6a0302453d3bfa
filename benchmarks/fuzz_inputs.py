"""Files for benchmarks/fuzz.py: sound ones in every container, and damaged ones.

Everything is drawn from one `random.Random`, so that a kind, a seed and a number name
an input.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from fuzz_records import (
    FLAT,
    MAPPING,
    MARKER,
    SHAPES,
    Meant,
    Record,
    by_marker,
    damaged,
    shape,
    tame,
    text,
)

from assay.data.formats import FORMATS, PARTS

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    # Without the time, which would make another file every second.
    ".gz": lambda raw: gzip.compress(raw, mtime=0),
    ".bz2": bz2.compress,
    ".zst": lambda raw: packed(raw, "zstd"),
    ".lz4": lambda raw: packed(raw, "lz4"),
}


def packed(raw: bytes, kind: str) -> bytes:
    """Pack bytes as Arrow does."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as file:
        file.write(raw)
    return bytes(sink.getvalue())


@dataclass(frozen=True)
class Input:
    """A data set as files, and how it is to be read.

    Attributes:
        format: Format of the records.
        files: Contents by name.
        source: What is read: a name in ``files``, a folder or a pattern.
        options: Further arguments of `read_corpus`.
        meant: What has to be read from each row; None where that is not known.
        changes: What was done to it.
    """

    format: str
    files: dict[str, bytes]
    source: str
    options: Record = field(default_factory=dict)
    meant: list[Meant] | None = None
    changes: tuple[str, ...] = ()


def json_line(rng: Random, record: Record) -> str:
    return json.dumps(
        record,
        ensure_ascii=rng.random() < 0.3,
        separators=rng.choice(((", ", ": "), (",", ":"), (" , ", " : "))),
    )


def jsonl(rng: Random, records: list[Record]) -> str:
    ending = rng.choice(("\n", "\n", "\n", "\r\n"))
    blanks = rng.random() < 0.15
    found = "\ufeff" if rng.random() < 0.08 else ""
    for record in records:
        found += rng.choice(("", "\n", " \n", "\t\r\n")) if blanks else ""
        lead = rng.choice(("", "", "", "", " ", "\t"))
        found += lead + json_line(rng, record) + ending
    if rng.random() < 0.2:
        found = found.removesuffix(ending)
    return found + (rng.choice(("\n", " ", "\n\t\n")) if blanks else "")


def _list_text(rng: Random, records: list[Record], indent: Any, pad: str = "") -> str:
    if rng.random() < 0.2:
        # Not as any library writes it.
        seps = (", ", ",", " ,\n", "\n,\n\n", ",\t")
        found = "".join(json_line(rng, r) + rng.choice(seps) for r in records[:-1])
        space = rng.choice(("", " ", "\n", "\r\n  "))
        return f"[{space}{found}{json_line(rng, records[-1])}{space}]"
    ascii = rng.random() < 0.3
    return json.dumps(records, indent=indent, ensure_ascii=ascii).replace(
        "\n", "\n" + pad
    )


def json_list(rng: Random, records: list[Record]) -> str:
    indent = rng.choice((None, None, 0, 2, 4, "\t"))
    before = rng.choice(("", "", "", "\ufeff", " ", "\n"))
    return before + _list_text(rng, records, indent) + rng.choice(("", "\n", "\n\n"))


def json_object(rng: Random, records: list[Record]) -> str:
    if len(records) == 1 and rng.random() < 0.3:
        indent = rng.choice((1, 2, "\t"))
        return json.dumps(records[0], indent=indent) + rng.choice(("", "\n"))
    head = {"version": "1", "n": [1, 2], "about": {"a": None}}
    name = rng.choice(("data", "train", "rows"))
    inner = _list_text(rng, records, rng.choice((None, 2)), "  ")
    more = rng.choice(("", ', "end": true', ',\n "licence": ["MIT"]'))
    opened = json.dumps(head)[:-1] if rng.random() < 0.5 else '{"v": 1'
    return f'{opened}, "{name}": {inner}{more}}}' + rng.choice(("", "\n"))


def task_file(rng: Random, records: list[Record]) -> str:
    first = {k: v for k, v in records[0].items() if not k.startswith("Instance")}
    instances = [
        r["Instance"] if "Instance" in r else r["Instances"][0] for r in records
    ]
    task = {"Contributors": ["x"], **first, "Instances": instances, "URL": ["y"]}
    return json.dumps(
        task, indent=rng.choice((None, 4)), ensure_ascii=rng.random() < 0.5
    )


def separated(rng: Random, records: list[Record], sign: str) -> str:
    names = list(dict.fromkeys(n for r in records for n in r))
    cells = [["" if r.get(n) is None else str(r[n]) for n in names] for r in records]
    ending = rng.choice(("\n", "\n", "\r\n"))
    file = io.StringIO(newline="")
    # Python 3.11 leaves a bare carriage return unquoted.
    plain = all("\r" not in c for row in cells for c in row) and sign != "\t"
    quoting = csv.QUOTE_MINIMAL if plain and rng.random() < 0.7 else csv.QUOTE_ALL
    writer = csv.writer(file, delimiter=sign, lineterminator=ending, quoting=quoting)
    writer.writerow(names)
    for row in cells:
        writer.writerow(row)
        if rng.random() < 0.03:
            file.write(ending)
    found = file.getvalue()
    if rng.random() < 0.2:
        found = found.removesuffix(ending)
    return ("\ufeff" if rng.random() < 0.1 else "") + found


def bare(rng: Random, records: list[Record]) -> str:
    """Tab-separated cells without quoting."""
    names = list(dict.fromkeys(n for r in records for n in r))
    rows = [["" if r.get(n) is None else str(r[n]) for n in names] for r in records]
    return "".join("\t".join(cells) + "\n" for cells in [names, *rows])


def _odd_column(rng: Random, rows: int) -> Any:
    def filled(kind: Any, *values: Any) -> Any:
        return pa.array([rng.choice((None, *values)) for _ in range(rows)], kind)

    return rng.choice(
        (
            lambda: filled(pa.int64(), 1, -(2**63)),
            lambda: filled(pa.timestamp("us"), 0, 2**62),
            lambda: filled(pa.timestamp("ns"), 1),
            lambda: filled(pa.timestamp("us", "Europe/Nowhere"), 1),
            lambda: filled(pa.duration("ns"), 1),
            lambda: filled(pa.float64(), 1.5, float("nan"), float("inf")),
            lambda: filled(pa.bool_(), True),
            lambda: filled(pa.binary(), b"\xff"),
            lambda: filled(pa.map_(pa.string(), pa.int64()), [("k", 1)]),
            lambda: filled(pa.list_(pa.time64("ns")), []),
            lambda: filled(pa.decimal128(20, 2), 1),
            lambda: pa.nulls(rows),
            lambda: filled(pa.binary(), b"\xff").view(pa.string()),
            lambda: filled(pa.string(), "x").dictionary_encode(),
        )
    )()


def table(rng: Random, records: list[Record], odd: bool) -> bytes:
    names = list(dict.fromkeys(n for r in records for n in r))
    found = pa.table({n: [r.get(n) for r in records] for n in names})
    for i, name in enumerate(names):
        if found.schema.field(i).type == pa.string() and rng.random() < 0.1:
            other = rng.choice(
                (pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
            )
            found = found.set_column(i, name, found.column(i).cast(other))
    if odd:
        column = _odd_column(rng, len(found))
        at = rng.randrange(found.num_columns)
        name = rng.choice(("when", "é", "", found.column_names[at]))
        found = (
            found.append_column(name, column)
            if rng.random() < 0.7
            else found.set_column(at, found.column_names[at], column)
        )
    sink = io.BytesIO()
    parquet.write_table(
        found,
        sink,
        compression=rng.choice(("none", "snappy", "zstd", "gzip")),
        row_group_size=rng.choice((1, 2, 100)),
    )
    return sink.getvalue()


TOKENS = (
    *(
        b"\x00",
        b"\xff",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b'"',
    ),
    *(b"\n", b"\r", b"\t", b",", b"{", b"}", b"]", b"[" * 2000, b'{"a":' * 100_000),
    *(
        b"1" * 5000,
        b"-Infinity",
        b"PAR1",
        b"\x7f\xff\xff\xff",
        b'"prompt": 1, ',
        b"null",
    ),
)


def mangled(rng: Random, raw: bytes) -> bytes:
    """Bytes flipped, cut, put in or doubled, or in another encoding."""
    at = rng.randrange(len(raw) + 1)
    to = rng.randrange(at, min(len(raw), at + 40) + 1)
    way = rng.randrange(8)
    if way == 0:
        return raw[:at]
    if way == 1 and at < len(raw):
        return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
    if way == 2:
        return raw[:at] + rng.choice(TOKENS) + raw[at:]
    if way == 3:
        return raw[:at] + raw[to:]
    if way == 4:
        return raw[:to] + raw[at:to] + raw[to:]
    if way == 5 and rng.random() < 0.5:
        coding = rng.choice(("utf-16", "utf-32", "latin-1", "utf-7", "cp1252"))
        return raw.decode("utf-8", "replace").encode(coding, "replace")
    if way == 6 and raw.endswith(b"PAR1") and len(raw) > 60:
        # The footer is where a Parquet file says what it is.
        place = len(raw) - rng.randrange(1, 60)
        return raw[:place] + bytes([rng.randrange(256)]) + raw[place + 1 :]
    lines = raw.split(b"\n")
    i = rng.randrange(len(lines))
    lines[i : i + 1] = rng.choice(
        ([], [lines[i]] * 2, [lines[i][: len(lines[i]) // 2]])
    )
    return b"\n".join(lines)


def _records(rng: Random, name: str, plain: bool) -> tuple[list[Record], list[Meant]]:
    make = by_marker if name == "marker" else SHAPES[name]
    pairs = [make(rng, plain) for _ in range(rng.choice((1, 2, 2, 3, 4, 6)))]
    if all(found is None for _, found in pairs):
        # A file of which nothing is trained on is refused, and that is right.
        return _records(rng, name, plain)
    return [r for r, _ in pairs], [m for _, m in pairs]


def _file(rng: Random, container: str, records: list[Record], odd: bool) -> bytes:
    if container == "parquet":
        return table(rng, records, odd)
    if container == "csv":
        # In a single column no other sign can be told from text.
        signs = (
            (",", ";", "\t", "|") if len({n for r in records for n in r}) > 1 else ","
        )
        found = separated(rng, records, rng.choice((",", *signs)))
    elif container == "tsv":
        found = separated(rng, records, "\t")
    else:
        writers = {"jsonl": jsonl, "json": json_list, "object": json_object}
        found = {**writers, "task": task_file, "bare": bare}[container](rng, records)
    return found.encode("utf-8", "surrogatepass")


# What no table or file can be made of.
UNFIT = (pa.ArrowException, ValueError, OverflowError, TypeError, RecursionError)
SUFFIX = {"object": "json", "task": "json", "bare": "tsv"}
TABLES = ("csv", "tsv", "bare")


def one_file(rng: Random, container: str, stem: str = "data") -> Input:
    """A file of a container, sound or with damaged records."""
    plain = container in (*TABLES, "parquet")
    name = "sni" if container == "task" else shape(rng, container in TABLES)
    records, found = _records(rng, name, plain)
    options: Record = {}
    if name == "columns":
        options["mapping"] = MAPPING
    if name == "marker":
        options["mapping"] = MARKER
    changes: tuple[str, ...] = ()
    if rng.random() < 0.45 and container != "task":
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(records))
            # Where the first record tells the format, the others may say more.
            at = at or rng.randrange(len(records))
            if records[at]:
                records[at] = damaged(rng, records[at])
        changes = ("record",)
    odd = container == "parquet" and rng.random() < 0.2
    changes += ("column",) if odd else ()
    try:
        raw = _file(rng, container, records, odd)
    except UNFIT:
        # Not every table can be made of such records.
        return one_file(rng, container, stem)
    if container == "bare":
        whole = all(
            not set(str(v)) & set('\t\n\r"') for r in records for v in r.values()
        )
        changes += () if whole else ("quoting",)
    file = f"{stem}.{SUFFIX.get(container, container)}"
    known = found if not changes else None
    return Input(name, {file: raw}, file, options, known, changes)


def packed_file(rng: Random) -> Input:
    made = one_file(rng, rng.choice(("jsonl", "json", "csv", "tsv", "object")))
    (name,) = made.files
    ending = rng.choice([*PACKERS])
    raw = PACKERS[ending](made.files[name])
    if ending != ".lz4" and rng.random() < 0.1 and name.endswith("jsonl"):
        # Two packed files one behind the other are one.
        raw += PACKERS[ending](b"\n")
    file = name + rng.choice((ending, ending, ending.upper()))
    return replace(made, files={file: raw}, source=file)


def several_files(rng: Random) -> Input:
    """A folder of shards in mixed containers, some of them empty."""
    flat = rng.random() < 0.5
    name = shape(rng, flat)
    files: dict[str, bytes] = {}
    rows: list[tuple[str, list[Meant]]] = []
    changes: tuple[str, ...] = ()
    for i in range(rng.randrange(1, 5)):
        ways = ["jsonl", "json", "parquet"] + ["csv", "tsv"] * (flat and name in FLAT)
        container = rng.choice(ways)
        records, found = _records(rng, name, True)
        if rng.random() < 0.2:
            at = rng.randrange(len(records))
            records[at] = damaged(rng, records[at])
            changes = ("record",)
        file = rng.choice(("", "", "sub/")) + f"part-{i}.{container}"
        try:
            raw = _file(rng, container, records, False)
        except UNFIT:
            return several_files(rng)
        if container != "parquet" and rng.random() < 0.3:
            ending = rng.choice([*PACKERS])
            raw, file = PACKERS[ending](raw), file + ending
        files[file] = raw
        rows.append((file, found))
    for i in range(rng.choice((0, 0, 1, 2))):
        file, raw = rng.choice(
            (
                ("jsonl", b""),
                ("json", b"[ ]\n"),
                ("json", b""),
                ("jsonl", b"\n \n"),
                ("csv", b"a,b\n"),
                ("csv", b""),
                ("parquet", b""),
                ("jsonl.gz", PACKERS[".gz"](b"")),
                ("jsonl.zst", packed(b"\n", "zstd")),
                ("json.gz", b""),
            )
        )
        files[f"{rng.choice('az')}-empty-{i}.{file}"] = raw
    files |= {"README.md": b"no data"} if rng.random() < 0.3 else {}
    options: Record = {
        "columns": {"mapping": MAPPING},
        "marker": {"mapping": MARKER},
    }.get(name, {})
    rows.sort(key=lambda r: PurePath("x", r[0]))
    known = [m for _, found in rows for m in found] if not changes else None
    kind = "folder"
    if rng.random() < 0.2 and not any("/" in f for f in files):
        kind = "folder/*"
    folder = {f"folder/{f}": raw for f, raw in files.items()}
    return Input(name, folder, kind, options, known, changes)


def described(rng: Random) -> Input:
    """A file beside LLaMA-Factory's description of it."""
    records, found, way = [], [], rng.randrange(3)
    for _ in range(rng.choice((1, 2, 3))):
        asked, said, other = text(rng), text(rng), text(rng)
        if way == 0:
            first = rng.choice((tame(rng), "", None))
            record = {"aufgabe": first, "frage": asked, "antwort": said}
            records.append({**record, "rolle": other})
            found.append((asked, said, other))
        elif way == 1:
            turns = [{"who": "me", "what": asked}, {"who": "it", "what": said}]
            records.append({"talk": turns, "rolle": other, "gut": True})
            found.append((asked, said, other))
        else:
            records.append({"frage": asked, "besser": said, "schlechter": other})
            found.append((asked, said, ""))
    columns: Record = (
        {
            "prompt": "aufgabe",
            "query": "frage",
            "response": "antwort",
            "system": "rolle",
        },
        {"messages": "talk", "system": "rolle"},
        {"prompt": "frage", "chosen": "besser", "rejected": "schlechter"},
    )[way]
    entry: Record = {"file_name": "data.json", "columns": columns}
    if way == 1:
        tags = {"role_tag": "who", "content_tag": "what", "user_tag": "me"}
        entry |= {"formatting": "sharegpt", "tags": {**tags, "assistant_tag": "it"}}
        if rng.random() < 0.5:
            columns["kto_tag"] = "gut"
    info: Any = {"one": {"file_name": "x.json"}, "two": entry}
    changes: tuple[str, ...] = ()
    if rng.random() < 0.4:
        info, changes = damaged(rng, info), ("description",)
    if rng.random() < 0.2:
        at = rng.randrange(len(records))
        records[at], changes = damaged(rng, records[at]), (*changes, "record")
    files = {
        "data.json": json_list(rng, records).encode("utf-8", "surrogatepass"),
        "dataset_info.json": json.dumps(info).encode(),
    }
    return Input(
        "described", files, "data.json", {}, None if changes else found, changes
    )


KINDS: dict[str, Callable[[Random], Input]] = {
    "jsonl": lambda rng: one_file(rng, "jsonl"),
    "json": lambda rng: one_file(rng, "json"),
    "object": lambda rng: one_file(rng, rng.choice(("object", "object", "task"))),
    "csv": lambda rng: one_file(rng, "csv"),
    "tsv": lambda rng: one_file(rng, rng.choice(("tsv", "tsv", "bare"))),
    "parquet": lambda rng: one_file(rng, "parquet"),
    "packed": packed_file,
    "shards": several_files,
    "described": described,
}


def made(kind: str, seed: int, number: int) -> Input:
    """Make an input of a kind; the same one for the same seed and number."""
    rng = Random(f"{kind}/{seed}/{number}")
    found = KINDS[kind](rng)
    if rng.random() < 0.25:
        files = dict(found.files)
        name = rng.choice(sorted(files))
        for _ in range(rng.choice((1, 1, 2, 4))):
            files[name] = mangled(rng, files[name])
        found = replace(
            found, files=files, meant=None, changes=(*found.changes, "bytes")
        )
    options = dict(found.options)
    if rng.random() < 0.08:
        options["format"] = rng.choice(FORMATS)
        found = replace(found, meant=None, changes=(*found.changes, "request"))
    if rng.random() < 0.04:
        parts = rng.sample((*PARTS, "response_marker"), 2)
        names = ("prompt", "completion", "messages", "instruction", "output", "input")
        options["mapping"] = {p: rng.choice((*names, "label", "text")) for p in parts}
        found = replace(found, meant=None, changes=(*found.changes, "request"))
    if rng.random() < 0.5:
        options["skip_bad_rows"] = True
    return replace(found, options=options)
