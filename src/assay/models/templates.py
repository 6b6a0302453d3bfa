"""From an example to the prompt string a model is tuned on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.data.corpus import Example
from assay.errors import AssayError


def tk_instruct(example: Example) -> str:
    """Tk-Instruct (Wang et al. 2022): definition, demonstrations, the instance."""
    parts = [f"Definition: {example.instruction}\n\n"]
    for number, (given, answer) in enumerate(example.demonstrations, start=1):
        parts.append(
            f"Positive Example {number} -\nInput: {given}\nOutput: {answer}\n\n"
        )
    parts.append(
        f"Now complete the following example -\nInput: {example.text}\nOutput: "
    )
    return "".join(parts)


def alpaca(example: Example) -> str:
    """Stanford Alpaca's two prompts, with and without an input."""
    instruction, given = example.instruction, example.text
    if not instruction:
        instruction, given = given, ""
    kind = ", paired with an input that provides further context" if given else ""
    head = (
        f"Below is an instruction that describes a task{kind}. Write a response that "
        "appropriately completes the request.\n\n"
        f"### Instruction:\n{instruction}\n\n"
    )
    return head + (f"### Input:\n{given}\n\n" if given else "") + "### Response:\n"


def plain(example: Example) -> str:
    """Instruction, earlier turns and text, a blank line between them."""
    turns = [content for _, content in example.history]
    parts = [p for p in (example.instruction, *turns, example.text) if p]
    return "\n\n".join(parts) + "\n"


TEMPLATES: dict[str, Callable[[Example], str]] = {
    "tk-instruct": tk_instruct,
    "alpaca": alpaca,
    "plain": plain,
}


def render_prompt(example: Example, tokenizer: Any, template: str = "auto") -> str:
    """Render the prompt of an example.

    Args:
        example: The example; its response is not used.
        tokenizer: Supplies the chat template.
        template: ``tk-instruct``, ``alpaca``, ``plain``, ``chat`` (the tokenizer's
            own) or ``auto`` (chat where there is one, else plain).

    Raises:
        AssayError: Unknown template, ``chat`` without a chat template, or a chat
            template that refuses the turns of this example.
    """
    has_chat = getattr(tokenizer, "chat_template", None) is not None
    if template == "auto":
        template = "chat" if has_chat else "plain"
    if template in TEMPLATES:
        return TEMPLATES[template](example)
    if template != "chat":
        known = ", ".join(["auto", "chat", *TEMPLATES])
        raise AssayError(f"unknown template {template!r}; known: {known}")
    if not has_chat:
        raise AssayError("the tokenizer has no chat template; use --template plain")
    turns = [{"role": r, "content": c} for r, c in example.history]
    user = example.text
    if example.instruction and turns:
        turns.insert(0, {"role": "system", "content": example.instruction})
    elif example.instruction:
        user = f"{example.instruction}\n\n{example.text}".rstrip()
    turns.append({"role": "user", "content": user})
    try:
        prompt = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
    except Exception as error:
        # Templates refuse system messages or turns that do not alternate.
        raise AssayError(
            f"row {example.row}: the tokenizer's chat template fails "
            f"({' '.join(str(error).split())}); use --template plain"
        ) from error
    return str(prompt)
