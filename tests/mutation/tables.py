"""What is mutated and by which tests a mutation should be noticed; mutations by hand, and those that change nothing."""

from __future__ import annotations

from dataclasses import dataclass

DATA, MODEL, METRICS = "tests/datamodules", "tests/lightning_modules", "tests/metrics"
ENCODERS = f"{MODEL}/region_encoders"
DRAWN, DRAWN_BATCHES = f"{DATA}/batching/test_drawn_samples.py", f"{MODEL}/test_drawn_batches.py"

TESTS: dict[str, tuple[str, ...]] = {
    "datamodules/regions/footprints.py": (f"{DATA}/regions/test_views.py", f"{MODEL}/bases/test_footprints.py"),
    "datamodules/regions/region_weights.py": (f"{DATA}/regions/test_region_weights.py", DRAWN),
    "datamodules/prompting/prompt_styles.py": (f"{DATA}/prompting/test_prompt_styles.py",),
    "datamodules/batching/visual_processor.py": (
        f"{DATA}/batching/test_visual_processor.py",
        f"{DATA}/batching/test_processor.py",
        f"{MODEL}/bases/test_pixels.py",
    ),
    "datamodules/regions/masks.py": (f"{DATA}/regions/test_masks.py",),
    "datamodules/regions/placement.py": (
        f"{DATA}/regions/test_placement.py",
        f"{DATA}/regions/test_strokes.py",
        DRAWN,
        f"{DATA}/regions/test_region_weights.py",
        f"{DATA}/regions/test_polygons.py",
        f"{ENCODERS}/test_text_coordinates.py",
    ),
    "datamodules/regions/polygons.py": (f"{DATA}/regions/test_polygons.py", f"{DATA}/regions/test_strokes.py"),
    "datamodules/prompting/conversation.py": (
        f"{DATA}/prompting/test_conversation.py",
        DRAWN,
        f"{MODEL}/generation/test_generated_indices.py",
    ),
    "datamodules/prompting/text_encoding.py": (
        f"{DATA}/prompting/test_conversation.py",
        f"{DATA}/prompting/test_tokenizer_kinds.py",
    ),
    "datamodules/prompting/placeholders.py": (
        f"{DATA}/prompting/test_placeholders.py",
        f"{DATA}/prompting/test_conversation.py",
    ),
    "datamodules/batching/collate.py": (DRAWN, f"{DATA}/batching/test_token_budget.py"),
    "datamodules/batching/sampling.py": (f"{DATA}/batching/test_sampling.py", f"{DATA}/shards/test_sharded_source.py"),
    "datamodules/batching/packing.py": (f"{DATA}/batching/test_packing.py",),
    "datamodules/batching/token_budget.py": (f"{DATA}/batching/test_token_budget.py",),
    "datamodules/batching/processor.py": (
        f"{DATA}/batching/test_processor.py",
        DRAWN,
        f"{DATA}/batching/test_token_budget.py",
    ),
    "lightning_modules/region_guide.py": (f"{MODEL}/test_region_guide.py", DRAWN_BATCHES),
    "lightning_modules/training/losses.py": (f"{MODEL}/training/test_losses.py",),
    "lightning_modules/training/evaluation_losses.py": (
        f"{MODEL}/training/test_evaluation_losses.py",
        f"{MODEL}/training/test_losses.py",
        f"{MODEL}/test_two_ranks.py",
    ),
    "lightning_modules/bases/packed_attention.py": (f"{MODEL}/bases/test_packed_rows.py",),
    "lightning_modules/backbone.py": (
        f"{MODEL}/test_backbone.py",
        DRAWN_BATCHES,
        f"{MODEL}/test_region_module.py",
        f"{MODEL}/bases/test_region_modules.py",
    ),
    "lightning_modules/generation/decoding.py": (
        f"{MODEL}/generation/test_decoding.py",
        f"{MODEL}/test_backbone.py",
        f"{MODEL}/bases/test_options.py",
    ),
    "lightning_modules/bases/qwen_vl.py": (f"{MODEL}/bases/test_processors.py", f"{MODEL}/bases/test_options.py"),
    "lightning_modules/generation/mentions.py": (
        f"{MODEL}/generation/test_generated_indices.py",
        f"{MODEL}/generation/test_mentions.py",
        f"{MODEL}/test_backbone.py",
    ),
    "lightning_modules/training/ranks.py": (f"{MODEL}/test_two_ranks.py",),
    "lightning_modules/class_spec.py": (f"{MODEL}/test_own_classes.py",),
    "lightning_modules/region_encoders/no_encoder.py": (f"{ENCODERS}/test_region_encoders.py",),
    "lightning_modules/region_encoders/region_encoder.py": (DRAWN_BATCHES, f"{MODEL}/test_region_module.py"),
    "lightning_modules/region_encoders/roi_feature.py": (f"{ENCODERS}/test_roi_feature.py", DRAWN_BATCHES),
    "lightning_modules/region_encoders/text_coordinates.py": (
        f"{ENCODERS}/test_text_coordinates.py",
        f"{DATA}/batching/test_prompted_frames.py",
    ),
    "lightning_modules/region_encoders/text_tokens.py": (f"{ENCODERS}/test_region_encoders.py",),
    "lightning_modules/region_encoders/token_mark.py": (f"{ENCODERS}/test_token_mark.py", DRAWN_BATCHES),
    "lightning_modules/region_encoders/visual_marker.py": (f"{ENCODERS}/test_visual_marker.py",),
    "metrics/multiple_choice.py": (f"{METRICS}/test_multiple_choice.py",),
    "metrics/referring.py": (f"{METRICS}/test_referring.py",),
    "metrics/guide.py": (f"{METRICS}/test_guide.py",),
    "metrics/predictions.py": (f"{METRICS}/test_predictions.py",),
}
"""Core file -> the test files that should notice a mutation of it, the one most likely to do so first."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """A mistake that somebody could make, and that no test noticed once.

    Attributes:
        mistake: In words.
        file: Where.
        old, new: The text that stands there exactly once, and what it becomes.
        tests: What has to notice; the file's own tests if left out.
    """

    mistake: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


BY_HAND: tuple[ByHand, ...] = (
    ByHand(
        "the guide head is trained once a region was shown, others may come later",
        "datamodules/regions/region_weights.py",
        "(shows @ told.all(1))",
        "(shows @ told.any(1))",
    ),
    ByHand(
        "a region gets its mark where its object is, prompted there or not",
        "datamodules/regions/region_weights.py",
        "return guide if pointed == there else",
        "return guide if pointed else",
    ),
    ByHand(
        "0 / 0 in a step without regions: every gradient is NaN, and none is None",
        "lightning_modules/training/losses.py",
        "counts.clamp(min=1)",
        "counts",
    ),
    ByHand(
        "L_LM is summed in the logits' type",
        "lightning_modules/training/losses.py",
        "output.logits.float()",
        "output.logits",
    ),
    ByHand(
        "L_LM of an evaluation is summed in the logits' type",
        "lightning_modules/training/evaluation_losses.py",
        "output.logits.float()",
        "output.logits",
    ),
    ByHand(
        "ranks weigh the same, whatever they have to say",
        "lightning_modules/training/losses.py",
        "return sum_over_ranks(torch.stack([torch.full_like(samples, tokens), samples]).float())",
        "return torch.stack([torch.full_like(samples, tokens), samples]).float()",
    ),
    ByHand(
        "L_guide is summed in the logits' type",
        "lightning_modules/region_guide.py",
        "F.cross_entropy(logits.float()",
        "F.cross_entropy(logits",
        (f"{MODEL}/training/test_losses.py",),
    ),
    ByHand(
        "a token is followed from half of its area on",
        "lightning_modules/region_guide.py",
        "TRACKED_SHARE = 0.25",
        "TRACKED_SHARE = 0.5",
    ),
    ByHand(
        "a token of two regions alike belongs to one of them",
        "lightning_modules/region_guide.py",
        "(share[:, 0] > share[:, 1])",
        "(share[:, 0] >= share[:, 1])",
    ),
    ByHand(
        "indices of ten and more are not read while generating",
        "lightning_modules/generation/mentions.py",
        "MOST_INDEX_TOKENS = 12",
        "MOST_INDEX_TOKENS = 3",
    ),
    ByHand(
        "`[2]` of two regions is taken for a mention",
        "datamodules/prompting/conversation.py",
        "if _number(said) < num_regions else",
        "if _number(said) <= num_regions else",
    ),
    ByHand(
        "a conversation of max_length tokens is refused",
        "datamodules/prompting/conversation.py",
        "len(rendered.ids) > self.max_length",
        "len(rendered.ids) >= self.max_length",
    ),
    ByHand(
        "sources of one length are shuffled in lockstep",
        "datamodules/batching/sampling.py",
        "default_rng([self.seed, source, number])",
        "default_rng([self.seed, number])",
    ),
    ByHand(
        "some ranks have a sample more than others",
        "datamodules/batching/sampling.py",
        "stop -= (stop - start) % self.num_replicas",
        "stop -= 0",
    ),
    ByHand(
        "padding is black",
        "datamodules/batching/visual_processor.py",
        "round(255 * value) for value",
        "round(0 * value) for value",
    ),
    ByHand(
        "a layer of several frames has the shares of its first",
        "datamodules/regions/region_weights.py",
        "mark[layer] = np.mean([shares[time][0] for time in times], axis=0)",
        "mark[layer] = shares[times[0]][0]",
    ),
    ByHand(
        "what a model keeps of a batch with pictures is there in the next",
        "lightning_modules/backbone.py",
        "        self.base.forget()\n",
        "",
        (f"{MODEL}/bases/test_options.py", f"{MODEL}/bases/test_seam.py"),
    ),
    ByHand(
        "a rank without pictures leaves the tower out",
        "lightning_modules/backbone.py",
        "for _ in range(base.blanks(self._batch.inputs)):",
        "for _ in range(0):",
        (f"{MODEL}/bases/test_region_modules.py",),
    ),
    ByHand(
        "text goes on behind a picture as if every visual token were a word",
        "lightning_modules/bases/qwen_vl.py",
        "following if deltas is None else following + deltas.to(following)",
        "following",
        (f"{MODEL}/bases/test_options.py",),
    ),
    ByHand(
        "a rank stops generating before the others",
        "lightning_modules/generation/decoding.py",
        "synced_gpus=synced",
        "synced_gpus=False",
    ),
    ByHand(
        "ranks do not wait for each other in generation",
        "lightning_modules/generation/answering.py",
        "synced=world_size() > 1",
        "synced=False",
        (f"{MODEL}/generation/test_decoding.py",),
    ),
    ByHand(
        "batches of the sanity check are in the first validation's scores",
        "lightning_modules/region_module.py",
        """for name, value in values.items()})
        self.evaluation.reset()
        self.evaluation_losses.reset()
