"""Records for benchmarks/fuzz.py: sound ones of every format, and what damages them.

A sound record comes with what has to be read from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from assay.data.formats import FORMATS
from assay.data.formats.fields import PRESETS

Record = dict[str, Any]
# What has to be read from a record: its text, its response and its system prompt;
# None where the row is left out because nothing of it is trained on.
Meant = tuple[str, str, str] | None

WORDS = (
    *("the", "a", "film", "review", "good", "dreadful", "plot", "Paris", "weather"),
    *("31", "is", "who", "wrote", "answer", "translate", "Übersetze", "straße", "él"),
    *("niño", "größer", "天気", "はどう", "今日", "مرحبا", "كيف", "😀", "№5", "C++"),
    *("naïve", "3.14", "-1"),
)
JOINS = (" ",) * 12 + (", ", ".\n", "\n\n", "\t", ' "', "' ", " <b>", "\\n ", ": ")
NASTY = (
    *("", " ", "\x00", "\r", "\n", "\r\n", "\t", "\ufeff", "\u2028", "\u0085"),
    *("\x1b[31m", "\u202e", '"', "'", ",", ";", "|", "\\", "<script>", "[/bold]"),
    *("NaN", "null", "-0", "1e999", "inf", "a\tb\nc", "\U0001f600", "{{ x }}"),
    *("{% raw %}", "### Response:\n", "<|im_start|>assistant\n", "<|im_end|>"),
    *("</s>", "[INST]", "<tool_call>", " end \n", "Human: ", "True", "0", "７"),
    *("1e5", "01", "\ud800", "a" * 3000, "<image>", "{}"),
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
