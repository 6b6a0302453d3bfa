import json
from datetime import date
from decimal import Decimal

import pytest

from assay.data.corpus import Role, ToolCall, Turn
from assay.data.formats import detect_format, parse, read_record, render
from assay.errors import AssayError

USER = {"role": "user", "content": "Hi"}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "31"}
ROME = (ToolCall("weather", '{"city": "Rome"}', "c1"),)
ROME_TEXT = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
)


def said(content, **more):
    return {"role": "assistant", "content": content, **more}


def record(*turns, **more):
    return {"messages": list(turns), **more}


def read(record, mapping=None):
    format = detect_format(record) or "messages"
    return parse(record, 3, format, mapping or {}, "f:1")


def test_the_parts_of_a_chat():
    example = read(
        record(
            {"role": "system", "content": "Be brief."},
            USER,
            said("Hello"),
            {"role": "user", "content": "Who?"},
            said("Me"),
        )
    )
    assert example.system == "Be brief."
    assert example.instruction == ""
    assert example.history == (
        Turn(Role.USER, "Hi"),
        Turn(Role.ASSISTANT, "Hello", trained=True),
    )
    assert (example.text, example.response) == ("Who?", "Me")


@pytest.mark.parametrize("field", ["messages", "conversations", "dialog"])
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
@pytest.mark.parametrize(
    ("user", "assistant"),
    [("human", "gpt"), ("user", "chatgpt"), ("user", "bing"), ("human", "bot")],
)
def test_names_of_fields_and_roles_in_use(field, keys, user, assistant):
    who, what = keys
    turns = [{who: user, what: "Hi"}, {who: assistant, what: "Hello"}]
    example = read({field: turns})
    assert (example.text, example.response, example.history) == ("Hi", "Hello", ())
    format = detect_format({field: turns})
    after = render(example.edit(text="Ho"), format, {})
    assert after == {field: [{who: user, what: "Ho"}, turns[1]]}


def test_roles_of_other_names_by_mapping():
    turns = [{"speaker": "customer", "said": "Hi"}, {"speaker": "clerk", "said": "Ho"}]
    names = {
        "messages": "dialog",
        "role": "speaker",
        "content": "said",
        "user": "customer",
        "assistant": "clerk",
    }
    example = read({"dialog": turns}, names)
    assert (example.text, example.response) == ("Hi", "Ho")
    after = render(example.edit(response="Hum"), "messages", names)
    assert after["dialog"][1] == {"speaker": "clerk", "said": "Hum"}


def test_nulls_of_tables_beside_the_fields_in_use():
    empty = {"from": None, "value": None}
    assert read(record({**USER, **empty}, {**said("Hello"), **empty})).text == "Hi"
    other = {"role": None, "content": None}
    turns = [{"from": "human", "value": "Hi", **other}]
    turns += [{"from": "gpt", "value": "Ho", **other}]
    assert read({"conversations": turns}).response == "Ho"


def test_tool_calls_and_results():
    chat = record(USER, CALLS, RESULT, said("Hot."), tools=[{"type": "function"}])
    example = read(chat)
    assert (example.text, example.response) == ("Hi", "Hot.")
    assert example.steps == (
        Turn(Role.ASSISTANT, "", ROME, trained=True),
        Turn(Role.TOOL, "31", name="weather", call_id="c1"),
    )
    assert json.loads(example.tools) == chat["tools"]
    (call,) = example.earlier_answers
    assert (call.text, call.response, call.calls) == ("Hi", ROME_TEXT, ROME)
    assert call.following[-1] == Turn(Role.ASSISTANT, "Hot.", trained=True)


def test_an_answer_that_only_calls_tools():
    chat = record(USER, CALLS)
    example = read(chat)
    assert (example.response, example.calls) == (ROME_TEXT, ROME)
    edited = example.edit(response="No.")
    assert edited.calls == ()
    after = render(edited, "messages", {})
    assert after["messages"][1] == {**CALLS, "content": "No.", "tool_calls": None}
    assert read(after).response == "No."
    assert render(example.edit(text="Ho"), "messages", {})["messages"][1] is CALLS


def test_sharegpt_calls_are_text():
    call = '{"name": "weather", "arguments": {"city": "Rome"}}'
    turns = [("human", "Hi"), ("function_call", call), ("observation", "31")]
    turns.append(("gpt", "Hot."))
    chat = {
        "conversations": [{"from": f, "value": v} for f, v in turns],
        "system": "Be brief.",
        "tools": '[{"name": "weather"}]',
    }
    example = read(chat)
    assert example.steps[0].calls == (ToolCall("weather", '{"city": "Rome"}'),)
    assert (example.system, example.tools) == ("Be brief.", chat["tools"])
    odd = {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "function_call", "value": "weather(Rome)"},
        ]
    }
    assert read(odd).response == "weather(Rome)"


def test_old_function_calls():
    call = {"name": "weather", "arguments": '{"city": "Rome"}'}
    chat = record(USER, said(None, function_call=call), functions=[{"name": "w"}])
    example = read(chat)
    assert example.calls == (ToolCall("weather", '{"city": "Rome"}'),)
    assert json.loads(example.tools) == [{"name": "w"}]


def test_content_as_a_list_of_parts():
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "a cat"}]
    chat = record({"role": "user", "content": parts}, said(["Yes", "Nice"]))
    example = read(chat)
    assert (example.text, example.response) == ("Look:\na cat", "Yes\nNice")
    after = render(example.edit(text="Look!"), "messages", {})
    assert after["messages"][0]["content"] == [{"type": "text", "text": "Look!"}]
    assert read(after).text == "Look!"


