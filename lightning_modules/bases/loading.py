"""Where a base model and its tokenizer come from: a checkpoint, a tower and a decoder, or an architecture alone."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError

from datamodules.batching.visual_processor import setting_names
from datamodules.errors import DataError
from datamodules.files import write_text
from datamodules.prompting.conversation import REGION_TOKEN
from lightning_modules.bases import family_of
from lightning_modules.bases.architecture_names import check_names
from lightning_modules.bases.byte_tokenizer import BYTES, byte_tokenizer
from lightning_modules.bases.decoders import check_rope
from lightning_modules.bases.places import check_place, from_pretrained_arguments, is_gguf
from lightning_modules.checkpoints.files import ON_THE_BASE, is_exported
from lightning_modules.training.ranks import of_rank_zero

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from datamodules.batching.visual_processor import VisualProcessor
    from lightning_modules.bases.base import Base

PAD_TOKEN = "<pad>"
DTYPES = ("float32", "bfloat16", "float16")
"""What weights can come as."""


@dataclass
class BaseModel:
    """The vision-language model that regions are added to; one of three origins.

    Args:
        checkpoint: Hub id or folder of a vision-language model: LLaVA-1.5, LLaVA-OneVision, Qwen-VL, InternVL, SmolVLM,
            Gemma and others, see `lightning_modules.bases`.
        vision_tower: Hub id or folder of a tower, or of a LLaVA, of which the tower alone is taken; together with
            `language_model`, and a new projector, in LLaVA's form.
        language_model: Hub id or folder of a decoder, or a GGUF file, whose weights are dequantised.
        architecture: Arguments of the model's configuration in transformers, `model_type` among them, LLaVA's if left
            out: random weights, unless one of the above is given.
        tokenizer: Hub id or folder, or `bytes` for one token a byte; that of the checkpoint or decoder if left out.
        dtype: Data type of the weights.
        vision: What the base makes of pictures, over its checkpoint's own settings: bounds of pixels, tiles, mean and
            standard deviation of the normalisation; the base's file in `lightning_modules/bases/` lists them.
    """

    checkpoint: str | None = None
    vision_tower: str | None = None
    language_model: str | None = None
    architecture: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    dtype: str = "float32"
    vision: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.checkpoint and (self.vision_tower or self.language_model):
            raise DataError("base.checkpoint and base.vision_tower + base.language_model exclude each other")
        if bool(self.vision_tower) != bool(self.language_model):
            raise DataError("base.vision_tower and base.language_model go together")
        if not (self.checkpoint or self.vision_tower or self.architecture):
            raise DataError("base needs checkpoint, vision_tower + language_model, or architecture")
        check_dtype("base.dtype", self.dtype)


def check_dtype(option: str, dtype: str) -> None:
    """Refuses what weights cannot come as, by the option's name."""
    if dtype not in DTYPES:
        raise DataError(f"{option} is {dtype!r}; it takes {', '.join(DTYPES)}")


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerBase:
    """The tokenizer, with `<region>` and a padding token added where it lacks them.

    A tokenizer that is not a checkpoint's own does not know what stands for a picture there: it is added as well.

    Raises:
        DataError: There is none at the place given, none is given, it has no end of sequence, or special tokens of the
            checkpoint have other ids in it.
    """
    name = base.tokenizer or base.checkpoint or base.language_model
    if name is None:
        raise DataError("base.architecture alone has no tokenizer: set base.tokenizer")
    tokenizer = byte_tokenizer() if name == BYTES else _tokenizer_at(name)
    if tokenizer.eos_token is None:
        raise DataError(f"the tokenizer of {name!r} has no end of sequence: an answer would have no end")
    if base.checkpoint and base.tokenizer:
        _check_same_ids(base.checkpoint, tokenizer)
    add_special_tokens(tokenizer, *(() if _has_own_tokenizer(base) else _family(base).visual_tokens))
    return tokenizer


