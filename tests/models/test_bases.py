import copy
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from assay.errors import AssayError
from assay.models import bases
from assay.models.bases import check_base
from assay.models.language_model import LanguageModel
from assay.models.load import load_model, save_model
from assay.models.tiny import tiny_causal

from .conftest import VOCABULARY, build


def changed(lm):
    lm = copy.deepcopy(lm)
    with torch.no_grad():
        list(lm.model.parameters())[-1].add_(1.0)
    return lm


@pytest.fixture
def base(lm, tmp_path):
    save_model(lm, tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def tuned(lm, tmp_path):
    save_model(changed(lm), tmp_path / "tuned")
    return str(tmp_path / "tuned")


def refusal(model, base):
    with pytest.raises(AssayError) as caught:
        check_base(model, base)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def adapted(lm, *, trained=True):
    lm = copy.deepcopy(lm)
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=not trained)
    lm.model = get_peft_model(lm.model, config)
    lm.name = "adapter"
    return lm


def test_a_tuned_model_and_its_base_pass(lm, base, tuned):
    check_base(tuned, base)
    check_base(changed(lm), base)
    check_base(tuned, lm)
    check_base(changed(lm), lm)


def test_one_model_twice_is_refused(lm, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refusal(base, "./base/")
    assert told.startswith(
        f"--base-model ./base/ and --model {base} are the same model; give what it was"
    )
    assert "are the same model" in refusal(lm, lm)


def test_equal_weights_are_one_model(lm, base, tmp_path):
    copied = str(tmp_path / "copied")
    shutil.copytree(base, copied)
    assert "are the same model" in refusal(copied, base)
    assert "are the same model" in refusal(lm, base)
    assert "are the same model" in refusal(base, copy.deepcopy(lm))


def test_another_architecture_is_refused(causal, base, tmp_path):
    ids = len(causal.tokenizer)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=ids, n_embd=32, n_layer=2, n_head=2))
    other = LanguageModel(gpt2, causal.tokenizer, "other", False)
    kind = load_model(base).model.config.model_type
    told = refusal(other, base)
    assert told == (
        f"--base-model {base} is not what --model other was tuned from: one is of type "
        f"{kind}, one gpt2"
    )
    assert f"one is of type gpt2, one {kind}" in refusal(base, other)


def test_other_sizes_are_refused(causal, tmp_path):
    wide = tiny_causal([VOCABULARY], width=64, layers=2)
    deep = tiny_causal([VOCABULARY], width=32, layers=3)
    save_model(wide, tmp_path / "wide")
    told = refusal(causal, str(tmp_path / "wide"))
    assert "weight model.embed_tokens.weight is 18×64 and 18×32" in told
    assert "weight model.layers.2." in refusal(causal, deep)
    assert " is missing and 32" in refusal(deep, causal)


def test_another_vocabulary_is_refused(causal):
    other = tiny_causal(["other words than those before"], width=32, layers=2)
    told = refusal(causal, other)
    assert " tokens, such as " in told
    assert "have another id or none" in told


def test_a_model_that_got_tokens_added_passes(causal, tmp_path):
    more = changed(causal)
    more.tokenizer = copy.deepcopy(more.tokenizer)
    more.tokenizer.add_tokens(["<tool>", "<think>"])
    more.model.resize_token_embeddings(len(more.tokenizer))
    check_base(more, causal)
    save_model(more, tmp_path / "more")
    save_model(causal, tmp_path / "base")
    check_base(str(tmp_path / "more"), str(tmp_path / "base"))
    # The other way round the base has tokens that the model does not know.
    assert "2 of its 20 tokens, such as '<t" in refusal(causal, more)


def test_only_tokens_added_is_no_tuning(causal):
    more = copy.deepcopy(causal)
    more.tokenizer = copy.deepcopy(more.tokenizer)
    more.tokenizer.add_tokens(["<tool>"])
    more.model.resize_token_embeddings(len(more.tokenizer))
    assert "are the same model" in refusal(more, causal)


def test_an_adapter_is_compared_by_its_base(lm, base, tmp_path):
    save_model(adapted(load_model(base)), tmp_path / "adapter")
    check_base(str(tmp_path / "adapter"), base)
    check_base(adapted(lm), base)
    check_base(adapted(lm), lm)
    other = build("llama" if lm.is_encoder_decoder else "t5")
    assert "one is of type" in refusal(str(tmp_path / "adapter"), other)


def test_an_adapter_that_changes_nothing_is_its_base(lm, base, tmp_path):
    untrained = adapted(load_model(base), trained=False)
    save_model(untrained, tmp_path / "adapter")
    assert "are the same model" in refusal(str(tmp_path / "adapter"), base)
    assert "are the same model" in refusal(untrained, base)


def test_a_damaged_base_is_one_line(base, tuned, tmp_path):
    (tmp_path / "base" / "tokenizer.json").write_text("{")
    assert "cannot be loaded" in refusal(tuned, base)
    (tmp_path / "base" / "config.json").unlink()
    assert "not a model folder" in refusal(tuned, base)


def test_a_gguf_file_is_loaded_once(lm, base, tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    file.touch()
    loaded = []

    def load(spec):
        loaded.append(spec)
        return changed(lm)

    monkeypatch.setattr(bases, "load_model", load)
    check_base(str(file), base)
    assert "are the same model" in refusal(str(file), changed(lm))
    assert loaded == [str(file)] * 2