def test_two_assistant_turns_in_a_row():
    example = read(record(USER, said("Hello"), said("there")))
    assert (example.text, example.response) == ("Hi", "there")
    assert example.steps == (Turn(Role.ASSISTANT, "Hello", trained=True),)
    (first,) = example.earlier_answers
    assert (first.text, first.response, first.steps) == ("Hi", "Hello", ())


def test_a_greeting_and_a_question_that_nobody_answered():
    example = read(record(said("Welcome"), USER, said("Hello"), USER))
    assert (example.text, example.response) == ("Hi", "Hello")
    assert example.following == (Turn(Role.USER, "Hi"),)
    # Nothing stands before the greeting that a model could answer.
    assert example.earlier_answers == ()
    system = {"role": "system", "content": "Be kind."}
    (greeting,) = read(
        record(system, said("Welcome"), USER, said("Hello"))
    ).earlier_answers
    assert (greeting.system, greeting.response) == ("Be kind.", "Welcome")


@pytest.mark.parametrize(
    ("mark", "is_trained"),
    [
        ({"weight": 0}, False),
        ({"weight": 1}, True),
        ({"weight": 0.5}, True),
        ({"weight": None}, True),
        ({"train": False}, False),
        ({"train": True}, True),
        ({"training": False}, False),
        ({"loss": False}, False),
        ({"loss": True}, True),
        ({"mask": True}, False),
        ({"mask": 0}, True),
        ({"masked": True}, False),
        ({"masked": False}, True),
        ({"weight": 1, "mask": True}, False),
    ],
)
def test_which_turns_are_trained_on(mark, is_trained):
    last = said("Bye", **mark)
    example = read(record(USER, said("Hello"), USER, last))
    assert example.response == ("Bye" if is_trained else "Hello")
    assert [t.content for t in example.following] == (
        [] if is_trained else ["Hi", "Bye"]
    )
    earlier = read(record(USER, said("Hello", **mark), USER, said("Bye")))
    assert len(earlier.earlier_answers) == is_trained


def test_a_chat_of_which_nothing_is_trained_on_is_left_out():
    found = read_record(record(USER, said("Hello", weight=0)), 0, "messages", {}, "f:1")
    assert found.left_out == "none of its assistant turns is trained on"
    assert found.example.response == "Hello"


def test_edits_go_to_the_turn_that_was_read():
    chat = record(USER, said("Hello"), USER, said("Bye", weight=0))
    after = render(read(chat).edit(text="Ho", response="No"), "messages", {})
    assert [t["content"] for t in after["messages"]] == ["Ho", "No", "Hi", "Bye"]


def test_fields_of_turns_that_are_not_read():
    chat = record({**USER, "lang": "en"}, said("Hello", audio={"id": 1}, refusal=None))
    found = read_record(chat, 0, "messages", {}, "f:1")
    assert list(found.unread) == ["messages[].lang", "messages[].audio"]


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (["a", "b"], ["new"]),
        (["a"], ["new"]),
        ([{"type": "text", "text": "a"}, "b"], [{"type": "text", "text": "new"}]),
    ],
)
def test_an_edit_takes_the_place_of_all_parts(content, after):
    for at, part in ((0, "text"), (1, "response")):
        turns = [dict(USER), said("Hello")]
        turns[at] = {**turns[at], "content": content}
        example = read(record(*turns))
        edited = render(example.edit(**{part: "new"}), "messages", {})
        assert edited["messages"][at]["content"] == after
        assert getattr(read(edited), part) == "new"


def test_calls_of_tables_beside_nulls():
    call = {"function": None, "name": "f", "arguments": None, "parameters": {"x": 1}}
    example = read(record(USER, {"role": "assistant", "tool_calls": [call]}))
    assert example.calls == (ToolCall("f", '{"x": 1}'),)


def test_arguments_that_json_does_not_know():
    call = {"name": "f", "arguments": {"at": date(2024, 2, 29), "n": Decimal("1.50")}}
    example = read(record(USER, {"role": "assistant", "tool_calls": [call]}))
    assert example.calls == (ToolCall("f", '{"at": "2024-02-29", "n": "1.50"}'),)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"name": "\ud800", "arguments": {}}, "name"),
        ({"name": "f", "arguments": {"a": "\ud800"}}, "arguments"),
        ({"id": "\ud800", "function": {"name": "f"}}, "id"),
    ],
)
def test_halves_of_surrogate_pairs_in_calls(call, field):
    chat = record(USER, {"role": "assistant", "tool_calls": [call]})
    with pytest.raises(AssayError, match=f"f:1: field '{field}' has half of a surr"):
        read(chat)
    with pytest.raises(AssayError, match="f:1: field 'tools' has half of a surrogate"):
        read(record(USER, said("Hello"), tools=["\ud800"]))
    with pytest.raises(AssayError, match="f:1: field 'tool_call_id' has half of a sur"):
        read(record(USER, said("Hello"), {**RESULT, "tool_call_id": "\ud800"}))


def test_arguments_that_are_no_json():
    call = {"function": {"name": "f", "arguments": {"a": float("inf")}}}
    with pytest.raises(AssayError, match="arguments of a tool call hold NaN or Inf"):
        read(record(USER, said(None, tool_calls=[call])))


@pytest.mark.parametrize("keys", [("role", "value"), ("role", "content")])
def test_roles_in_capitals_and_pygmalions_fields(keys):
    who, what = keys
    turns = [{who: "Human", what: "Hi"}, {who: "GPT", what: "Ho"}]
    example = read({"conversations": turns})
    assert (example.text, example.response) == ("Hi", "Ho")
