import pytest
import torch

from assay.data.corpus import Corpus, Example
from assay.models.encode import collate, encode
from assay.models.loss import response_losses
from assay.models.tiny import tiny_causal, tiny_t5

VOCABULARY = "good bad film food great awful plot taste was the yes no is Input Output"


def example(row, text, response, instruction="is the film good", **more):
    return Example(f"e{row}", row, instruction, text, response, **more)


def rows():
    return [
        example(0, "the plot was great", "yes"),
        example(1, "awful", "no"),
        example(2, "the food was good the taste was great", "yes great"),
        example(3, "bad taste", "no bad awful food"),
        example(4, "the film was awful", "no"),
        example(5, "good film", "yes"),
    ]


def corpus_of(examples):
    return Corpus(tuple(examples), "alpaca", "jsonl", "rows.jsonl")


def build(kind):
    if kind == "t5":
        return tiny_t5([VOCABULARY], width=32, layers=1)
    return tiny_causal([VOCABULARY], width=32, layers=2)


@pytest.fixture(params=["llama", "t5"])
def lm(request):
    return build(request.param)


@pytest.fixture
def causal():
    return build("llama")


@pytest.fixture
def t5():
    return build("t5")


@pytest.fixture
def examples():
    return rows()


@pytest.fixture
def corpus():
    return corpus_of(rows())


def losses(lm):
    lm.model.eval()
    with torch.no_grad():
        batch = collate(encode(rows(), lm, template="plain").examples, lm)
        return response_losses(lm.model, batch, lm.is_encoder_decoder).loss
