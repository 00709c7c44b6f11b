"""Where the language model, vision tower and tokenizer come from: a LLaVA checkpoint, CLIP + a decoder, or nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from datamodules.conversation import IMAGE_TOKEN, REGION_TOKEN
from datamodules.processor import CLIP_MEAN, CLIP_STD
from datamodules.types import DataError
from lightning_modules.byte_tokenizer import BYTES, byte_tokenizer
from lightning_modules.export import is_exported

if TYPE_CHECKING:
    from transformers import LlavaConfig, PreTrainedTokenizerBase

    from lightning_modules.region_llava import RegionLlava

PAD_TOKEN = "<pad>"


@dataclass
class BaseModel:
    """The vision-language model that regions are added to; one of three origins.

    Args:
        llava: Hub id or folder of a LLaVA checkpoint in transformers' format.
        vision_tower: Hub id or folder of a CLIP checkpoint; together with `language_model`, and a new projector.
        language_model: Hub id or folder of one of the decoders in `base_checks.DECODERS`, for example Llama-2.
        architecture: Arguments of transformers' `LlavaConfig`: random weights, unless one of the above is given.
        tokenizer: Hub id or folder, or `bytes` for one token a byte; that of the LLaVA or decoder checkpoint if left
            out.
        dtype: Data type of frozen weights, and of all in a model that answers; what learns is float32.
        image_mean: Mean of the tower's normalisation, red, green, blue in [0, 1].
        image_std: Standard deviation of the same.
    """

    llava: str | None = None
    vision_tower: str | None = None
    language_model: str | None = None
    architecture: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    dtype: str = "float32"
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.llava and (self.vision_tower or self.language_model):
            raise DataError("base.llava and base.vision_tower + base.language_model exclude each other")
        if bool(self.vision_tower) != bool(self.language_model):
            raise DataError("base.vision_tower and base.language_model go together")
        if not (self.llava or self.vision_tower or self.architecture):
            raise DataError("base needs llava, vision_tower + language_model, or architecture")


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerBase:
    """The tokenizer, with `<image>`, `<region>` and a padding token added where it lacks them."""
    from transformers import AutoTokenizer

    name = base.tokenizer or base.llava or base.language_model
    if name is None:
        raise DataError("base.architecture alone has no tokenizer: set base.tokenizer")
    try:
        tokenizer: PreTrainedTokenizerBase = byte_tokenizer() if name == BYTES else AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise DataError(f"no tokenizer at {name!r}: {_first_line(error)}") from None
    add_special_tokens(tokenizer)
    return tokenizer


def add_special_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds what region conversations need; tokens that are there already keep their ids."""
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [IMAGE_TOKEN, REGION_TOKEN]}, replace_extra_special_tokens=False
    )
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})


def load_base_model(base: BaseModel, tokenizer: PreTrainedTokenizerBase) -> RegionLlava:
    """The model with its weights, its vocabulary as large as the tokenizer's.

    Raises:
        DataError: Nothing can be loaded from the place given, or weights are missing or do not fit.
    """
    if base.llava:
        model = _load_llava(base.llava, base.dtype)
    elif base.vision_tower and base.language_model:
        model = _join(base.vision_tower, base.language_model, base.architecture, base.dtype)
    else:
        model = build(base.architecture, len(tokenizer), base.dtype)
    fit_vocabulary(model, tokenizer)
    return model


def build(architecture: dict[str, Any], vocabulary: int | None = None, dtype: str = "float32") -> RegionLlava:
    """A model with random weights, on the current default device: under `torch.device("meta")` it costs nothing."""
    from lightning_modules.region_llava import RegionLlava

    config = _config(architecture, vocabulary)
    model: RegionLlava = RegionLlava._from_config(config, dtype=getattr(torch, dtype))
    return model


def fit_vocabulary(model: RegionLlava, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tells the model the ids of its special tokens; adds rows, in blocks of 64, only where they do not fit."""
    if len(tokenizer) > model.config.text_config.vocab_size:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    model.config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))


def _config(architecture: dict[str, Any], vocabulary: int | None) -> LlavaConfig:
    from transformers import LlavaConfig

    text = {"model_type": "llama", **architecture.get("text_config", {})}
    if vocabulary is not None:
        text["vocab_size"] = max(vocabulary, text.get("vocab_size", 0))
    vision = {"model_type": "clip_vision_model", **architecture.get("vision_config", {})}
    grid = vision["image_size"] // vision["patch_size"]
    return LlavaConfig(**{"image_seq_length": grid**2, **architecture, "text_config": text, "vision_config": vision})


def _load_llava(name: str, dtype: str) -> RegionLlava:
    from lightning_modules.region_llava import RegionLlava

    return _checked(RegionLlava, name, dtype, kinds=("llava",))  # type: ignore[no-any-return]  # transformers is untyped


def _join(vision_tower: str, language_model: str, architecture: dict[str, Any], dtype: str) -> RegionLlava:
    """A LLaVA of two checkpoints and a random projector; `architecture` may change what is not theirs."""
    from transformers import AutoModelForCausalLM, CLIPVisionModel

    tower = _checked(CLIPVisionModel, vision_tower, dtype, kinds=("clip", "clip_vision_model"))
    decoder = _checked(AutoModelForCausalLM, language_model, dtype)
    joined = {
        **architecture,
        "vision_config": tower.config.to_dict(),
        "text_config": decoder.config.to_dict(),
    }
    with torch.device("meta"):
        model: RegionLlava = build(joined, dtype=dtype)
    # the loaded modules move in as they are: a copy would need the memory of both
    model.model.vision_tower = tower
    model.model.language_model = decoder.model
    model.lm_head = decoder.lm_head
    projector: nn.Module = model.model.multi_modal_projector
    projector.to_empty(device=decoder.device).apply(model._init_weights)
    model.eval()  # as a checkpoint comes
    return model


def _checked(kind: Any, name: str, dtype: str, kinds: tuple[str, ...] = ()) -> Any:
    """`from_pretrained` that fails on missing or misfitting weights instead of drawing them at random.

    The kind of checkpoint is read first: transformers would build a whole default model for a wrong one.
    """
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(name).model_type
        if kinds and found not in kinds:
            raise DataError(f"{name!r} is a checkpoint of {found!r}, not of {' or '.join(kinds)}")
        model, report = kind.from_pretrained(name, dtype=getattr(torch, dtype), output_loading_info=True)
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(f"cannot load {kind.__name__} from {name!r}: {_first_line(error)}") from None
    wrong = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if wrong:
        raise DataError(f"{name!r} is not a {kind.__name__} checkpoint: {len(wrong)} weights missing: {wrong[:3]}")
    surplus = sorted(report["unexpected_keys"])
    if surplus and is_exported(Path(name)):  # published checkpoints may hold more than is asked for
        raise DataError(f"{name!r} has {len(surplus)} unexpected weights: {surplus[:3]}")
    return model


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


# --- a tokenizer inside a checkpoint ------------------------------------------------------------------------------


def tokenizer_files(tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, str]:
    """The tokenizer as text files by name: what a checkpoint carries so that it answers wherever it is copied to."""
    tokenizer.save_pretrained(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.is_file()}


def tokenizer_from_files(files: dict[str, str], folder: Path) -> PreTrainedTokenizerBase:
    """The inverse of `tokenizer_files`."""
    from transformers import AutoTokenizer

    for name, text in files.items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def architecture_json(config: LlavaConfig) -> str:
    """The architecture as JSON, for a checkpoint: plain text is safe to load anywhere."""
    return json.dumps(config.to_dict(), sort_keys=True)
