"""A vision-language model of transformers, left as it is, and what regions need to know of it: the interface.

Regions come in at one place, where words and visual tokens have met: every class of transformers calls its language
model with `inputs_embeds`, so a hook before that call sees the visual tokens as the language model reads them, lays
marks on them and fills placeholders. Ids, masks, positions and whatever else a class needs stay its own business.

Letters: B samples, L tokens of a row, V visual tokens of all rows in the order of their places, D width of the language
model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from datamodules.batching.visual_processor import VisualProcessor
from datamodules.errors import DataError
from lightning_modules.bases.packed_attention import BY_SAMPLE, attend_by_sample, row_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PIXELS = ("pixel_values", "pixel_values_videos")
"""The inputs that a tower runs on, each in a run of its own."""


class Base(ABC):
    """What regions need to know of one family of models.

    Args:
        model: Of a class that the family names.

    Attributes:
        model_types: The `model_type`s of transformers' configurations that the family reads.
        visual_tokens: The special tokens of its pictures, and the names of their ids in the configuration; None where
            it has none.
        causal: Whether a frame sees only itself and frames before it. Where it does not, what is marked on any frame is
            known on all of them.
        tower_runs: How often the tower may run for a batch: twice where images and videos go through it one after the
            other.
        packs: Whether samples that share a row can be kept apart.
    """

    model_types: ClassVar[tuple[str, ...]]
    visual_tokens: ClassVar[Mapping[str, str | None]]
    causal: ClassVar[bool] = True
    tower_runs: ClassVar[int] = 1
    packs: ClassVar[bool] = True

    given: frozenset[str] = frozenset()
    """Names of the model's weights that are as the files have them which it was loaded from."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    # --- its tokens -------------------------------------------------------------------------------------------------

    @classmethod
    def check_tokens(cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuses a tokenizer in which what stands for a picture has other ids than the model knows.

        Raises:
            DataError: It has.
        """
        for token, name in cls.visual_tokens.items():
            found = tokenizer.get_vocab().get(token)
            if found is None:
                raise DataError(f"the tokenizer of {tokenizer.name_or_path!r} is not this model's: it has no {token}")
            expected = getattr(config, name) if name else found
            if found != expected:
                raise DataError(
                    f"the tokenizer of {tokenizer.name_or_path!r} is not this model's: {token} has the id {found}, "
                    f"{name} is {expected}"
                )

    @classmethod
    def set_tokens(cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        """Tells a model that knows no ids yet what stands for a picture in its tokenizer."""
        for token, name in cls.visual_tokens.items():
            if name:
                setattr(config, name, tokenizer.convert_tokens_to_ids(token))

    # --- its class --------------------------------------------------------------------------------------------------

    @classmethod
    def model_class(cls, config: PreTrainedConfig) -> type[PreTrainedModel]:
        """The class that is built and loaded for a configuration.

        Raises:
            DataError: A model that the family does not carry.
        """
        from transformers import AutoModelForImageTextToText

        model: type[PreTrainedModel] = AutoModelForImageTextToText._model_mapping[type(config)]
        return model

    # --- its data half ----------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> VisualProcessor:
        """What turns frames into the model's inputs.

        Args:
            config: The model's.
            settings: Its checkpoint's `preprocessor_config.json`, with what a user has set over it; the family's own
                defaults stand in for what is missing.
        """

    # --- its parts --------------------------------------------------------------------------------------------------

    @property
    def core(self) -> Any:
        """The model without its output head: ids in, `last_hidden_state` out; a module whose parts have no types."""
        return self.model.model

    @property
    def language_model(self) -> nn.Module:
        """The decoder; it is called with `inputs_embeds`."""
        language_model: nn.Module = self.core.language_model
        return language_model

    @property
    def vision_tower(self) -> nn.Module:
        """What turns pixels into features."""
        tower: nn.Module = self.core.vision_tower
        return tower

    @property
    def projector(self) -> Sequence[nn.Module]:
        """What turns the tower's features into visual tokens."""
        return [self.core.multi_modal_projector]

    @property
    @abstractmethod
    def tower_layers(self) -> Sequence[nn.Module]:
        """The tower's layers, in order."""

    @property
    def decoder_layers(self) -> Sequence[nn.Module]:
        """The language model's layers, in order."""
        layers: Sequence[nn.Module] = self.language_model.layers  # type: ignore[assignment]  # modules are untyped
        return layers

    @property
    def output_head(self) -> nn.Module:
        """Hidden states -> logits, as a layer."""
        head: nn.Module = self.model.lm_head
        return head

    @property
    def width(self) -> int:
        """D."""
        width: int = self.model.config.get_text_config().hidden_size
        return width

    @torch.no_grad()
    def word_size(self) -> float:
        """Root mean square of the numbers of a word as the language model reads it, over words spread evenly."""
        words = self.model.get_input_embeddings()
        ids = torch.linspace(0, words.num_embeddings - 1, min(words.num_embeddings, 4096), device=self.model.device)
        return float(words(ids.long()).float().square().mean().sqrt())

    def unused_parameters(self) -> list[nn.Parameter]:
        """Weights that no gradient ever reaches, whatever is trained."""
        return []

    # --- what a pass needs ------------------------------------------------------------------------------------------

    @property
    def visual_ids(self) -> tuple[int, ...]:
        """The ids that stand for a visual token; most models have one for images and frames alike."""
        return (self.model.config.image_token_id,)

    def is_visual(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, L) bool: where a visual token stands."""
        return is_any(ids, self.visual_ids)

    def token_inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Further inputs of the model that follow from the ids alone."""
        return {}

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., D) last hidden states -> (..., vocabulary)."""
        logits: torch.Tensor = self.output_head(hidden)
        return logits

    def forget(self) -> None:  # noqa: B027 - most models keep nothing
        """Clears what the model keeps of an earlier batch; called before every first pass."""

    def positions(self, attention: torch.Tensor, pictures: bool) -> torch.Tensor | None:
        """Positions of prompts that are padded on the left, as generation counts them.

        Args:
            attention: (B, L), 0 on padding.
            pictures: Whether there is a visual token among them.

        Returns:
            (B, L), or None for a model that counts them by itself.
        """
        return (attention.cumsum(1) - 1).clamp(min=0)

    def next_positions(self, attention: torch.Tensor, new: int) -> torch.Tensor:
        """Positions of `new` text tokens after prompts that the model has just read at `positions`.

        Args:
            attention: (B, L), the prompts', 0 on padding.
            new: How many follow.

        Returns:
            (B, new), or (3, B, new) for a model that counts time, rows and columns apart.
        """
        return attention.sum(1, keepdim=True) + torch.arange(new, device=attention.device)

    def check_packing(self) -> None:
        """Refuses to read several samples in one row.

        Raises:
            DataError: They would see each other.
        """
        config: Any = self.language_model.config
        others = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
        name = self.model.config.model_type
        if others:
            raise DataError(f"data.packing: {name} has layers of {others[0]}, which carries over from sample to sample")
        if not self.packs:
            raise DataError(f"data.packing: visual tokens of {name} all see each other, those of other samples too")
        if config._attn_implementation not in ("sdpa", BY_SAMPLE):
            raise DataError(f"data.packing: {name} attends by {config._attn_implementation}, not by sdpa")

    def packed_inputs(
        self, ids: torch.Tensor, lengths: tuple[int, ...], inputs: Mapping[str, torch.Tensor]
    ) -> dict[str, Any]:
        """What the model takes beside ids and pictures for samples that share a row: mask and positions.

        Args:
            ids: (1, L).
            lengths: Tokens of each sample.
            inputs: What it takes beside them otherwise.
        """
        self.check_packing()
        attend_by_sample(self.language_model)
        return {
            "attention_mask": self.packed_mask(ids, lengths),
            "position_ids": self.packed_positions(ids, lengths, inputs),
        }

    def packed_mask(self, ids: torch.Tensor, lengths: tuple[int, ...]) -> Any:
        """What stands in place of a mask, by type of layer where the model wants it so."""
        return row_of(lengths)

    def packed_positions(
        self, ids: torch.Tensor, lengths: tuple[int, ...], inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Positions that begin again with every sample: (1, L), or what else the model takes."""
        return torch.cat([torch.arange(length, device=ids.device) for length in lengths])[None]

    @abstractmethod
    def blank(self) -> torch.Tensor:
        """Visual tokens of a blank picture, which stands for what a rank has none of: see `blanks`."""

    def blanks(self, inputs: Collection[str]) -> int:
        """How many runs of the tower a batch with these inputs lacks.

        All ranks have to run the same modules equally often in every step: they gather weights together.
        """
        return self.tower_runs - sum(name in inputs for name in PIXELS)


def is_any(ids: torch.Tensor, known: Sequence[int]) -> torch.Tensor:
    """Where one of the known ids stands, as a mask; `torch.isin` would have them copied to where the ids are."""
    return torch.stack([ids == one for one in known]).any(0)


def layers_used(taken: int | Sequence[int], layers: int) -> int:
    """Layers of a tower that its features come from: hidden state k is the output of layer k, the first that of none.

    Args:
        taken: The hidden states that are features, counted from the end where negative.
        layers: Of the tower.
    """
    return max(state + layers + 1 if state < 0 else state for state in ([taken] if isinstance(taken, int) else taken))
