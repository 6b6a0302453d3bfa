import pytest

from assay.data.corpus import Example, Role, ToolCall, Turn
from assay.errors import AssayError
from assay.models.templates import framed, render_answer, render_prompt

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


CALL = ToolCall("f", '{"x": 1}', "c1")
HISTORY = (Turn(Role.USER, "h"), Turn(Role.ASSISTANT, "a", trained=True))
STEPS = (
    Turn(Role.ASSISTANT, "", (CALL,), trained=True),
    Turn(Role.TOOL, "31", call_id="c1"),
)
# Like the templates of current models: calls and tools of their own kind.
NATIVE = (
    "{% if tools %}<tools>{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }} "
    "{{ c.function.arguments.x }}]{% endfor %}</s>{% endfor %}"
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
        ("plain", row(system="S"), "S\n\nI\n\nT\n"),
        (
            "plain",
            row(system="S", history=HISTORY),
            "S\n\nUser:\nh\n\nAssistant:\na\n\nUser:\nI\n\nT\n\nAssistant:\n",
        ),
        (
            "plain",
            row(instruction="", steps=STEPS, tools="[{}]"),
            "Tools that you may call:\n[{}]\n\nUser:\nT\n\nAssistant:\n"
            f"{CALL.as_text()}\n\nTool:\n31\n\nAssistant:\n",
        ),
        (
            "alpaca",
            row(instruction="", history=HISTORY),
            "Below is an instruction that describes a task. Write a response that "
            "appropriately completes the request.\n\n"
            "### Instruction:\nh\n\n### Response:\na\n\n"
            "### Instruction:\nT\n\n### Response:\n",
        ),
        (
            "tk-instruct",
            row(system="S", history=HISTORY),
            "Definition: S\n\nI\n\nNow complete the following example -\n"
            "Input: User: h\nAssistant: a\nUser: T\nOutput: ",
        ),
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
            row(history=HISTORY),
            "<user>h<assistant>a<user>I\n\nT<assistant>",
        ),
        (row(system="S"), "<system>S<user>I\n\nT<assistant>"),
        (
            row(instruction="", system="S", history=HISTORY),
            "<system>S<user>h<assistant>a<user>T<assistant>",
        ),
        (
            row(instruction="", steps=STEPS),
            f"<user>T<assistant>{CALL.as_text()}<tool>31<assistant>",
        ),
        (
            row(instruction="", tools="[{}]"),
            "<system>Tools that you may call:\n[{}]<user>T<assistant>",
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


def test_a_template_with_calls_of_its_own(causal):
    causal.tokenizer.chat_template = NATIVE
    given = row(instruction="", steps=STEPS, tools='[{"name": "f"}]')
    prompt = (
        '<tools>[{"name": "f"}]<user>T</s><assistant>[f 1]</s><tool>31</s><assistant>'
    )
    assert render_prompt(given, causal.tokenizer) == prompt
    (call,) = given.earlier_answers
    assert call.response == CALL.as_text()
    assert render_answer(call, causal.tokenizer) == "[f 1]"
    assert render_answer(given, causal.tokenizer) == "R"
    # Where the template knows none, the call is the text that it stands for.
    causal.tokenizer.chat_template = CHAT
    assert render_answer(call, causal.tokenizer) == CALL.as_text()


def test_a_template_without_system_turns(causal):
    causal.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    ) + CHAT
    given = row(instruction="", system="S", history=HISTORY)
    prompt = render_prompt(given, causal.tokenizer)
    assert prompt == "<user>S\n\nh<assistant>a<user>T<assistant>"


def test_a_formatted_prompt_is_put_into_no_template(causal):
    causal.tokenizer.chat_template = CHAT
    given = row(
        instruction="",
        system="S",
        history=(
            Turn(Role.USER, "h", lead="|u|"),
            Turn(Role.ASSISTANT, "a", lead="|a|"),
        ),
        frame=("|s|", "|u|", "|a|"),
    )
    assert framed(given) == "|s|S|u|h|a|a|u|T|a|"
    for template in ("auto", "chat", "plain", "alpaca"):
        assert render_prompt(given, causal.tokenizer, template) == framed(given)
