import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.formats import FORMATS, detect_format, parse, render
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
    "alpaca": {"instruction": "Add.", "input": "2 3", "output": "5", "extra": [None]},
    "messages": {"messages": chat(), "source": "x"},
    "sharegpt": {"conversations": chat("from", "value")},
    "prompt-completion": {"prompt": "2 3", "completion": "5"},
    "sni": SNI,
    "columns": {"q": "2 3", "a": "5", "hint": "Add.", "kind": "sum"},
}


def read(record, format=None, where="f:1"):
    return parse(record, 3, format or detect_format(record), MAPPING, where)


def test_every_format_has_a_record_here():
    assert set(RECORDS) == set(FORMATS)


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "columns"])
def test_detected(format):
    assert detect_format(RECORDS[format]) == format


def test_unknown_fields_are_not_guessed():
    assert detect_format({"q": "a", "messages": "text"}) is None


@pytest.mark.parametrize("format", FORMATS)
def test_untouched_record_is_itself(format):
    record = RECORDS[format]
    assert render(read(record, format), format, MAPPING) is record


@pytest.mark.parametrize("format", FORMATS)
@given(text=st.text(min_size=1), response=st.text())
def test_edit_round_trip(format, text, response):
    record = copy.deepcopy(RECORDS[format])
    edited = read(record, format).edit(text=text, response=response)
    assert read(render(edited, format, MAPPING), format) == edited
    assert record == RECORDS[format]


@pytest.mark.parametrize("format", FORMATS)
def test_an_edited_response_leaves_the_text_alone(format):
    record = RECORDS[format]
    before = read(record, format)
    after = render(before.edit(response="no"), format, MAPPING)
    assert read(after, format) == before.edit(response="no")
    if format == "sni":
        assert after["Instance"] == {**record["Instance"], "output": ["no"]}
    else:
        assert sum(after[k] != record[k] for k in record) == 1


def test_alpaca_without_input_makes_the_instruction_the_text():
    for absent in ({}, {"input": ""}, {"input": None}, {"input": float("nan")}):
        example = read({"instruction": "Sing.", "output": "La", **absent})
        assert (example.instruction, example.text) == ("", "Sing.")
        after = render(example.edit(text="Hum."), "alpaca", {})
        assert after["instruction"] == "Hum."
        assert after.get("input") is absent.get("input")


def test_alpaca_input_zero_and_empty_instruction_are_kept():
    assert read({"instruction": "Double.", "input": 0, "output": 0}).text == "0"
    example = read({"instruction": "", "input": "in", "output": "out"})
    after = render(example.edit(text="new"), "alpaca", {})
    assert after == {"instruction": "", "input": "new", "output": "out"}


def test_chat_parts():
    example = read(RECORDS["sharegpt"])
    assert example.instruction == "Be brief."
    assert example.history == (("user", "Hi"), ("assistant", "Hello"))
    assert (example.text, example.response) == ("Who?", "Me")


@pytest.mark.parametrize("field", ["messages", "conversations"])
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
def test_chat_keys_of_either_spelling(field, keys):
    turns = [("human", "Hi"), ("gpt", "Hello")]
    record = {field: chat(*keys, turns=turns)}
    example = read(record)
    assert (example.text, example.response, example.history) == ("Hi", "Hello", ())
    after = render(example.edit(text="Ho"), detect_format(record), {})
    assert after == {field: chat(*keys, turns=[("human", "Ho"), turns[1]])}


def test_chat_with_tools():
    turns = [
        ("user", "Hot?"),
        ("assistant", None),
        ("tool", "31"),
        ("assistant", "Yes"),
    ]
    example = read({"messages": chat(turns=turns)})
    assert example.history == (("user", "Hot?"), ("assistant", ""))
    assert (example.text, example.response) == ("31", "Yes")


def test_sni_parts():
    example = read(SNI)
    assert (example.id, example.task) == ("task1-7", "task1")
    assert example.instruction == "Add. Be exact."
    assert example.demonstrations == (("1 1", "2"),)
    assert example.response == "5"


def test_sni_plain_definition_and_listed_instances():
    record = {"Definition": "Add.", "Instances": [{"input": "1", "output": "1"}]}
    example = read({**record, "Instance": None})
    assert (example.instruction, example.text) == ("Add.", "1")
    after = render(example.edit(response="2"), "sni", {})
    assert after["Instances"] == [{"input": "1", "output": "2"}]


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
    ("alpaca", {"output": float("nan")}, "field 'output' is null"),
    ("alpaca", {"output": True}, "field 'output' is a bool"),
    ("alpaca", {"output": ["a", "b"]}, "field 'output' is a list"),
    ("alpaca", {"input": {}}, "field 'input' is a dict"),
    ("alpaca", {"output": "\ud800"}, "'output' has half of a surrogate pair.*UTF-8"),
    ("alpaca", {"id": "\udfff"}, "'id' has half of a surrogate pair"),
    ("messages", {"messages": "Hi"}, "'messages' is not a list of chat turns"),
    ("messages", {"messages": ["Hi", "Ho"]}, "a chat turn is not an object"),
    ("messages", {"messages": []}, "a chat must end with a user"),
    (
        "messages",
        {"messages": chat(turns=CHAT[:4])},
        "ends with 'assistant', 'user';",
    ),
    ("messages", {"messages": chat(turns=CHAT[1:2])}, "ends with 'user';"),
    ("messages", {"messages": [{"content": "Hi"}]}, "field 'role' is missing"),
    (
        "messages",
        {"messages": chat(turns=[("user", None), ("assistant", "a")])},
        "field 'content' is null",
    ),
    (
        "messages",
        {"messages": chat(turns=[("user", "Hi"), ("assistant", None)])},
        "field 'content' is null",
    ),
    ("sharegpt", {"conversations": None}, "'conversations' is not a list"),
    ("prompt-completion", {"prompt": chat()[:1]}, "field 'prompt' is a list"),
    ("sni", {"Definition": None}, "field 'Definition' is null"),
    ("sni", {"Definition": ["a", {}]}, "field 'Definition' is a dict"),
    ("sni", {"Positive Examples": "x"}, "'Positive Examples' is not a list of objects"),
    ("sni", {"Positive Examples": ["x"]}, "'Positive Examples' is not a list of obj"),
    ("sni", {"Instance": [{}, {}]}, "2 Instances in a record, expected one"),
    ("sni", {"Instance": "x"}, "field 'Instance' is not an object"),
    ("sni", {"Instance": {"input": "x", "output": []}}, "field 'output' is a list"),
    ("columns", {"a": None}, "field 'a' is null"),
]


@pytest.mark.parametrize(("format", "change", "message"), BAD)
def test_bad_records(format, change, message):
    with pytest.raises(AssayError, match=f"^data.jsonl:8: .*{message}"):
        read({**RECORDS[format], **change}, format, "data.jsonl:8")


@pytest.mark.parametrize("format", FORMATS)
def test_missing_field(format):
    with pytest.raises(AssayError, match=r"^f:1: field .* is (missing|not)"):
        read({"other": "x"}, format)
