"""From an example to the prompt string a model is tuned on, and to its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from assay.data.corpus import Example, Role, ToolCall, Turn
from assay.errors import AssayError
from assay.util.messages import reason

_SPEAKERS = {
    Role.SYSTEM: "System",
    Role.USER: "User",
    Role.ASSISTANT: "Assistant",
    Role.TOOL: "Tool",
}


def _background(example: Example) -> str:
    """Return the system prompt and the tools that may be called."""
    return "\n\n".join(p for p in (example.system, tools_text(example)) if p)


def tools_text(example: Example) -> str:
    """Name the tools of an example for templates that know of none."""
    return f"Tools that you may call:\n{example.tools}" if example.tools else ""


def tk_instruct(example: Example) -> str:
    """Tk-Instruct (Wang et al. 2022): definition, demonstrations, the instance.

    Earlier turns of a chat are a transcript in the instance's input.
    """
    background = _background(example)
    definition = "\n\n".join(p for p in (background, example.instruction) if p)
    parts = [f"Definition: {definition}\n\n"]
    for number, (given, answer) in enumerate(example.demonstrations, start=1):
        parts.append(
            f"Positive Example {number} -\nInput: {given}\nOutput: {answer}\n\n"
        )
    given = example.text
    if example.is_chat:
        asked = Turn(example.role, example.text)
        turns = (*example.history, asked, *example.steps)
        given = "\n".join(f"{_SPEAKERS[t.role]}: {t.said}" for t in turns)
    parts.append(f"Now complete the following example -\nInput: {given}\nOutput: ")
    return "".join(parts)


def alpaca(example: Example) -> str:
    """Stanford Alpaca's two prompts, with and without an input.

    Earlier turns of a chat are further instructions and responses.
    """
    instruction, given = example.instruction, example.text
    if not instruction:
        instruction, given = given, ""
    kind = ", paired with an input that provides further context" if given else ""
    background = _background(example)
    head = (f"{background}\n\n" if background else "") + (
        f"Below is an instruction that describes a task{kind}. Write a response that "
        "appropriately completes the request.\n\n"
    )
    names = {**_SPEAKERS, Role.USER: "Instruction", Role.ASSISTANT: "Response"}

    def shown(turns: Sequence[Turn]) -> str:
        return "".join(f"### {names[t.role]}:\n{t.said}\n\n" for t in turns)

    asked = f"### {names[example.role]}:\n{instruction}\n\n"
    asked += f"### Input:\n{given}\n\n" if given else ""
    return (
        head
        + shown(example.history)
        + (asked if instruction or not example.is_chat else "")
        + shown(example.steps)
        + "### Response:\n"
    )


def plain(example: Example) -> str:
    """System prompt, instruction and text, a blank line between them.

    In a chat of several turns, who speaks stands above each of them.
    """
    background = _background(example)
    if not example.is_chat:
        parts = [p for p in (background, example.instruction, example.text) if p]
        return "\n\n".join(parts) + "\n"
    turns = "".join(f"{_SPEAKERS[t.role]}:\n{t.said}\n\n" for t in example.before)
    return (
        (f"{background}\n\n" if background else "")
        + turns
        + f"{_SPEAKERS[Role.ASSISTANT]}:\n"
    )


TEMPLATES: dict[str, Callable[[Example], str]] = {
    "tk-instruct": tk_instruct,
    "alpaca": alpaca,
    "plain": plain,
}


def framed(example: Example) -> str:
    """Return the prompt of a record that holds it formatted, as it stands there."""
    assert example.frame is not None
    before_system, before_text, before_response = example.frame

    def literal(turns: Sequence[Turn]) -> str:
        return "".join(t.lead + t.content for t in turns)

    return (
        before_system
        + example.system
        + literal(example.history)
        + before_text
        + example.text
        + literal(example.steps)
        + before_response
    )


def template_name(tokenizer: Any, template: str) -> str:
    """Resolve ``auto``: the tokenizer's chat template where there is one, else plain.

    Raises:
        AssayError: Unknown template, or ``chat`` without a chat template.
    """
    has_chat = getattr(tokenizer, "chat_template", None) is not None
    if template == "auto":
        return "chat" if has_chat else "plain"
    if template not in TEMPLATES and template != "chat":
        known = ", ".join(["auto", "chat", *TEMPLATES])
        raise AssayError(f"unknown template {template!r}; known: {known}")
    if template == "chat" and not has_chat:
        raise AssayError("the tokenizer has no chat template; use --template plain")
    return template


def render_prompt(example: Example, tokenizer: Any, template: str = "auto") -> str:
    """Render the prompt of an example.

    Args:
        example: The example; its response is not used.
        tokenizer: Supplies the chat template.
        template: ``tk-instruct``, ``alpaca``, ``plain``, ``chat`` (the tokenizer's
            own) or ``auto`` (chat where there is one, else plain). Records that hold
            the formatted prompt are taken as they are.

    Raises:
        AssayError: Unknown template, ``chat`` without a chat template, or a chat
            template that refuses the turns of this example.
    """
    name = template_name(tokenizer, template)
    if example.frame is not None:
        return framed(example)
    if name in TEMPLATES:
        return TEMPLATES[name](example)
    return _rendered(example, tokenizer, _messages(example, tokenizer))


def render_answer(example: Example, tokenizer: Any, template: str = "auto") -> str:
    """Render the response of an example: the text that a model learns to produce.

    A response that calls tools is written as the chat template writes calls, if it
    does; everything else is the response itself.
    """
    if (
        not example.calls
        or example.frame is not None
        or template_name(tokenizer, template) != "chat"
        or not _mentions(tokenizer, "tool_calls")
    ):
        return example.response
    prompt = render_prompt(example, tokenizer, template)
    content = example.response.partition(example.calls[0].as_text())[0].rstrip("\n")
    last = _message(Turn(Role.ASSISTANT, content, example.calls), native=True)
    whole = _rendered(
        example, tokenizer, [*_messages(example, tokenizer), last], answer=False
    )
    if not whole.startswith(prompt):
        return example.response
    answer = whole[len(prompt) :]
    end = tokenizer.eos_token
    return answer.partition(end)[0] if end else answer.rstrip()


def _mentions(tokenizer: Any, word: str) -> bool:
    # A tokenizer may have several templates by name.
    return word in str(tokenizer.chat_template)


def _arguments(call: ToolCall) -> Any:
    # Templates write arguments as JSON themselves.
    with suppress(ValueError, RecursionError):
        return json.loads(call.arguments)
    return call.arguments


def _message(turn: Turn, native: bool) -> dict[str, Any]:
    """Make a turn what chat templates take, with calls of their own kind or as text."""
    message: dict[str, Any] = {"role": str(turn.role), "content": turn.content}
    if turn.calls and not native:
        message["content"] = turn.said
    elif turn.calls:
        message["tool_calls"] = [
            {
                "type": "function",
                **({"id": call.id} if call.id else {}),
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in turn.calls
        ]
    if turn.role is Role.TOOL:
        message |= {"name": turn.name} if turn.name else {}
        message |= {"tool_call_id": turn.call_id} if turn.call_id else {}
    return message


def _messages(example: Example, tokenizer: Any) -> list[dict[str, Any]]:
    native = _mentions(tokenizer, "tool_calls")
    knows_tools = _mentions(tokenizer, "tools")
    system = example.system if knows_tools else _background(example)
    first = [Turn(Role.SYSTEM, system)] if system else []
    return [_message(turn, native) for turn in (*first, *example.before)]


def _rendered(
    example: Example,
    tokenizer: Any,
    messages: list[dict[str, Any]],
    *,
    answer: bool = True,
) -> str:
    """Apply the chat template; with the system prompt in the first turn if need be."""
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": answer}
    if example.tools and _mentions(tokenizer, "tools"):
        tools: Any = None
        with suppress(ValueError, RecursionError):
            tools = json.loads(example.tools)
        options["tools"] = tools if isinstance(tools, list) else None
    try:
        return str(tokenizer.apply_chat_template(messages, **options))
    except Exception as error:
        first = messages[0]["role"] if messages else ""
        if first == "system" and len(messages) > 1 and messages[1]["role"] == "user":
            # Some templates know no system turn (Gemma's, say).
            system, asked, *rest = messages
            merged = f"{system['content']}\n\n{asked['content']}"
            with suppress(Exception):
                return str(
                    tokenizer.apply_chat_template(
                        [{**asked, "content": merged}, *rest], **options
                    )
                )
        # Others refuse turns that do not alternate.
        raise AssayError(
            f"row {example.row}: the tokenizer's chat template fails "
            f"({reason(error)}); use --template plain"
        ) from error
