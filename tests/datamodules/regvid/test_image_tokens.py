"""Rules by the examples that are published with them, and by hand."""

from __future__ import annotations

import pytest

from datamodules.regvid.image_tokens import (
    USUAL,
    Detail,
    FlatTokens,
    ImageTokens,
    PatchTokens,
    PixelTokens,
    TileTokens,
    known,
)

EXAMPLES: list[tuple[ImageTokens, tuple[int, int], Detail | None, float]] = [
    # OpenAI's guide: 1024 x 1024, then 2048 x 4096 pixels, and any at low detail
    (TileTokens(), (1024, 1024), "high", 765),
    (TileTokens(), (4096, 2048), None, 1105),
    (TileTokens(), (8192, 4096), "low", 85),
    (TileTokens(), (288, 512), "auto", 255),
    (TileTokens(2833, 5667), (512, 512), None, 8500),
    # 1024 x 1024 and 1800 x 2400 pixels, whose 75 x 57 patches are too many
    (PatchTokens(), (1024, 1024), None, 1024),
    (PatchTokens(), (2400, 1800), None, 1452),
    (PatchTokens(each=1.62), (1024, 1024), None, 1658.88),
    # 18 x 10 of 28 pixels, 16 x 9 of 32, with a token before and one behind
    (PatchTokens(28, 16384, 1, 2, True), (288, 512), None, 182),
    (PatchTokens(32, 16384, 1, 2, True), (288, 512), None, 146),
    # a patch that is begun is one: 19 x 11 of 28 pixels
    (PatchTokens(28), (288, 512), None, 209),
    # Anthropic's table, and a picture that is shrunk
    (PixelTokens(), (200, 200), None, 53.3),
    (PixelTokens(), (1000, 1000), None, 1333.3),
    (PixelTokens(), (1092, 1092), None, 1590),
    (PixelTokens(), (3000, 3000), None, 1600),
    (PixelTokens(), (3136, 784), None, 1568 * 392 / 750),
    (FlatTokens(), (384, 384), None, 258),
]


@pytest.mark.parametrize(("rule", "size", "detail", "tokens"), EXAMPLES)
def test_a_rule_gives_what_is_published(
    rule: ImageTokens, size: tuple[int, int], detail: Detail | None, tokens: float
) -> None:
    """All pictures were 750 pixels a token: 1.2 to 42 times too few, by provider."""
    assert rule(size, detail) == pytest.approx(tokens, abs=0.5)
    assert rule(size[::-1], detail) == rule(size, detail)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 255),
        ("openai/gpt-4o-mini-2024-07-18", 8500),
        ("gpt-4.1", 255),
        ("gpt-4.1-mini", 1.62 * 144),
        ("gpt-5.1-nano", 2.46 * 144),
        ("gpt-5", 210),
        ("o3", 225),
        ("o4-mini", 1.72 * 144),
        ("claude-sonnet-4-5", 512 * 288 / 750),
        ("gemini-2.5-flash", 258),
        ("gemini-3-pro", 1120),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 182),
        ("qwen3-vl:8b", 146),
        ("gemma3:12b", 256),
        ("somebody/else", USUAL((288, 512))),
    ],
)
def test_models_are_known_by_their_names(model: str, tokens: float) -> None:
    assert known(model)((288, 512)) == pytest.approx(tokens)
