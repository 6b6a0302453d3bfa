import pytest

from assay.data.corpus import Role
from assay.data.formats import detect_format, parse, read_record, render
from assay.errors import AssayError

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
GO = {"role": "assistant", "content": "Go away"}


def turns(*pairs):
    return [{"from": f, "value": v} for f, v in pairs]


ROWS = {
    "text": {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
    "explicit": {"prompt": [HI], "chosen": [HELLO], "rejected": [GO]},
    "implicit": {"chosen": [HI, HELLO], "rejected": [HI, GO]},
    "both": {"prompt": "Hi", "chosen": [HI, HELLO], "rejected": [HI, GO]},
    "apart": {"prompt": "Hi", "chosen": [HELLO], "rejected": [GO]},
    "ranking": {
        "instruction": "Hi",
        "input": "",
        "chosen": "Hello",
        "rejected": "Go away",
    },
    "orca": {"system": "", "question": "Hi", "chosen": "Hello", "rejected": "Go away"},
    "whole chats beside others": {
        "prompt": "Hi",
        "messages": [HI, HELLO],
        "chosen": [HI, HELLO],
        "rejected": [HI, GO],
    },
    "transcripts": {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Go away",
    },
    "llama-factory": {
        "conversations": turns(("human", "Hi")),
        "chosen": {"from": "gpt", "value": "Hello"},
        "rejected": {"from": "gpt", "value": "Go away"},
    },
}


@pytest.mark.parametrize("kind", ROWS)
def test_shapes_of_preferences(kind):
    row = ROWS[kind]
    assert detect_format(row) == "preference"
    found = read_record(row, 0, "preference", {}, "f:1")
    example = found.example
    assert (example.text, example.response, example.rejected) == (
        "Hi",
        "Hello",
        "Go away",
    )
    assert list(found.unread) == (["messages"] if "messages" in row else [])
    assert example.earlier_answers == ()
    assert render(example, "preference", {}) is row
    edited = example.edit(text="Ho", response="Hum")
    again = parse(render(edited, "preference", {}), 0, "preference", {}, "f:1")
    assert (again.text, again.response, again.rejected) == ("Ho", "Hum", "Go away")


def test_an_edited_prompt_stands_in_both_chats():
    row = ROWS["implicit"]
    example = parse(row, 0, "preference", {}, "f:1")
    after = render(example.edit(text="Ho"), "preference", {})
    assert (
        after["chosen"][0] == after["rejected"][0] == {"role": "user", "content": "Ho"}
    )


def test_other_names_of_the_fields():
    names = {"text": "q", "chosen": "good", "rejected": "bad"}
    row = {"q": "Hi", "good": "Hello", "bad": "Go away"}
    example = parse(row, 0, "preference", names, "f:1")
    assert (example.text, example.rejected) == ("Hi", "Go away")


def test_a_system_prompt_of_a_preference():
    system = {"role": "system", "content": "Be kind."}
    row = {"chosen": [system, HI, HELLO], "rejected": [system, HI, GO]}
    example = parse(row, 0, "preference", {}, "f:1")
    assert (example.system, example.role) == ("Be kind.", Role.USER)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": [HI], "completion": [HELLO]},
        {"messages": [HI, HELLO]},
        {"instruction": "Hi", "input": "", "output": "Hello"},
    ],
)
def test_answers_that_are_judged(row):
    for wanted in (True, False):
        judged = {**row, "label": wanted}
        assert detect_format(judged) == "kto"
        found = read_record(judged, 0, "kto", {}, "f:1")
        assert bool(found.left_out) is not wanted
        assert (found.example.text, found.example.response) == ("Hi", "Hello")
        assert list(found.unread) == []
        after = render(found.example.edit(text="Ho", response="Hum"), "kto", {})
        again = parse(after, 0, "kto", {}, "f:1")
        assert (again.text, again.response) == ("Ho", "Hum")


def edited(row, mapping=None, format="preference", **new):
    example = parse(row, 0, format, mapping or {}, "f:1")
    after = render(example.edit(**new), format, mapping or {})
    return after, parse(after, 0, format, mapping or {}, "f:1")


