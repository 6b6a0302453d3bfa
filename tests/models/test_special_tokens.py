import pytest
from tokenizers import processors

from assay.models.special_tokens import begins_with_bos

from .conftest import build


@pytest.fixture
def tokenizer():
    made = build("llama").tokenizer
    made.add_special_tokens({"bos_token": "<s>"})
    return made


def put_in_front(tokenizer, token):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.vocab[token])]
    )


def test_a_tokenizer_that_begins_with_bos(tokenizer):
    put_in_front(tokenizer, "<s>")
    assert begins_with_bos(tokenizer)


def test_a_bos_token_that_is_not_put_in_front(tokenizer):
    assert not begins_with_bos(tokenizer)


def test_another_token_in_front(tokenizer):
    put_in_front(tokenizer, "</s>")
    assert not begins_with_bos(tokenizer)


def test_no_bos_token():
    assert not begins_with_bos(build("llama").tokenizer)
