"""TokenMarkBackbone: a base model, a region encoder and the guide head; a batch goes in, losses' parts come out.

Letters: B samples, R rows, L text and visual tokens of a row, V visual tokens of all rows in the order of their places,
N regions (padded), M marks, D width of the language model, K supervised tokens of the batch.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from datamodules.batching.batch import Places, RegionBatch
from datamodules.batching.visual_processor import VisualProcessor
from datamodules.errors import DataError
from lightning_modules.bases.base import Base
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder
from lightning_modules.region_guide import TemporalRegionGuideHead
from lightning_modules.training.ranks import world_size


@dataclass(slots=True)
class BackboneOutput:
    """What one forward pass of a batch yields.

    Attributes:
        logits: (K, vocabulary), only where there is a label.
        targets: (K,) int64, the supervised tokens.
        guide_logits: (V, M + 1), or None without a guide head.
        marks: (B, N) int64, the class of each region for the guide head, -1 beyond a sample's regions; None if the
            region encoder has no classes.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    guide_logits: torch.Tensor | None
    marks: torch.Tensor | None


class TokenMarkBackbone(nn.Module):
    """The shared model of images and videos; an image is a clip of one frame.

    The base model runs unchanged, with its own inputs. Regions are told to it by a hook before its language model,
    within `telling`; outside of it the model is its base model.

    Args:
        base: The vision-language model.
        vision: What has turned frames into its inputs, and normalises their pixels.
        region_encoder: How regions are told to it; without weights yet, which it gets here.
        guide: Whether it has a Temporal Region Guide Head; needs a region encoder with marks.

    Attributes:
        autocast: What narrows types; torch's does nothing for a plan, whose model has no weights.
    """

    autocast: Callable[..., AbstractContextManager[object]] = torch.autocast

    def __init__(self, base: Base, vision: VisualProcessor, region_encoder: RegionEncoder, guide: bool = True) -> None:
        super().__init__()
        self.base = base
        self.vision = vision
        self.model = base.model
        self.region_encoder = region_encoder
        region_encoder.build(base.width)
        self.guide = (
            TemporalRegionGuideHead(base.width, region_encoder.num_marks)
            if guide and region_encoder.num_marks
            else None
        )
        self._tell: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._turn = threading.RLock()  # of the thread that tells: there is one hook
        base.language_model.register_forward_pre_hook(self._before_language_model, with_kwargs=True)

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which is of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrives in another process, where transformers does not yet know what its classes can hand out.

        It learns that when one is built, and without it a tower gives no hidden states.
        """
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # it is untyped there
        self._turn = threading.RLock()
        with torch.device("meta"):
            type(self.model)._from_config(copy.deepcopy(self.model.config))

    def forward(self, batch: RegionBatch) -> BackboneOutput:
        """One pass over whole conversations: logits of the supervised tokens, and the guide head's."""
        with self.telling(batch, batch.places) as told:
            hidden = self.read(batch).flatten(0, 1)
            logits = self.base.logits(hidden.index_select(0, batch.supervised))
        guide = None
        if self.guide is not None:
            self._check_marks(told.encoded)
            visual = hidden.index_select(0, batch.places.visual)
            guide = self.guide(visual.to(self.guide.classifier.weight.dtype))
        targets = batch.input_ids.flatten().index_select(0, batch.supervised + 1)
        return BackboneOutput(logits, targets, guide, told.encoded.marks)

    def read(self, batch: RegionBatch) -> torch.Tensor:
        """(R, L, D), the last hidden states of whole conversations; within `telling`.

        Padding stands behind its row, where no token of the row sees it in any base. So it is not masked: SDPA takes
        its flash kernel only without a mask.
        """
        inputs: dict[str, Any] = self.inputs(batch, batch.input_ids)
        if batch.packed:
            inputs |= self.base.packed_inputs(batch.input_ids, batch.lengths, inputs)
        hidden: torch.Tensor = self.base.core(
            input_ids=batch.input_ids,
            **inputs,
            use_cache=False,  # a cache would grow a second time where layers run again in the backward pass
        ).last_hidden_state
        return hidden

    @torch.no_grad()
    def visual_squares(self, batch: RegionBatch) -> torch.Tensor:
        """(2,): the sum of the squares of all numbers in a batch's visual tokens, and how many numbers there are."""
        read: list[torch.Tensor] = []
        hook = self.region_encoder.register_forward_pre_hook(lambda _, args: read.append(args[1]))
        try:
            self(batch)
        finally:
            hook.remove()
        (visual,) = read
        squares = visual.float().square()
        return torch.stack([squares.sum(), squares.new_tensor(squares.numel())])

    def _check_marks(self, encoded: EncodedRegions) -> None:
        """Refuses an encoder that leaves the guide head nothing to learn."""
        if encoded.marks is None:
            encoder = self.region_encoder
            raise DataError(
                f"{type(encoder).__name__} has {encoder.num_marks} marks for the guide head, but does not say which it "
                "has drawn"
            )

    def inputs(self, batch: RegionBatch, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the base model takes beside ids and mask: pixels, in its own type, and what follows from the ids."""
        dtype = next(self.base.vision_tower.parameters()).dtype
        inputs = {
            name: value.to(dtype) if value.is_floating_point() and value.dim() > 1 else value
            for name, value in self.vision.model_inputs(batch.inputs).items()
        }
        return inputs | self.base.token_inputs(ids)

    @contextmanager
    def telling(self, batch: RegionBatch, places: Places) -> Iterator[Told]:
        """Within it, the language model's first call is told of the batch's regions; other threads wait.

        Args:
            batch: Regions and where they are.
            places: Where the rows that the base model is called with have visual tokens and placeholders.

        Yields:
            What later calls, which go on from the first, are told: see `Told`.
        """
        with self._turn, self.one_type():
            self.base.forget()
            self._tell = told = Told(self, batch, places)
            try:
                yield told
            finally:
                self._tell = None

    def one_type(self) -> AbstractContextManager[object]:
        """Autocast to the narrowest type where parts of the base differ, as those that learn do from frozen ones.

        Sharding has a policy of its own, and adapters convert what they read by themselves.
        """
        weights = {name: weight for name, weight in self.model.named_parameters() if ".lora_" not in name}
        types = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
        sharded = any(isinstance(weight, DTensor) for weight in weights.values())
        nowhere = self.model.device.type == "meta" and self.autocast is torch.autocast
        if len(types) < 2 or sharded or nowhere:
            return nullcontext()
        narrowest = min(types, key=lambda dtype: dtype.itemsize)
        return self.autocast(self.model.device.type, dtype=narrowest, cache_enabled=False)

    def _before_language_model(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._tell is None:
            return None
        return args, {**kwargs, "inputs_embeds": self._tell(kwargs["inputs_embeds"])}


class Told:
    """What the language model is told of a batch's regions, call after call.

    The first call holds the prompts with all their visual tokens: the region encoder sees these, and lays on them and
    puts at the placeholders what it has to say. Calls that go on from there have placeholders alone, where the caller
    says. A sample may have several rows in these, one after the other.

    Attributes:
        encoded: What the region encoder made of the batch, after the first call.
        slots: (rows, new tokens) int64, the slots of the next call's placeholders, -1 where none stands; None before
            the first call.
    """

    encoded: EncodedRegions
    slots: torch.Tensor | None = None

    def __init__(self, backbone: TokenMarkBackbone, batch: RegionBatch, places: Places) -> None:
        self._backbone = backbone
        self._batch = batch
        self._places: Places | None = places

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, D) embeddings -> the same with regions in them."""
        if self._places is None:
            return self._later(embeddings)
        places, self._places = self._places, None
        base, rows = self._backbone.base, embeddings.flatten(0, 1)
        visual = rows.index_select(0, places.visual)
        if world_size() > 1 or not len(visual):
            for _ in range(base.blanks(self._batch.inputs)):
                rows = rows + 0.0 * base.blank().sum().to(rows.dtype)
        self.encoded = self._backbone.region_encoder(self._batch, visual)
        rows = rows.index_copy(0, places.visual, self.encoded.visual.to(rows.dtype))
        filled = self.encoded.text[places.owner, places.slots]
        return rows.index_copy(0, places.placeholders, filled.to(rows.dtype)).view_as(embeddings)

    def _later(self, embeddings: torch.Tensor) -> torch.Tensor:
        """How many placeholders a generated token makes, if any, is not known here: all rows look one up."""
        assert self.slots is not None, "what the language model goes on with has placeholders or has none"
        text, slots = self.encoded.text, self.slots
        if not text.shape[1]:
            return embeddings
        owner = torch.arange(len(slots), device=slots.device) * len(text) // len(slots)
        filled = text[owner.unsqueeze(1), slots.clamp(min=0)]
        return torch.where((slots >= 0).unsqueeze(-1), filled.to(embeddings.dtype), embeddings)