@pytest.mark.parametrize("answer", ["Hello", [HELLO], HELLO])
def test_a_prompt_of_one_turn_that_is_no_list(answer):
    row = {"prompt": HI, "chosen": answer, "rejected": "Go away"}
    after, again = edited(row, text="Ho", response="Hum")
    assert after["prompt"] == {"role": "user", "content": "Ho"}
    assert type(after["chosen"]) is type(answer)
    assert (again.text, again.response) == ("Ho", "Hum")


@pytest.mark.parametrize("kind", ROWS)
def test_a_system_prompt_and_tools_beside_any_shape(kind):
    if kind == "ranking":
        pytest.skip("alpaca has no tools")
    row = {**ROWS[kind], "system": "Be kind.", "tools": [{"name": "f"}]}
    found = read_record(row, 0, "preference", {}, "f:1")
    assert found.example.system == "Be kind."
    assert found.example.tools == '[{"name": "f"}]'
    assert list(found.unread) == (["messages"] if "messages" in row else [])


def test_the_prompt_in_words_beside_whole_chats_is_edited_too():
    after, again = edited(ROWS["both"], text="Ho")
    assert (after["prompt"], again.text) == ("Ho", "Ho")
    other = {**ROWS["both"], "prompt": "User: Hi"}
    assert edited(other, text="Ho")[0]["prompt"] == "User: Hi"


def test_an_answer_that_is_chosen_and_rejected():
    row = {"chosen": [HI, HELLO], "rejected": [HI, HELLO]}
    assert parse(row, 0, "preference", {}, "f:1").rejected == "Hello"
    after, again = edited(row, text="Ho", response="Hum")
    assert after["rejected"] == [{"role": "user", "content": "Ho"}, HELLO]
    assert (again.response, again.rejected) == ("Hum", "Hello")


def test_a_chosen_chat_without_an_answer():
    row = {"prompt": [HI, HELLO], "chosen": [HI], "rejected": [GO]}
    with pytest.raises(AssayError, match="f:1: field 'chosen' holds no answer"):
        parse(row, 0, "preference", {}, "f:1")


@pytest.mark.parametrize(("cell", "wanted"), [("True", True), ("false", False)])
def test_labels_of_tables_of_text(cell, wanted):
    row = {"prompt": "Hi", "completion": "Hello", "label": cell}
    assert detect_format(row) == "kto"
    assert bool(read_record(row, 0, "kto", {}, "f:1").left_out) is not wanted
    assert detect_format({**row, "label": "3"}) == "prompt-completion"


def test_judged_chats_whose_fields_have_other_names():
    row = {
        "talk": [{"who": "me", "what": "Hi"}, {"who": "it", "what": "Hello"}],
        "good": True,
    }
    names = {"messages": "talk", "label": "good", "role": "who", "content": "what"}
    names |= {"user": "me", "assistant": "it"}
    after, again = edited(row, names, "kto", text="Ho", response="Hum")
    assert (again.text, again.response) == ("Ho", "Hum")
    assert [t["what"] for t in after["talk"]] == ["Ho", "Hum"]


def test_a_prompt_that_a_table_leaves_out():
    row = {**ROWS["ranking"], "prompt": None, "conversations": None}
    assert parse(row, 0, "preference", {}, "f:1").text == "Hi"
    after, again = edited(row, text="Ho")
    assert (after["instruction"], again.text) == ("Ho", "Ho")


@pytest.mark.parametrize("label", [1, 0, 1.0, "true", "False"])
def test_labels_as_tables_write_them(label):
    row = {"prompt": "Hi", "completion": "Hello", "label": label}
    assert detect_format(row) == "kto"
    found = read_record(row, 0, "kto", {}, "f:1")
    assert bool(found.left_out) == (label in (0, "False"))


def test_a_number_beside_a_chat_is_no_label_of_kto():
    assert detect_format({"messages": [HI, HELLO], "label": 1}) == "messages"
    assert detect_format({"messages": [HI, HELLO], "kto_tag": 1}) == "kto"
