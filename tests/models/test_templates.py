import pytest

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.models.templates import render_prompt

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


class Tokenizer:
    chat_template = None


def row(instruction="I", text="T", **more):
    return Example("e", 3, instruction, text, "R", **more)


@pytest.mark.parametrize(
    ("template", "given", "prompt"),
    [
        (
            "tk-instruct",
            row(demonstrations=(("a", "b"), ("c", "d"))),
            "Definition: I\n\n"
            "Positive Example 1 -\nInput: a\nOutput: b\n\n"
            "Positive Example 2 -\nInput: c\nOutput: d\n\n"
            "Now complete the following example -\nInput: T\nOutput: ",
        ),
        (
            "alpaca",
            row(),
            "Below is an instruction that describes a task, paired with an input that "
            "provides further context. Write a response that appropriately completes "
            "the request.\n\n### Instruction:\nI\n\n### Input:\nT\n\n### Response:\n",
        ),
        (
            "alpaca",
            row(instruction=""),
            "Below is an instruction that describes a task. Write a response that "
            "appropriately completes the request.\n\n"
            "### Instruction:\nT\n\n### Response:\n",
        ),
        ("plain", row(), "I\n\nT\n"),
        ("plain", row(instruction=""), "T\n"),
        ("auto", row(history=(("user", "h"),)), "I\n\nh\n\nT\n"),
    ],
)
def test_named_templates(template, given, prompt):
    assert render_prompt(given, Tokenizer(), template) == prompt


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        (row(), "<user>I\n\nT<assistant>"),
        (row(instruction=""), "<user>T<assistant>"),
        (row(text=""), "<user>I<assistant>"),
        (
            row(history=(("user", "h"), ("assistant", "a"))),
            "<system>I<user>h<assistant>a<user>T<assistant>",
        ),
    ],
)
def test_auto_is_the_chat_template(causal, given, prompt):
    causal.tokenizer.chat_template = CHAT
    assert render_prompt(given, causal.tokenizer) == prompt


def test_the_response_is_never_in_the_prompt(causal):
    causal.tokenizer.chat_template = CHAT
    for template in ("chat", "plain", "alpaca", "tk-instruct"):
        given = row().edit(response="SECRET")
        assert "SECRET" not in render_prompt(given, causal.tokenizer, template)


def test_errors(causal):
    with pytest.raises(AssayError, match="unknown template 'x'; known: auto, chat"):
        render_prompt(row(), Tokenizer(), "x")
    with pytest.raises(AssayError, match="no chat template"):
        render_prompt(row(), Tokenizer(), "chat")
    causal.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(AssayError, match=r"row 3: .*no system role"):
        render_prompt(row(), causal.tokenizer)
