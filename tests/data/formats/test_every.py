"""What holds of every format: detection, round trips, messages, fields not read."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.formats import FORMATS, detect_format, parse, read_record, render
from assay.errors import AssayError

MAPPING = {"text": "q", "response": "a", "instruction": "hint", "task": "kind"}
CHAT = [
    ("system", "Be brief."),
    ("user", "Hi"),
    ("assistant", "Hello"),
    ("user", "Who?"),
    ("assistant", "Me"),
]


def chat(who="role", what="content", turns=CHAT):
    return [{who: role, what: content} for role, content in turns]


SNI = {
    "Task": "task1",
    "Definition": ["Add.", "Be exact."],
    "Positive Examples": [{"input": "1 1", "output": "2", "explanation": "sum"}],
    "Instance": {"id": "task1-7", "input": "2 3", "output": ["5", "five"]},
}
RECORDS = {
    "preference": {"prompt": "2 3", "chosen": "5", "rejected": "6"},
    "kto": {"prompt": "2 3", "completion": "5", "label": True},
    "conversational": {"prompt": chat()[1:4], "completion": chat()[4:]},
    "messages": {"messages": chat(), "source": "x"},
    "sharegpt": {"conversations": chat("from", "value")},
    "segments": {
        "segments": [{"label": False, "text": "2 3="}, {"label": True, "text": "5"}]
    },
    "alpaca": {"instruction": "Add.", "input": "2 3", "output": "5", "extra": "x"},
    "prompt-completion": {"prompt": "2 3", "completion": "5"},
    "sni": SNI,
    "text": {"text": "<|im_start|>user\n2 3<|im_end|>\n<|im_start|>assistant\n5"},
    "dolly": {"instruction": "Add.", "context": "2 3", "response": "5"},
    "gpteacher": {"instruction": "Add.", "input": "2 3", "response": "5"},
    "open-orca": {"system_prompt": "Add.", "question": "2 3", "response": "5"},
    "oasst": {"INSTRUCTION": "2 3", "RESPONSE": "5"},
    "context-qa": {"article": "2 3", "question": "The sum?", "answer": "5"},
    "jeopardy": {"category": "sums", "question": "2 3", "answer": "5"},
    "summarize": {"article": "2 3", "summary": "5"},
    "metharme": {"prompt": "2 3", "generation": "5"},
    "camel": {"message_1": "2 3", "message_2": "5"},
    "query-response": {"query": "2 3", "response": "5", "history": [["a", "b"]]},
    "prompt-response": {"prompt": "2 3", "response": "5"},
    "qa": {"question": "2 3", "answer": "5"},
    "input-output": {"input": "2 3", "output": "5"},
    "text-label": {"text": "2 3", "label": "5"},
    "columns": {"q": "2 3", "a": "5", "hint": "Add.", "kind": "sum"},
}


def names(format):
    return MAPPING if format == "columns" else {}


def read(record, format=None, where="f:1"):
    format = format or detect_format(record)
    return parse(record, 3, format, names(format), where)


def test_every_format_has_a_record_here():
    assert tuple(RECORDS) == FORMATS


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "columns"])
def test_detected(format):
    assert detect_format(RECORDS[format]) == format


@pytest.mark.parametrize(
    "record",
    [
        {"q": "a", "messages": "text"},
        {"text": "no markers"},
        {"text": "a", "label": 1},
        {"question": "a", "answer": ["b"]},
        {"a": chat(), "b": chat()},
        {"dialog": [{"speaker": "a"}]},
        {},
    ],
)
def test_unknown_fields_are_not_guessed(record):
    assert detect_format(record) is None


@pytest.mark.parametrize("format", FORMATS)
def test_untouched_record_is_itself(format):
    record = RECORDS[format]
    assert render(read(record, format), format, names(format)) is record


@pytest.mark.parametrize("format", FORMATS)
@given(text=st.text(min_size=1), response=st.text(min_size=1))
def test_edit_round_trip(format, text, response):
    record = copy.deepcopy(RECORDS[format])
    if format == "text":
        # Blank lines around a turn, and markers, are the template's.
        text, response = f"a{text.replace('<', '')}b", f"a{response.replace('<', '')}b"
    edited = read(record, format).edit(text=text, response=response)
    assert read(render(edited, format, names(format)), format) == edited
    assert record == RECORDS[format]


@pytest.mark.parametrize("format", FORMATS)
def test_an_edited_response_leaves_the_text_alone(format):
    record = RECORDS[format]
    before = read(record, format)
    after = render(before.edit(response="no"), format, names(format))
    assert read(after, format) == before.edit(response="no")
    assert sum(after[k] != record[k] for k in record) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_the_parts_of_an_example(format):
    example = read(RECORDS[format], format)
    said = {"text": example.text, "response": example.response}
    if any(m in format for m in ("messages", "sharegpt", "conversational")):
        assert said == {"text": "Who?", "response": "Me"}
    else:
        assert said == {
            "text": "2 3=" if format == "segments" else "2 3",
            "response": "5",
        }


@pytest.mark.parametrize("format", FORMATS)
def test_missing_field(format):
    with pytest.raises(AssayError, match=r"^f:1: field .* is (missing|not|None)"):
        read({"other": "x"}, format)


@pytest.mark.parametrize("format", FORMATS)
def test_fields_that_are_not_read_are_named(format):
    record = {**RECORDS[format], "odd": "1", "none": None, "empty": [], "id": "a"}
    found = read_record(record, 0, format, names(format), "f:1")
    own = {"messages": ["source"], "alpaca": ["extra"]}.get(format, [])
    assert [*found.unread] == [*own, "odd"]


@pytest.mark.parametrize(
    ("own", "id"),
    [("a", "a"), (7, "7"), ("", "row-3"), (True, "row-3"), (1.5, "row-3")],
)
def test_ids(own, id):
    assert read({**RECORDS["alpaca"], "id": own}).id == id


def test_numbers_read_as_text_and_keep_their_type_where_they_can():
    record = {"prompt": 2, "completion": [5]}
    example = read(record)
    assert (example.text, example.response) == ("2", "5")
    after = render(example.edit(text="3", response="six"), "prompt-completion", {})
    assert after == {"prompt": 3, "completion": ["six"]}
    assert type(after["prompt"]) is int


BAD = [
    ("alpaca", {"output": {"a": 1}}, "field 'output' is a dict, expected text"),
    ("alpaca", {"output": None}, "field 'output' is null"),
    ("alpaca", {"output": float("nan")}, "field 'output' is NaN"),
    ("alpaca", {"output": float("inf")}, "field 'output' is Infinity"),
    ("alpaca", {"output": [float("-inf")]}, "field 'output' is Infinity"),
    ("alpaca", {"output": True}, "field 'output' is a bool"),
    ("alpaca", {"output": []}, "field 'output' is a list"),
    ("alpaca", {"output": ["a", {}]}, "field 'output' is a dict"),
    ("alpaca", {"input": {"a": 1}}, "field 'input' is a dict"),
    ("alpaca", {"output": "\ud800"}, "'output' has half of a surrogate pair.*UTF-8"),
    ("alpaca", {"id": "\udfff"}, "'id' has half of a surrogate pair"),
    ("alpaca", {"history": "x"}, "'history' is not a list of .prompt, response. pairs"),
    ("alpaca", {"history": [["a"]]}, "'history' is not a list of .prompt, response."),
    ("messages", {"messages": "Hi"}, "'messages' is not a list of chat turns"),
    ("messages", {"messages": ["Hi", "Ho"]}, "a chat turn is not an object"),
    ("messages", {"messages": []}, "must have an assistant turn .* this one has none"),
    (
        "messages",
        {"messages": chat(turns=CHAT[1:2])},
        "must have an assistant turn .* has 'user';",
    ),
    ("messages", {"messages": chat(turns=CHAT[2:4])}, "has 'assistant', 'user';"),
    ("messages", {"messages": [{"content": "Hi"}]}, "field 'role' is missing"),
    ("messages", {"messages": [{"role": "user"}]}, "field 'content' is missing"),
    (
        "messages",
        {"messages": chat(turns=[("moderator", "x"), *CHAT])},
        "unknown role 'moderator' .*known: user, human,.*--map user=NAME",
    ),
    (
        "messages",
        {"messages": chat(turns=[("user", None), ("assistant", "a")])},
        "field 'content' is null",
    ),
    (
        "messages",
        {"messages": chat(turns=[("user", "Hi"), ("assistant", None)])},
        "field 'content' is null in the last assistant turn",
    ),
    (
        "messages",
        {"messages": [*chat()[:4], {**chat()[4], "weight": "all"}]},
        "field 'weight' of a chat turn is 'all', expected a number",
    ),
    (
        "messages",
        {"messages": [*chat()[:4], {**chat()[4], "tool_calls": [{"id": "x"}]}]},
        "a tool call has no name",
    ),
    (
        "messages",
        {
            "messages": chat(
                turns=[("user", [{"type": "image_url", "image_url": {}}]), CHAT[2]]
            )
        },
        "'content' holds a part of type 'image_url', and only text can be read",
    ),
    ("sharegpt", {"conversations": None}, "'conversations' is not a list"),
    ("prompt-completion", {"prompt": chat()[:2]}, "field 'prompt' is a dict|list"),
    (
        "conversational",
        {"completion": "Me"},
        "'completion' is not a list of chat",
    ),
    ("preference", {"chosen": None}, "field 'chosen' is null"),
    ("kto", {"label": "yes"}, "field 'label' is 'yes', expected true or false"),
    ("segments", {"segments": [{"text": "a"}]}, "a segment is no"),
    ("text", {"text": "plain"}, "no markers of a known chat template; .*--response-ma"),
    ("sni", {"Definition": None}, "field 'Definition' is null"),
    ("sni", {"Definition": ["a", {}]}, "field 'Definition' is a dict"),
    ("sni", {"Positive Examples": "x"}, "'Positive Examples' is not a list of objects"),
    ("sni", {"Positive Examples": ["x"]}, "'Positive Examples' is not a list of obj"),
    ("sni", {"Instance": [{}, {}]}, "2 Instances in a line, expected one"),
    ("sni", {"Instance": "x"}, "field 'Instance' is not an object"),
    ("sni", {"Instance": {"input": "x", "output": []}}, "field 'output' is a list"),
    ("columns", {"a": None}, "field 'a' is null"),
]


@pytest.mark.parametrize(("format", "change", "message"), BAD)
def test_bad_records(format, change, message):
    with pytest.raises(AssayError, match=f"^data.jsonl:8: .*({message})") as caught:
        read({**RECORDS[format], **change}, format, "data.jsonl:8")
    assert "\n" not in str(caught.value)