""",
        """for name, value in values.items()})
        self.evaluation_losses.reset()
""",
        (f"{MODEL}/test_validation.py",),
    ),
    ByHand(
        "batches of the sanity check are in the first validation's losses",
        "lightning_modules/region_module.py",
        """for name, value in values.items()})
        self.evaluation.reset()
        self.evaluation_losses.reset()
""",
        """for name, value in values.items()})
        self.evaluation.reset()
""",
        (f"{MODEL}/test_validation.py",),
    ),
)

EQUIVALENT: dict[str, dict[str, tuple[str, ...]]] = {
    "datamodules/batching/packing.py": {
        "of cuts into 0 groups only that of no sample is ever looked at": (
            "best = np.full(len(lengths) + 2, np.inf) # tokens of the best cut of the first i samples",
            "best = np.full(len(lengths) + 0, np.inf) # tokens of the best cut of the first i samples",
        ),
        "groups larger than the budget or the step cost infinitely much": (
            "sizes = np.arange(1, max(len(lengths), budget // int(lengths[-1])) + 1)",
            "sizes = np.arange(1, min(len(lengths), budget // int(lengths[-1])) + 2)",
            "cost = (sizes * lengths[starts]).astype(np.float64)",
            "return cost, starts",
        ),
    },
    "datamodules/batching/sampling.py": {
        "1 / 0.618 is 1.618, and only what is behind the point counts": (
            "points = ((np.arange(first, last) / GOLDEN_RATIO)) % 1.0",
        ),
        "any negative position says that it is evaluation": ("position: int = (-2)",),
        "a last edge that rounding left below 1 is no nearer to any point": (
            'return np.minimum(np.searchsorted(self.edges, points, side="right"), (len(self.sources) + 1))',
            'return np.minimum(np.searchsorted(self.edges, points, side="right"), len(self.sources) - 0)',
        ),
        "an order that was not kept is made again": (
            "if True:",
            "self._passes = {key: order for key, order in self._passes.items()}",
            "self._passes = {key: order for key, order in self._passes.items() if (key[0] == source)}",
            "self._passes = {key: order for key, order in self._passes.items() if key[1] != source}",
        ),
        "our own __iter__ never asks whether to shuffle": (
            "super().__init__(range(epoch_size), num_replicas, rank, drop_last=True) "
            "# type: ignore[arg-type] # its data set is never read",
            "super().__init__(range(epoch_size), num_replicas, rank, shuffle=True, drop_last=True) "
            "# type: ignore[arg-type] # its data set is never read",
        ),
        "a quotient is a float": ("self.edges = np.cumsum(np.asarray(weights) / np.sum(weights))",),
    },
    "lightning_modules/training/evaluation_losses.py": {
        "torchmetrics asks in its own forward and in wrappers that are not used": (
            "is_differentiable = True",
            "higher_is_better = True",
            "full_state_update = True",
        ),
        "a stack of floats is one": ("self.sums.append(torch.stack([language, tokens, guide, guided], 1))",),
    },
    "lightning_modules/generation/mentions.py": {
        "room for one token more than an index has": (
            'MOST_INDEX_TOKENS = 13 # "[", up to four digits and "]", and as many for tokenizers '
            "that put a space before each",
        ),
        "an index of no region is free whatever is looked at, and what is shown ends where it ends": (
            "self.longest = max((len(shown.ids) for of_sample in self.shown for shown in of_sample), default=1)",
            "for length in range(max(self.longest, len(ids))):",
        ),
        "any negative token, slot or number is none": (
            "FREE = ((-2), -1)",
            "FREE = (-1, (-2))",
            "return (-2)",
            "return int(index[1]) if index else (-2)",
        ),
    },
    "lightning_modules/region_guide.py": {
        "the last dimension is the second": ("share, region = batch.guide_weights.topk(2)",),
    },
}
"""File -> why some mutations of it change no number -> the lines they make; one that no longer occurs is an error."""
