"""What the shared prefix saves: `python -m experiments.benchmarks.option_scoring`.

A question with 4 and with 5 options about a clip is scored in two ways: with the options behind one pass over clip and
question, and with every option read in full. Both see the same tensors of the same random model; the processor's share,
the same for both, is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.types import Box, Pixels, Region, RegionSample, Turn
from experiments.benchmarks.timing import in_turn
from lightning_modules.bases.loading import BaseModel
from lightning_modules.generation.decoding import score_options
from lightning_modules.region_module import RegionModule
from lightning_modules.video_region import VideoRegionModule

SIDE, PATCH, FRAMES = 336, 14, 2  # 2 frames of 24 x 24 tokens
OPTIONS = (
    "<region0> picks up the cup and hands it to <region1>",
    "<region1> walks away",
    "they shake hands and leave the room together",
    "nothing happens",
    "<region0> points at <region1>",
)


def make_model(width: int, layers: int) -> RegionModule:
    """A random model with the token grid of LLaVA-1.5."""
    torch.manual_seed(0)
    vision = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
    }
    base = BaseModel(
        architecture={"vision_config": {**vision, "image_size": SIDE, "patch_size": PATCH}, "text_config": text},
        tokenizer="bytes",
    )
    module = VideoRegionModule(base=base, prompt="plain")
    module.configure_model()
    return module.eval()


def make_batches(module: RegionModule, options: Sequence[str]) -> tuple[RegionBatch, list[RegionBatch]]:
    """The question with its options, and the same question once with every option as its answer."""
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    half = SIDE // 2
    regions = (Region.at(Box((0, 0, half, half))), Region.at(Box((half, half, SIDE, SIDE))))
    process, collate = module.processor(FRAMES), Collate(module.vision)

    def batch(answer: str, choices: Sequence[str]) -> RegionBatch:
        turn = Turn("What happens between <region0> and <region1>?", answer)
        label = 0 if choices else None
        return collate([process(RegionSample("one", Pixels(pixels), regions, (turn,), tuple(choices), label))])

    return batch(options[0], options), [batch(option, ()) for option in options]


@torch.no_grad()
def shared(module: RegionModule, batch: RegionBatch) -> list[float]:
    """Log-likelihoods behind one pass over clip and question."""
    return list(score_options(module.backbone, module.renderer, batch)[0].log_likelihoods)


@torch.no_grad()
def in_full(module: RegionModule, batches: Sequence[RegionBatch]) -> list[float]:
    """Log-likelihoods with every option read in full."""
    scores = []
    for batch in batches:
        output = module.backbone(batch)
        chances = output.logits.float().log_softmax(-1).gather(1, output.targets.unsqueeze(1))
        scores.append(float(chances.sum()))
    return scores


def compare(module: RegionModule, count: int, repeats: int) -> str:
    """One line: the ratio of the medians of both ways, taken in turn, and the largest difference in score."""
    together, apart = make_batches(module, OPTIONS[:count])
    together, apart = together.to(module.device), [batch.to(module.device) for batch in apart]
    scores = shared(module, together), in_full(module, apart)  # warms up, too
    furthest = max(abs(one - other) for one, other in zip(*scores, strict=True))
    prefix, full = partial(shared, module, together), partial(in_full, module, apart)
    ratio = in_turn(full, prefix, repeats, warm_up=0).ratio
    tokens = sum(together.token_counts)
    return (
        f"{count} options, {tokens} visual tokens: in full takes {ratio:.2f} times as long as behind a shared prefix; "
        f"log-likelihoods differ by at most {furthest:.1e}\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line for 4 and one for 5 options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256, help="hidden size of the language model (%(default)s)")
    parser.add_argument("--layers", type=int, default=4, help="its layers (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each way, taken in turn (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    asked = parser.parse_args(arguments)
    module = make_model(asked.width, asked.layers).to(asked.device)
    for count in (4, 5):
        sys.stdout.write(compare(module, count, asked.repeats))


if __name__ == "__main__":
    main()
