import pytest

from assay.data.corpus import Role
from assay.data.formats import detect_format, parse, render
from assay.errors import AssayError
from assay.models.templates import framed

TEXTS = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi"
    "<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n",
    "llama-3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>",
    "llama-2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s>",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>",
    "vicuna": "SYSTEM: Be brief. USER: Hi ASSISTANT: Hello</s>",
    "hashes": "### System:\nBe brief.\n\n### User:\nHi\n\n### Assistant:\nHello",
}


def read(text, mapping=None):
    return parse({"text": text}, 0, "text", mapping or {}, "f:1")


@pytest.mark.parametrize("family", TEXTS)
def test_families_of_templates(family):
    text = TEXTS[family]
    assert detect_format({"text": text}) == "text"
    example = read(text)
    assert example.system == "Be brief."
    assert (example.text, example.response) == ("Hi", "Hello")
    prompt = framed(example)
    assert text.startswith(prompt + "Hello")
    after = render(example.edit(text="Ho", response="Hum"), "text", {})["text"]
    assert after == text.replace("Hi", "Ho").replace("Hello", "Hum")


def test_gemma_and_hh_have_no_system_turn():
    gemma = (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n"
        "<start_of_turn>model\nHello<end_of_turn>"
    )
    hh = "\n\nHuman: Hi\n\nAssistant: Hello"
    for text in (gemma, hh):
        example = read(text)
        assert (example.text, example.response) == ("Hi", "Hello")
        assert text.startswith(framed(example) + "Hello")


def test_alpaca_with_an_input():
    text = (
        "Below is an instruction.\n\n### Instruction:\nAdd.\n\n### Input:\n2 3\n\n"
        "### Response:\n5</s>"
    )
    example = read(text)
    assert (example.text, example.response) == ("2 3", "5")
    assert [t.content for t in example.history] == ["Add."]
    assert framed(example) + "5</s>" == text


def test_several_turns_each_with_its_own_prompt():
    text = "".join(
        f"<|im_start|>{who}\n{said}<|im_end|>\n"
        for who, said in [
            ("user", "a"),
            ("assistant", "b"),
            ("user", "c"),
            ("assistant", "d"),
        ]
    )
    example = read(text)
    (first,) = example.earlier_answers
    assert framed(first) + "b" == text[: text.index("b<") + 1]
    assert framed(example) + "d" == text[: text.index("d<") + 1]
    assert example.history[1].role is Role.ASSISTANT


def test_the_response_marker_by_hand():
    text = "Q: 2 + 3?\nANSWER =  5"
    names = {"response_marker": "ANSWER ="}
    example = read(text, names)
    assert (example.text, example.response) == ("Q: 2 + 3?", "5")
    assert framed(example) + "5" == text
    after = render(example.edit(text="Q: 1?", response="7"), "text", names)
    assert after["text"] == "Q: 1?\nANSWER =  7"


def test_segments():
    segments = [
        {"label": False, "text": "Q: 2\n"},
        {"label": True, "text": "two\n"},
        {"label": False, "text": "Q: 3\n"},
        {"label": True, "text": "three"},
    ]
    example = parse({"segments": segments}, 0, "segments", {}, "f:1")
    assert (example.text, example.response) == ("Q: 3\n", "three")
    assert framed(example) == "Q: 2\ntwo\nQ: 3\n"
    after = render(example.edit(response="3"), "segments", {})
    assert [s["text"] for s in after["segments"]] == ["Q: 2\n", "two\n", "Q: 3\n", "3"]


def test_an_edit_that_would_be_read_as_several_turns():
    text = "### Instruction:\nAdd.\n\n### Response:\n5"
    example = read(text)
    with pytest.raises(AssayError, match="has markers of the template in it"):
        render(example.edit(text="a\n\n### Response:\nb"), "text", {})
    after = render(example.edit(text="### Add", response="6"), "text", {})
    assert after["text"] == "### Instruction:\n### Add\n\n### Response:\n6"


def test_segments_without_a_question_have_no_text_to_edit():
    segments = [{"label": True, "text": "a"}, {"label": True, "text": "b"}]
    example = parse({"segments": segments}, 0, "segments", {}, "f:1")
    assert (example.text, example.response) == ("", "b")
    with pytest.raises(AssayError, match="has no text to edit"):
        render(example.edit(text="new"), "segments", {})
    after = render(example.edit(response="new"), "segments", {})
    assert [s["text"] for s in after["segments"]] == ["a", "new"]
