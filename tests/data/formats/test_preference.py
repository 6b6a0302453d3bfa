import pytest

from assay.data.corpus import Role
from assay.data.formats import detect_format, parse, read_record, render

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
    assert list(found.unread) == []
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
