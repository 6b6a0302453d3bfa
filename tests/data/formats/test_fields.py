import pytest

from assay.data.corpus import Role, Turn
from assay.data.formats import detect_format, parse, read_record, render


def read(record, mapping=None, format=None):
    format = format or detect_format(record)
    return parse(record, 3, format, mapping or {}, "f:1")


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


def test_alpaca_system_and_history():
    example = read(
        {
            "instruction": "And now?",
            "output": "Bye",
            "system": "Be brief.",
            "history": [["Hi", "Hello"], ["How?", "Fine"]],
        }
    )
    assert example.system == "Be brief."
    assert example.history == (
        Turn(Role.USER, "Hi"),
        Turn(Role.ASSISTANT, "Hello", trained=True),
        Turn(Role.USER, "How?"),
        Turn(Role.ASSISTANT, "Fine", trained=True),
    )
    assert [a.response for a in example.earlier_answers] == ["Hello", "Fine"]


def test_several_reference_answers():
    record = {"question": "Who?", "answer": ["Me", "I", "Myself"]}
    names = {"text": "question", "response": "answer"}
    example = read(record, names, "columns")
    assert (example.response, example.alternatives) == ("Me", ("I", "Myself"))
    after = render(example.edit(response="You"), "columns", names)
    assert after["answer"] == ["You", "I", "Myself"]


def test_columns_by_their_names():
    names = {"text": "q", "response": "a", "system": "s", "instruction": "i"}
    example = read({"q": "2 3", "a": "5", "s": "Add.", "i": None}, names, "columns")
    assert (example.system, example.instruction, example.text) == ("Add.", "", "2 3")


@pytest.mark.parametrize("input", [{}, {"input": ""}])
def test_gpteacher_without_an_input(input):
    example = read({"instruction": "Add 2 3", "response": "5", **input})
    assert (example.text, example.response) == ("Add 2 3", "5")


def test_an_input_of_one_empty_text_is_none():
    record = {"instruction": "Sing.", "input": [""], "output": "La"}
    example = read(record)
    assert (example.instruction, example.text) == ("", "Sing.")
    after = render(example.edit(text="Hum."), "alpaca", {})
    assert after == {**record, "instruction": "Hum."}


@pytest.mark.parametrize("new", ["inf", "nan", "-inf"])
def test_a_number_never_becomes_infinity(new):
    record = {"prompt": "p", "completion": 1.5}
    after = render(read(record).edit(response=new), "prompt-completion", {})
    assert after["completion"] == new
    assert read(after).response == new


def test_only_what_is_read_is_taken_for_read():
    record = {"q": "a", "a": "b", "c": "d"}
    names = {"text": "q", "response": "a", "chosen": "c"}
    assert list(read_record(record, 0, "columns", names, "f:1").unread) == ["c"]