def _tokenizer_at(name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    check_place(name)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(**from_pretrained_arguments(name))
    except DataError:
        raise
    except Exception as error:  # a damaged file raises whatever its first bad byte leads to
        raise DataError(f"no tokenizer at {name!r}: {_first_line(error)}") from error
    return tokenizer


def _check_same_ids(checkpoint: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuses a tokenizer that calls by other ids what a checkpoint has learnt as special, pictures among it.

    A checkpoint without a tokenizer of its own has nothing to compare with.

    Raises:
        DataError: It does.
    """
    try:
        own = _tokenizer_at(checkpoint)
    except DataError:
        return
    ids = tokenizer.get_vocab()
    special = {str(token): number for number, token in own.added_tokens_decoder.items() if token.special}
    for token, known in special.items():
        if ids.get(token) != known:
            raise DataError(
                f"base.tokenizer {tokenizer.name_or_path!r} is not that of base.checkpoint {checkpoint!r}: {token} has "
                f"the id {ids.get(token)}, the checkpoint knows {known}"
            )


def _has_own_tokenizer(base: BaseModel) -> bool:
    return base.checkpoint is not None and base.tokenizer is None


def _family(base: BaseModel) -> type[Base]:
    return family_of(_model_type(base))


def _model_type(base: BaseModel) -> str:
    model_type: str = (
        config_at(base.checkpoint).model_type if base.checkpoint else base.architecture.get("model_type", "llava")
    )
    return model_type


def check_architecture(base: BaseModel) -> None:
    """Refuses a name in `base.architecture` that no configuration has.

    Raises:
        DataError: There is one, or the configuration does not take the values.
    """
    if base.architecture:
        check_names(base.architecture, model_config({"model_type": _model_type(base), **base.architecture}))


def add_special_tokens(tokenizer: PreTrainedTokenizerBase, *further: str) -> None:
    """Adds what region conversations need; tokens that are there already keep their ids."""
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*further, REGION_TOKEN]}, replace_extra_special_tokens=False
    )
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})


def load_base(options: BaseModel, tokenizer: PreTrainedTokenizerBase) -> Base:
    """The model with its weights, its vocabulary as large as the tokenizer's.

    Raises:
        DataError: Nothing can be loaded from the place given, weights are missing or do not fit, there is no base for
            the model, the architecture has an unknown name, or the tokenizer is another model's.
    """
    check_architecture(options)
    if options.checkpoint:
        model = _checkpoint(options.checkpoint, options.dtype)
    elif options.vision_tower and options.language_model:
        model = _join(options.vision_tower, options.language_model, options.architecture, options.dtype)
    else:
        model = build(options.architecture, len(tokenizer), options.dtype)
    family = family_of(model.config.model_type)
    if _has_own_tokenizer(options):
        family.check_tokens(model.config, tokenizer)
    else:
        family.set_tokens(model.config, tokenizer)
    read = {name: weight.shape for name, weight in model.named_parameters(remove_duplicate=False)}
    fit_vocabulary(model, tokenizer)
    base = family(model)
    if options.checkpoint or options.vision_tower:
        joining = () if options.checkpoint else base.projector
        drawn = {id(weight) for part in joining for weight in part.parameters()}
        base.given = frozenset(
            name
            for name, weight in model.named_parameters(remove_duplicate=False)
            if id(weight) not in drawn and weight.shape == read[name]  # rows were added where it is larger
        )
    return base


class Loaded(NamedTuple):
    """A base that one process has loaded, without its weights, for the others.

    Attributes:
        kind: The model's class.
        config: Its configuration.
        generation: Its configuration of generation.
        dtypes: The types of its weights, by name.
        given: As `Base.given`.
    """

    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    generation: GenerationConfig
    dtypes: dict[str, torch.dtype]
    given: frozenset[str]

    @classmethod
    def of(cls, base: Base) -> Loaded:
        """What there is to tell of a base."""
        model = base.model
        dtypes = {name: weight.dtype for name, weight in model.named_parameters()}
        return cls(type(model), model.config, model.generation_config, dtypes, base.given)

    def without_weights(self) -> Base:
        """The same base on the meta device."""
        with torch.device("meta"):
            model = self.kind._from_config(self.config, attn_implementation=self.config._attn_implementation)
        for name, weight in model.named_parameters():
            weight.data = weight.data.to(self.dtypes[name])
        model.generation_config = self.generation
        base = family_of(model.config.model_type)(model.eval())  # as a checkpoint comes
        base.given = self.given
        return base


def load_base_once(options: BaseModel, tokenizer: PreTrainedTokenizerBase) -> Base:
    """As `load_base` on rank 0; the other ranks get the same base without weights, and read nothing.

    All ranks call it together, and all raise what rank 0 does.
    """
    found: list[Base] = []

    def load() -> Loaded:
        found.append(load_base(options, tokenizer))
        return Loaded.of(found[0])

    loaded: Loaded = of_rank_zero(load)
    return found[0] if found else loaded.without_weights()


def load_visual_processor(options: BaseModel, config: PreTrainedConfig) -> VisualProcessor:
    """What turns frames into the base's inputs: its checkpoint's settings, and the user's over them.

    Raises:
        DataError: `base.vision` says what cannot be set, or a value that the base cannot take.
    """
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.video_processing_utils import BaseVideoProcessor

    settings: dict[str, Any] = {}
    source = options.checkpoint or options.vision_tower
    if source:
        settings = _settings(ImageProcessingMixin.get_image_processor_dict, source) or {}
        if video := _settings(BaseVideoProcessor.get_video_processor_dict, source):
            settings["video_processor"] = video
    family = family_of(config.model_type)
    if options.vision:
        known = setting_names(type(family.visual_processor(config, {})))
        if unknown := sorted(set(options.vision) - set(known)):
            raise DataError(f"base.vision has no {unknown[0]!r}; of a {config.model_type} it has {', '.join(known)}")
    return family.visual_processor(config, {**settings, **options.vision})


def _settings(read: Callable[[str], tuple[dict[str, Any], Any]], source: str) -> dict[str, Any] | None:
    """What a checkpoint says of its pictures; None where it holds weights alone: the family's defaults stand then."""
    try:
        return read(source)[0]
    except OSError as error:
        if "valid JSON" in str(error):
            raise DataError(f"{source!r}: {_first_line(error)}") from error
        return None


def build(architecture: Mapping[str, Any], vocabulary: int | None = None, dtype: str = "float32") -> PreTrainedModel:
    """A model with random weights, on the current default device: under `torch.device("meta")` it costs nothing.

    Args:
        architecture: Arguments of its configuration.
        vocabulary: Least rows of its vocabulary, and all of them where the architecture does not say.
        dtype: Data type of the weights.
    """
    config = model_config(architecture)
    check_rope(config.get_text_config())
    if vocabulary is not None:
        text = config.get_text_config()
        stated = "vocab_size" in architecture.get("text_config", {})
        text.vocab_size = max(vocabulary, text.vocab_size) if stated else vocabulary
    kind = family_of(config.model_type).model_class(config)
    model: PreTrainedModel = kind._from_config(config, dtype=getattr(torch, dtype))
    return model


def model_config(architecture: Mapping[str, Any]) -> PreTrainedConfig:
    """Transformers' configuration; in LLaVA's form a tower is CLIP's and a decoder Llama's unless it says otherwise.

    Raises:
        DataError: There is no base for such a model, or it does not take the arguments.
    """
    from transformers import AutoConfig

    options = {"model_type": "llava", **architecture}
    family_of(options["model_type"])
    if options["model_type"] == "llava":
        options["text_config"] = {"model_type": "llama", **options.get("text_config", {})}
        options["vision_config"] = {"model_type": "clip_vision_model", **options.get("vision_config", {})}
    try:
        config: PreTrainedConfig = AutoConfig.for_model(**options)
    except Exception as error:  # every model checks its options in its own way
        raise DataError(f"base.architecture: {' '.join(str(error).split())[:200]}") from error
    return config


def fit_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds rows to the vocabulary, in blocks of 64, only where the tokenizer's ids do not fit."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))


def _checkpoint(name: str, dtype: str) -> PreTrainedModel:
    config = config_at(name)
    return _checked(family_of(config.model_type).model_class(config), name, dtype)


def _join(vision_tower: str, language_model: str, architecture: Mapping[str, Any], dtype: str) -> PreTrainedModel:
    """A LLaVA of two checkpoints and a random projector; `architecture` may change what is not theirs."""
    from transformers import AutoModelForCausalLM

    tower = _tower(vision_tower, dtype)
    decoder = _checked(AutoModelForCausalLM, language_model, dtype)
    joined = {
        **architecture,
        "model_type": "llava",
        "vision_config": tower.config.to_dict(),
        "text_config": decoder.config.to_dict(),
    }
    with torch.device("meta"):
        model = build(joined, dtype=dtype)
    # the loaded modules move in as they are: a copy would need the memory of both
    model.model.vision_tower = tower
    model.model.language_model = decoder.model
    model.lm_head = decoder.lm_head
    projector: torch.nn.Module = model.model.multi_modal_projector
    projector.to_empty(device=decoder.device).apply(model._init_weights)
    model.eval()  # as a checkpoint comes
    return model


def _tower(name: str, dtype: str) -> PreTrainedModel:
    """A tower of its own, the half that sees of a model of pictures and texts, or the tower of a LLaVA."""
    from transformers import AutoModel

    config = config_at(name)
    tower: PreTrainedModel
    if config.model_type == "llava":
        tower = _checkpoint(name, dtype).model.vision_tower
    else:
        vision = getattr(config, "vision_config", config)
        tower = _checked(AutoModel._model_mapping[type(vision)], name, dtype)
    return tower


def config_at(name: str) -> PreTrainedConfig:
    """The configuration of a model; `DataError` if there is none, or it cannot be read."""
    from transformers import AutoConfig

    check_place(name)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(**from_pretrained_arguments(name))
    except DataError:
        raise
    except Exception as error:  # as above
        raise DataError(f"no model at {name!r}: {_first_line(error)}") from error
    return config


def _checked(kind: Any, name: str, dtype: str) -> Any:
    """`from_pretrained` that fails on missing or misfitting weights instead of drawing them at random.

    The kind of checkpoint is read first: transformers would build a whole default model for a wrong one.
    """
    config = config_at(name)
    exported = is_exported(Path(name))
    try:
        with _without_report() if exported else nullcontext():  # of what is put on the base, which is read elsewhere
            model, report = kind.from_pretrained(
                **from_pretrained_arguments(name),
                **_dequantised(name),
                dtype=getattr(torch, dtype),
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(f"cannot load a {config.model_type} from {name!r}: {_first_line(error)}") from None
    wrong = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if wrong:
        raise DataError(f"{name!r} is no whole {config.model_type}: {len(wrong)} weights missing: {wrong[:3]}")
    surplus = sorted(key for key in report["unexpected_keys"] if not key.startswith(ON_THE_BASE))
    if surplus and exported:  # published checkpoints may hold more than is asked for
        raise DataError(f"{name!r} has {len(surplus)} unexpected weights: {surplus[:3]}")
    if is_gguf(name):  # what still says that it is quantised keeps it from being saved
        model.hf_quantizer = None
        vars(model.config).pop("quantization_config", None)
    return model


@contextmanager
def _without_report() -> Iterator[None]:
    """Within it transformers does not list weights that it has no place for."""
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _dequantised(name: str) -> dict[str, Any]:
    """Keeps transformers, from the version on that could, from leaving a GGUF file's weights packed."""
    import transformers

    packed = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": packed(dequantize=True)} if is_gguf(name) and packed is not None else {}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


# --- what a checkpoint carries -------------------------------------------------------------------------------------


def tokenizer_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The tokenizer as text files by name: what a checkpoint carries so that it answers wherever it is copied to."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
        return {path.name: path.read_text(encoding="utf-8") for path in files}


def tokenizer_from_files(files: dict[str, str]) -> PreTrainedTokenizerBase:
    """The inverse of `tokenizer_files`."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(files, Path(folder))
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def write_tokenizer(files: Mapping[str, str], folder: Path) -> None:
    """Puts what `tokenizer_files` told into a folder, from which transformers reads it; every rank may at once."""
    for name, text in files.items():
        write_text(folder / Path(name).name, text)


def architecture_json(config: PreTrainedConfig) -> str:
    """The architecture as JSON, for a checkpoint: plain text is safe to load anywhere."""
    return json.dumps(config.to_dict(), sort_keys=True)


def vision_settings(processor: VisualProcessor) -> dict[str, Any]:
    """What a visual processor was made with, as plain data: its family makes the same one of it again."""
    made_with: dict[str, Any] = asdict(processor)  # type: ignore[call-overload]  # every family's is a dataclass
    return {name: list(value) if isinstance(value, tuple) else value for name, value in made_with.items()}
