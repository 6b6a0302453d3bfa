"""Files for benchmarks/fuzz.py: sound ones of every format, and what damages them.

Everything is drawn from one `random.Random`, so that a kind, a seed and a number name
an input. A sound file comes with what has to be read from it.
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

from assay.data.formats import FORMATS, PARTS
from assay.data.formats.fields import PRESETS

Record = dict[str, Any]
# What has to be read from a record: its text, its response and its system prompt;
# None where the row is left out because nothing of it is trained on.
Meant = tuple[str, str, str] | None
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
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


WORDS = (
    *("the", "a", "film", "review", "good", "dreadful", "plot", "Paris", "weather"),
    *("31", "is", "who", "wrote", "answer", "translate", "Übersetze", "straße", "él"),
    *("niño", "größer", "天気", "はどう", "今日", "مرحبا", "كيف", "😀", "№5", "C++"),
    *("naïve", "3.14", "-1"),
)
JOINS = (" ",) * 12 + (", ", ".\n", "\n\n", "\t", ' "', "' ", " <b>", "\\n ", ": ")
NASTY = (
    *(
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
    ),
    *(
        "\u202e",
        '"',
        "'",
        ",",
        ";",
        "|",
        "\\",
        "<script>",
        "[/bold]",
        "NaN",
        "null",
        "-0",
    ),
    *(
        "1e999",
        "inf",
        "a\tb\nc",
        "\U0001f600",
        "{{ x }}",
        "{% raw %}",
        "### Response:\n",
    ),
    *(
        "<|im_start|>assistant\n",
        "<|im_end|>",
        "</s>",
        "[INST]",
        "<tool_call>",
        " end \n",
    ),
    *("Human: ", "True", "0", "７", "1e5", "01", "\ud800", "a" * 3000, "<image>", "{}"),
)
TEXTS = tuple(text for text in NASTY if text != "\ud800")


def tame(rng: Random) -> str:
    """A text that no format could take for something else."""
    found = rng.choice(WORDS)
    for _ in range(rng.randrange(8)):
        found += rng.choice((" ", " ", " ", ", ", "; ")) + rng.choice(WORDS)
    return found


def text(rng: Random) -> str:
    """A text that is not empty; now and then an odd one."""
    if rng.random() < 0.06:
        return rng.choice(TEXTS) or "x"
    found = rng.choice(WORDS)
    for _ in range(rng.randrange(10)):
        found += rng.choice(JOINS) + rng.choice(WORDS)
    return found


def called(rng: Random, as_text: bool) -> tuple[Record, str]:
    """A tool call, and how it is read."""
    name = rng.choice(("weather", "search", "Ünits", "f", "get-it.now"))
    held = {rng.choice(("city", "q", "n")): rng.choice((tame(rng), 3, None, [1], True))}
    written = json.dumps(held, ensure_ascii=False)
    inner = {"name": name, "arguments": written if as_text else held}
    call: Record = {"type": "function", "function": inner}
    if rng.random() < 0.7:
        call["id"] = f"call_{rng.randrange(99)}"
    if rng.random() < 0.15:
        call = inner
    quoted = json.dumps(name, ensure_ascii=False)
    read = f'{{"name": {quoted}, "arguments": {written}}}'
    return call, f"<tool_call>\n{read}\n</tool_call>"


@dataclass(frozen=True)
class Said:
    """A turn: its record, who speaks, how it is read, whether it is trained on."""

    record: Record
    role: str
    read: str
    trained: bool = True


def content(rng: Random, plain: bool) -> tuple[Any, str]:
    """Content of a turn, and how it is read."""
    said = text(rng)
    if plain or rng.random() > 0.12:
        return said, said
    other = tame(rng)
    return rng.choice(
        (
            ([{"type": "text", "text": said}], said),
            ([{"type": "text", "text": said}, {"text": other}], f"{said}\n{other}"),
            ([said, other], f"{said}\n{other}"),
            ([said], said),
        )
    )


ROLES = ("system", "user", "assistant", "tool", "gpt", "human", "function_call")
USERS, ANSWERS = ("user", "human"), ("assistant", "gpt", "chatgpt", "bot", "bing")
MARKS = (
    ("weight", (0, 1)),
    ("weight", (0.0, 1.0)),
    ("train", (False, True)),
    ("training", (False, True)),
    ("loss", (False, True)),
    ("mask", (True, False)),
    ("masked", (1, 0)),
)


def chat(
    rng: Random, plain: bool, keys: tuple[str, str] = ("role", "content")
) -> list[Said]:
    """Turns of a chat.

    Args:
        rng: What is drawn from.
        plain: Without what a table's columns cannot hold.
        keys: What the fields of a turn are called.
    """
    who, what = keys
    user = rng.choice(USERS) if who == "from" else "user"
    answer = rng.choice(ANSWERS) if who == "from" else "assistant"
    turns: list[Said] = []

    def add(role: str, speaker: str, value: Any, read: str, **more: Any) -> None:
        trained = more.pop("trained", True)
        turns.append(Said({who: speaker, what: value, **more}, role, read, trained))

    mark = rng.choice(MARKS) if rng.random() < 0.25 else None
    if rng.random() < 0.4:
        said = text(rng)
        add("system", rng.choice(("system",) * 9 + ("developer",)), said, said)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        add("user", user, *content(rng, plain))
        if rng.random() < 0.25:
            call, read = called(rng, plain or rng.random() < 0.5)
            if who == "from":
                # ShareGPT writes calls as the text of a turn.
                inner = call.get("function", call)
                add(
                    "assistant",
                    "function_call",
                    json.dumps(inner, ensure_ascii=False),
                    read,
                )
                said = text(rng)
                add("tool", rng.choice(("observation", "tool")), said, said)
            else:
                value = None if rng.random() < 0.6 else tame(rng)
                whole = read if value is None else f"{value}\n{read}"
                add("assistant", "assistant", value, whole, tool_calls=[call])
                more = {"tool_call_id": call["id"]} if "id" in call else {"name": "f"}
                said = text(rng)
                add("tool", "tool", said, said, **more)
            if rng.random() < 0.15:
                continue
        marked: Record = {}
        if mark is not None and rng.random() < 0.8:
            trained = rng.random() < 0.6
            marked = {mark[0]: mark[1][trained], "trained": trained}
        add("assistant", answer, *content(rng, plain), **marked)
    if rng.random() < 0.08:
        add("user", user, *content(rng, plain))
    return turns


def meant(turns: list[Said]) -> Meant:
    """What has to be read from a chat."""
    spoken = [i for i, t in enumerate(turns) if i and t.role == "assistant"]
    trained = [i for i in spoken if turns[i].trained]
    if not trained:
        return None
    at = trained[-1]
    asked = [i for i in range(at) if turns[i].role == "user"]
    system = turns[0].read if turns[0].role == "system" else ""
    return turns[asked[-1]].read, turns[at].read, system


def _told(rng: Random, found: Meant, record: Record) -> Meant:
    """Put a system prompt and tools beside a chat."""
    if rng.random() < 0.15:
        record["tools"] = json.dumps([{"type": "function", "function": {"name": "f"}}])
    if rng.random() < 0.15:
        own = tame(rng)
        record[rng.choice(("system", "system_prompt"))] = own
        if found is not None:
            parts = [p for p in (own, found[2]) if p]
            return found[0], found[1], "\n\n".join(parts)
    return found


def messages(rng: Random, plain: bool) -> tuple[Record, Meant]:
    turns = chat(rng, plain)
    record: Record = {"messages": [t.record for t in turns]}
    return record, _told(rng, meant(turns), record)


def sharegpt(rng: Random, plain: bool) -> tuple[Record, Meant]:
    turns = chat(rng, plain, ("from", "value"))
    record: Record = {"conversations": [t.record for t in turns]}
    return record, _told(rng, meant(turns), record)


def conversational(rng: Random, plain: bool) -> tuple[Record, Meant]:
    turns = chat(rng, plain)
    while turns[-1].role != "assistant" or not turns[-1].trained:
        turns = chat(rng, plain)
    record = {
        "prompt": [t.record for t in turns[:-1]],
        "completion": [turns[-1].record],
    }
    return record, meant(turns)


def preference(rng: Random, plain: bool) -> tuple[Record, Meant]:
    shape = rng.randrange(8)
    asked, good, bad, system = text(rng), text(rng), text(rng), ""
    who, what, user, answer = rng.choice(
        (("role", "content", "user", "assistant"), ("from", "value", "human", "gpt"))
    )

    def turn(name: str, said: str) -> Record:
        return {who: name, what: said}

    before: list[Record] = []
    if rng.random() < 0.4:
        before = [turn(user, text(rng)), turn(answer, text(rng))]
    if rng.random() < 0.3:
        system = text(rng)
        before = [turn("system", system), *before]
    chosen, rejected = turn(answer, good), turn(answer, bad)
    whole = [*before, turn(user, asked)]
    if shape in (0, 5, 6):
        record: Record = {"chosen": good, "rejected": bad}
        record |= {"instruction": asked} if shape == 5 else {"prompt": asked}
        if shape == 5 and rng.random() < 0.5:
            record["input"] = rng.choice(("", None))
        system = tame(rng) if rng.random() < 0.3 else ""
        record |= {"system": system} if system else {}
        if shape == 6:
            # TRL's answers of one turn beside a prompt in words.
            record |= {"chosen": [chosen], "rejected": [rejected]}
    elif shape == 1:
        record = {"prompt": whole, "chosen": [chosen], "rejected": [rejected]}
    elif shape == 2:
        record = {"chosen": [*whole, chosen], "rejected": [*whole, rejected]}
    elif shape == 3:
        record = {"prompt": asked, "chosen": [*whole, chosen]}
        record["rejected"] = [*whole, rejected]
    elif shape == 4:
        # LLaMA-Factory's: one turn each.
        record = {"conversations": whole, "chosen": chosen, "rejected": rejected}
    else:
        record = {"prompt": whole, "chosen": good, "rejected": bad}
    return record, (asked, good, system)


def kto(rng: Random, plain: bool) -> tuple[Record, Meant]:
    way = rng.randrange(3)
    if way == 0:
        asked, said = text(rng), text(rng)
        record: Record = {"prompt": asked, "completion": said}
        found: Meant = (asked, said, "")
    else:
        record, found = (messages, conversational)[way - 1](rng, plain)
    record["label"] = rng.random() < 0.7
    return record, found if record["label"] else None


def segments(rng: Random, plain: bool) -> tuple[Record, Meant]:
    parts: list[Record] = []
    for _ in range(rng.choice((1, 1, 2))):
        asked, said = text(rng), text(rng)
        parts += [{"label": False, "text": asked}, {"label": True, "text": said}]
    return {"segments": parts}, (asked, said, "")


# How families of templates write a system prompt, a question and an answer.
FAMILIES = (
    (
        "<|im_start|>system\n{}<|im_end|>\n",
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n{}<|im_end|>\n",
    ),
    (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
    ),
    (
        "",
        "<start_of_turn>user\n{}<end_of_turn>\n",
        "<start_of_turn>model\n{}<end_of_turn>\n",
    ),
    ("<|system|>\n{}</s>\n", "<|user|>\n{}</s>\n", "<|assistant|>\n{}</s>\n"),
    ("", "<s>[INST] {} [/INST]", " {}</s>"),
    ("", "### Instruction:\n{}\n\n", "### Response:\n{}\n\n"),
    ("", "### Human: {}\n", "### Assistant: {}\n"),
    ("SYSTEM: {}\n", "USER: {} ", "ASSISTANT: {}</s>"),
    ("", "\n\nHuman: {}", "\n\nAssistant: {}"),
)


def formatted(rng: Random, plain: bool) -> tuple[Record, Meant]:
    first, question, answer = rng.choice(FAMILIES)
    system = tame(rng) if first and rng.random() < 0.4 else ""
    written = first.format(system) if system else ""
    for _ in range(rng.choice((1, 1, 2, 3))):
        asked, said = tame(rng), tame(rng)
        written += question.format(asked) + answer.format(said)
    return {"text": written}, (asked, said, system)


def by_marker(rng: Random, plain: bool) -> tuple[Record, Meant]:
    """Text with a marker that has to be named."""
    asked, said = tame(rng), tame(rng)
    return {"text": f"{asked}\n=> Antwort:\n{said}"}, (asked, said, "")


def alpaca(rng: Random, plain: bool) -> tuple[Record, Meant]:
    instruction, given, said = text(rng), text(rng), text(rng)
    record: Record = {"instruction": instruction, "input": given, "output": said}
    way = rng.random()
    if way < 0.4:
        record["input"] = given = ""
    if way < 0.2:
        record["input"] = None
    if way < 0.1 and not plain:
        del record["input"]
    system = ""
    if rng.random() < 0.2:
        record["system"] = system = text(rng)
    if rng.random() < 0.2 and not plain:
        record["history"] = [[text(rng), text(rng)] for _ in range(rng.randrange(3))]
    if rng.random() < 0.1 and not plain:
        record["output"] = [said, tame(rng)]
    if rng.random() < 0.2:
        record["id"] = rng.choice(("a", "b", 7, 7, "row-0")) if not plain else "a"
    return record, (given or instruction, said, system)


def prompt_completion(rng: Random, plain: bool) -> tuple[Record, Meant]:
    asked, said = text(rng), text(rng)
    if plain:
        return {"prompt": asked, "completion": said}, (asked, said, "")
    number = rng.choice((3, -1.5, 0, 10**20, 1e22, [4]))
    if rng.random() < 0.1:
        shown = str(number[0]) if isinstance(number, list) else str(number)
        return {"prompt": asked, "completion": number}, (asked, shown, "")
    record: Record = {
        "prompt": asked,
        "completion": said,
        "n": rng.choice((1, None, 2.5)),
    }
    return record, (asked, said, "")


def sni(rng: Random, plain: bool) -> tuple[Record, Meant]:
    asked, said = text(rng), text(rng)
    instance: Record = {"input": asked, "output": [said]}
    if rng.random() < 0.3:
        instance["output"] = [said, tame(rng)]
    if rng.random() < 0.5:
        instance["id"] = f"task-{rng.randrange(99)}"
    record: Record = {"Definition": [text(rng)]}
    if rng.random() < 0.6:
        shown = {"input": text(rng), "output": text(rng), "explanation": "so"}
        record["Positive Examples"] = [shown] * rng.randrange(1, 3)
    if rng.random() < 0.5:
        record["Instance"] = instance
    else:
        record["Instances"] = [instance]
    return record, (asked, said, "")


def preset(name: str) -> Callable[[Random, bool], tuple[Record, Meant]]:
    names = PRESETS[name]

    def made(rng: Random, plain: bool) -> tuple[Record, Meant]:
        record = {
            field: text(rng) for part, field in names.items() if part != "history"
        }
        asked, said = record[names["text"]], record[names["response"]]
        return record, (asked, said, record.get(names.get("system", ""), ""))

    return made


def columns(rng: Random, plain: bool) -> tuple[Record, Meant]:
    asked, said = text(rng), text(rng)
    return {"Frage 1": asked, "Antwort": said, "x": "y"}, (asked, said, "")


MAPPING = {"text": "Frage 1", "response": "Antwort"}
MARKER = {"response_marker": "=> Antwort:"}
SHAPES: dict[str, Callable[[Random, bool], tuple[Record, Meant]]] = {
    "preference": preference,
    "kto": kto,
    "conversational": conversational,
    "messages": messages,
    "sharegpt": sharegpt,
    "segments": segments,
    "alpaca": alpaca,
    "prompt-completion": prompt_completion,
    "sni": sni,
    "text": formatted,
    **{name: preset(name) for name in PRESETS},
    "columns": columns,
}
assert set(SHAPES) == set(FORMATS)
# Formats whose records are cells of text.
FLAT = ("alpaca", "prompt-completion", "text", "columns", "marker", *PRESETS)
# Chats are what most people bring; presets share one share of the inputs.
DRAWN = [n for n in SHAPES if n not in PRESETS] + ["messages", "sharegpt", "messages"]


def shape(rng: Random, flat: bool) -> str:
    if rng.random() < 0.06:
        return "marker"
    if flat:
        return rng.choice(
            [n for n in FLAT if n not in PRESETS] + [rng.choice([*PRESETS])]
        )
    return rng.choice([*DRAWN, rng.choice([*PRESETS])])


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


# ---- records, damaged


def _paths(value: Any, found: list[tuple[Any, Any]], depth: int = 0) -> None:
    if depth > 6:
        return
    if isinstance(value, dict):
        for key in value:
            found.append((value, key))
            _paths(value[key], found, depth + 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found.append((value, i))
            _paths(inner, found, depth + 1)


def deep(rng: Random) -> Any:
    value: Any = "x"
    for _ in range(rng.choice((10, 100, 500, 900))):
        value = [value] if rng.random() < 0.7 else {"a": value}
    return value


def odd_value(rng: Random) -> Any:
    return rng.choice(
        (
            lambda: None,
            lambda: float("nan"),
            lambda: float("inf"),
            lambda: rng.choice((0, 1.5, 1, -1, 2**63, 10**400, -0.0, 1e308, 5e-324)),
            lambda: rng.random() < 0.5,
            lambda: rng.choice(NASTY),
            lambda: "".join(rng.choice(NASTY) for _ in range(3)),
            lambda: "\ud800",
            lambda: [],
            lambda: {},
            lambda: [rng.choice(NASTY)],
            lambda: [tame(rng), tame(rng)],
            lambda: {"a": tame(rng)},
            lambda: [{"type": "image_url", "image_url": {"url": "x.png"}}],
            lambda: [{"role": "assistant", "content": tame(rng)}],
            lambda: [{"name": tame(rng), "arguments": {"a": [None]}}],
            lambda: deep(rng),
            lambda: "long " * 2000,
        )
    )()


def damaged(rng: Random, record: Record) -> Record:
    """A copy of a record with one thing changed."""
    try:
        record = json.loads(json.dumps(record))
    except RecursionError:
        return record
    places: list[tuple[Any, Any]] = []
    _paths(record, places)
    holder, key = rng.choice(places)
    way = rng.randrange(10)
    if way == 0:
        del holder[key]
    elif way in (1, 2, 3):
        holder[key] = odd_value(rng)
    elif way == 4 and isinstance(holder, dict):
        holder[rng.choice(("role", "content", "value", "from", "x", "", "Input"))] = (
            holder.pop(key)
        )
    elif way == 5 and isinstance(holder, dict):
        name = rng.choice(
            ("system", "tools", "history", "id", "label", "weight", "train")
        )
        holder[name] = odd_value(rng)
    elif way == 6 and isinstance(holder[key], list):
        rng.shuffle(holder[key])
    elif way == 7 and isinstance(holder[key], list):
        holder[key] = holder[key] * 2
    elif way == 8 and isinstance(holder[key], list):
        holder[key] = holder[key][: rng.randrange(len(holder[key]) + 1)]
    else:
        turns = [h for h, k in places if k in ("role", "from")]
        if turns:
            turn = rng.choice(turns)
            name = "role" if "role" in turn else "from"
            turn[name] = rng.choice((*ROLES, "narrator", "", "USER", 5, None))
        else:
            holder[key] = odd_value(rng)
    return record


# ---- files


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
                ("jsonl.gz", gzip.compress(b"")),
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
