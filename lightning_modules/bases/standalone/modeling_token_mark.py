"""A vision-language model that is told of regions by Token Marks (Omni-RGPT, arXiv 2501.08326), for transformers alone.

The base model runs as transformers has it. Each region has a mark, a learned vector: it is laid on the visual tokens
inside the region (Eq. 1) and put in place of the region's placeholder in the text. `processing_token_mark.py` beside
this file makes the inputs.

Letters: B samples, L tokens of a row, N regions (padded), M marks, C width of a mark, D width of the language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration, LogitsProcessor, LogitsProcessorList
from transformers import Qwen3VLForConditionalGeneration as Qwen3VL
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

REGION_INPUTS = ("region_coverage", "region_slots", "region_marks")
MOST_INDEX_TOKENS = 12  # "[", up to four digits and "]", and as many for tokenizers that put a space before each


class Marks(nn.Module):
    """The marks, and the one linear layer that text and image share.

    Args:
        num_marks: M.
        mark_dim: C.
        width: D.
    """

    def __init__(self, num_marks: int, mark_dim: int, width: int) -> None:
        super().__init__()
        self.marks = nn.Parameter(torch.randn(num_marks, mark_dim))
        self.projection = nn.Linear(mark_dim, width, bias=False)

    def forward(self, drawn: torch.Tensor) -> torch.Tensor:
        """(B, N) numbers of marks, -1 where there is no region -> (B, N, D), zero there."""
        projected: torch.Tensor = self.projection(self.marks[drawn.clamp(min=0)] * (drawn >= 0).unsqueeze(-1))
        return projected


class TokenMarkMixin:
    """Regions on a model of transformers: three inputs more, for a pass and for `generate`.

    Its configuration has `token_mark`: `num_marks`, `mark_dim`, `region_token_id`, and `index`, the pattern of how a
    region is named in an answer.

    - `region_coverage`: (B, L, N) float32, the share of each visual token that a region's mark gets.
    - `region_slots`: (B, L) int64, the region whose placeholder stands here, else -1.
    - `region_marks`: (B, N) int64, the mark of each region, -1 beyond a sample's.
    """

    _keep_in_fp32_modules_strict = ("region_encoder",)
    _keys_to_ignore_on_load_unexpected = (r"^guide\.",)  # of the training alone

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]  # of the model of transformers
        settings = config.token_mark
        self.region_encoder = Marks(settings["num_marks"], settings["mark_dim"], config.get_text_config().hidden_size)
        self._told: dict[str, torch.Tensor] | None = None
        self.register_forward_pre_hook(self._take_regions, with_kwargs=True)  # type: ignore[attr-defined]  # the base's
        language_model: nn.Module = self.model.language_model  # type: ignore[attr-defined]  # the base's
        language_model.register_forward_pre_hook(self._lay_marks, with_kwargs=True)
        self.post_init()  # type: ignore[attr-defined]  # the base's

    @classmethod
    def is_custom_code(cls) -> bool:
        """As of the base's class: the weights have the names that it reads and writes."""
        base = cls.__mro__[cls.__mro__.index(TokenMarkMixin) + 1]
        custom: bool = base.is_custom_code()  # type: ignore[attr-defined]  # of transformers
        return custom

    def _take_regions(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Keeps what the language model is told of regions until words and visual tokens have met."""
        told = {name: kwargs.pop(name) for name in REGION_INPUTS if name in kwargs}
        self._told = told if told.get("region_marks") is not None and told["region_marks"].shape[1] else None
        return args, kwargs

    def _lay_marks(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        """Marks on the visual tokens, and in place of the placeholders."""
        told, self._told = self._told, None
        if told is None:
            return None
        embeddings = kwargs["inputs_embeds"]
        projected = self.region_encoder(told["region_marks"].to(self.region_encoder.marks.device))
        coverage, slots = told.get("region_coverage"), told["region_slots"].to(embeddings.device)
        if coverage is not None:  # else the visual tokens have been read before
            embeddings = embeddings + (coverage.to(projected) @ projected).to(embeddings)
        rows, columns = (slots >= 0).nonzero(as_tuple=True)
        filled = projected.to(embeddings)[rows, slots[rows, columns]]
        return args, {**kwargs, "inputs_embeds": embeddings.index_put((rows, columns), filled)}

    # --- answers ----------------------------------------------------------------------------------------------------

    def generate(
        self, *args: Any, tokenizer: Any = None, logits_processor: Sequence[Any] | None = None, **kwargs: Any
    ) -> Any:
        """As transformers' own; a region that an answer names as `[0]` is shown to the model behind its index.

        Args:
            *args: As transformers'.
            tokenizer: The processor's; needed where there are regions, to read the answer as it is written.
            logits_processor: As transformers'.
            **kwargs: As transformers', with the processor's inputs.

        Raises:
            ValueError: There are regions and no tokenizer.
        """
        drawn, processors = kwargs.get("region_marks"), LogitsProcessorList(logits_processor or ())
        if drawn is None or not drawn.shape[1]:
            processors.append(Mentions(self.config.token_mark))  # type: ignore[attr-defined]  # the base's
        elif tokenizer is None:
            raise ValueError("generate needs tokenizer=processor.tokenizer: an answer may name a region")
        else:
            counts, prompt = (drawn >= 0).sum(1).tolist(), kwargs["region_slots"].shape[1]
            mentions = Mentions(self.config.token_mark, tokenizer, counts, prompt)  # type: ignore[attr-defined]  # its
            processors.append(mentions)
            kwargs["region_mentions"] = mentions
        if tokenizer is not None:
            kwargs["tokenizer"] = tokenizer
        return super().generate(*args, logits_processor=processors, **kwargs)  # type: ignore[misc]  # it

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        *args: Any,
        region_coverage: torch.Tensor | None = None,
        region_slots: torch.Tensor | None = None,
        region_marks: torch.Tensor | None = None,
        region_mentions: Mentions | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The inputs of a step: of the prompt in the first, of what was generated in the others."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, *args, **kwargs)  # type: ignore[misc]  # it
        if region_mentions is None or region_slots is None or region_coverage is None:
            return inputs
        length, said = inputs["input_ids"].shape[1], input_ids.shape[1] - region_slots.shape[1]
        new = region_mentions.slots(input_ids, min(length, said))
        inputs |= {"region_slots": new, "region_marks": region_marks}
        if length > said:  # the prompt is among them
            inputs["region_slots"] = torch.cat([region_slots, new], 1)[:, -length:]
            inputs["region_coverage"] = F.pad(region_coverage, (0, 0, 0, said))[:, -length:]
        return inputs


class Mentions(LogitsProcessor):
    """Lets a region's placeholder follow its complete index, such as `[12]`, and nothing else.

    Args:
        settings: `token_mark` of the configuration.
        tokenizer: Reads what was generated.
        counts: Regions of each sample.
        prompt: Tokens of a row that were not generated.
    """

    def __init__(
        self, settings: dict[str, Any], tokenizer: Any = None, counts: Sequence[int] = (), prompt: int = 0
    ) -> None:
        self.region_id: int = settings["region_token_id"]
        self.tokenizer = tokenizer
        self.counts = counts
        self.prompt = prompt
        self._index = re.compile(settings["index"] + r"\Z")
        vocabulary = tokenizer.get_vocab() if counts else {}
        self._closing = frozenset(token for text, token in vocabulary.items() if text.endswith("]"))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Args: input_ids: (rows, prompt and generated tokens); scores: (rows, vocabulary)."""
        free, scores = scores, scores.clone()
        scores[:, self.region_id] = -torch.inf
        if self.counts:
            for row, ids in enumerate(input_ids[:, self.prompt :].tolist()):
                if self._named(row, ids, len(input_ids)) >= 0:
                    scores[row] = -torch.inf
                    chance = free[row, self.region_id]
                    scores[row, self.region_id] = torch.where(chance.isfinite(), chance, 0.0)
        return scores

    def slots(self, input_ids: torch.Tensor, last: int) -> torch.Tensor:
        """(rows, last): the region of each of the last tokens that is a placeholder, -1 for all others."""
        found = [
            [
                self._named(row, ids[: len(ids) - behind], len(input_ids)) if ids[-behind] == self.region_id else -1
                for behind in range(last, 0, -1)
            ]
            for row, ids in enumerate(input_ids[:, self.prompt :].tolist())
        ]
        return torch.tensor(found, dtype=torch.int64, device=input_ids.device).view(len(input_ids), last)

    def _named(self, row: int, ids: list[int], rows: int) -> int:
        """The region whose index ends with the last of these ids, -1 if none does; a sample may have several rows."""
        if not ids or ids[-1] not in self._closing:
            return -1
        text = self.tokenizer.decode(
            ids[-MOST_INDEX_TOKENS:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        index = self._index.search(text)
        number = int("".join(index[1].split())) if index else -1
        return number if number < self.counts[row * len(self.counts) // rows] else -1


# --- bases ----------------------------------------------------------------------------------------------------------


class MergingProjector(LlavaMultiModalProjector):
    """Two linear layers on the features of k x k neighbouring patches side by side; with k = 1 LLaVA-1.5's.

    Tokens before the patches are dropped. Where k does not divide the G patches of a side, the last row and column of
    patches stand twice, as the last frame does in an odd video of Qwen-VL: no patch is lost, and the tower's 27 x 27
    become 14 x 14.

    Args:
        config: `config.projector["merge"]` is k, 1 if left out.
    """

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        self.merge = config.projector.get("merge", 1)
        side, patch = config.vision_config.image_size, config.vision_config.patch_size
        self.grid = (side if isinstance(side, int) else side[0]) // (patch if isinstance(patch, int) else patch[0])
        if self.merge > 1:
            first: nn.Linear = self.linear_1  # type: ignore[has-type]  # it is untyped there
            self.linear_1 = nn.Linear(first.in_features * self.merge**2, first.out_features, first.bias is not None)

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        """(F, n, C) features of F frames -> (F, g * g, D), g = ceil(G / k)."""
        patches = image_features[:, -(self.grid**2) :]
        visual: torch.Tensor = super().forward(patches if self.merge == 1 else self._merged(patches))
        return visual

    def _merged(self, patches: torch.Tensor) -> torch.Tensor:
        """(F, G * G, C) -> (F, g * g, k * k * C)."""
        frames, _, width = patches.shape
        k, missing = self.merge, -self.grid % self.merge
        square = patches.transpose(1, 2).view(frames, width, self.grid, self.grid)
        padded = F.pad(square, (0, missing, 0, missing), mode="replicate")
        g = padded.shape[-1] // k
        return padded.view(frames, width, g, k, g, k).permute(0, 2, 4, 3, 5, 1).reshape(frames, g * g, k * k * width)


class LlavaWithProjector(LlavaForConditionalGeneration):
    """LLaVA with a projector that merges patches; it sees all that the tower has."""

    def __init__(self, config: LlavaConfig) -> None:
        config.vision_feature_select_strategy = "full"
        super().__init__(config)
        self.model.multi_modal_projector = MergingProjector(config)
        self.post_init()


class TokenMarkLlava(TokenMarkMixin, LlavaForConditionalGeneration):
    """Regions on LLaVA-1.5, and on any tower and decoder in its form."""


class TokenMarkLlavaWithProjector(TokenMarkMixin, LlavaWithProjector):
    """Regions on LLaVA's form with merged patches."""


class TokenMarkQwen3VL(TokenMarkMixin, Qwen3VL):
    """Regions on Qwen3-VL."""
