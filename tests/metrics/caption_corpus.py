"""Captions to score."""

from __future__ import annotations

import random


def corpus() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Thirty captions with one to three references each, and the tokenizer's special cases."""
    draw = random.Random(0)
    plain = ["a", "the", "cats", "ball", "runs", "running", "on", "man", "walking"]
    words = [*plain, "dog's", "(red)", "blue,", "grass;", "isn't", "U.S.", "1/2", "café", "left-hand", '"so"']

    def caption() -> str:
        return " ".join(draw.choices(words, k=draw.randint(2, 12))) + draw.choice(["", ".", "!"])

    keys = [f"sample {number:02}" for number in range(30)]
    references = {key: [caption() for _ in range(draw.randint(1, 3))] for key in keys}
    hypotheses = {key: draw.choice([caption(), references[key][0] + " now"]) for key in keys}
    return hypotheses, references
