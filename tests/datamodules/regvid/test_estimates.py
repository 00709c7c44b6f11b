"""What a dry run says against what a provider bills, and a probe where its rule is not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_models import USUAL, plainly, unwatched, videos
from datamodules.errors import DataError
from datamodules.regvid.accounts import STAGES
from datamodules.regvid.dry_run import _ANSWERS, Plan
from datamodules.regvid.image_tokens import FlatTokens, ImageTokens, PatchTokens, PixelTokens, TileTokens
from datamodules.regvid.kept import Kept, Painted
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.models import ROLES
from datamodules.regvid.options import Options
from datamodules.regvid.run import Run
from datamodules.regvid.videos import Videos
from datamodules.types import RegionSample
from misbehaving import Asked, MisbehavingServer, Reply

HEIGHT, WIDTH = 288, 512
WITHIN = 1.25


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return videos(tmp_path_factory.mktemp("videos"), names=("a", "b"), nouns=("ball",))


def shown(video: RegionSample, kept: Kept | None = None) -> MarkedVideo:
    """Frames as large as real ones."""
    small = plainly(video)
    frames = np.full((2, HEIGHT, WIDTH, 3), 90, np.uint8)
    return MarkedVideo(
        video.id, small.frames, small.regions, small.nouns, small.source, (HEIGHT, WIDTH), small.key,
        lambda: Painted(frames, frames),
    )  # fmt: skip


def prepared(to: Path, server: MisbehavingServer, **options: Any) -> Run:
    models = server.models(price_in=2.0, price_out=8.0, **options)
    return Run(Options(**{"to": to, "models": models, **USUAL}), shown, STAGES)


def usual(asked: Asked) -> Reply:
    """Answers as long as a dry run takes them to be."""
    return Reply(_ANSWERS[asked.role](asked.text))


def off(plan: Plan, server: MisbehavingServer) -> dict[str, float]:
    """By role how much more than the estimate the prompts were billed."""
    return {role: server.prompts[role] / plan.roles[role].usage.prompt_tokens for role in ROLES}


BILLED: dict[str, tuple[ImageTokens, Callable[[tuple[int, int]], float]]] = {
    # as each provider says it, for a picture of that size
    "tiles": (TileTokens(85, 170), lambda size: 85 + 170 * math.ceil(size[0] / 512) * math.ceil(size[1] / 512)),
    "dear tiles": (TileTokens(2833, 5667), lambda size: 2833 + 5667),
    "patches": (PatchTokens(each=1.62), lambda size: 1.62 * 9 * 16),
    "rounded patches": (PatchTokens(28, 16384, 1, 2, True), lambda size: 10 * 18 + 2),
    "flat": (FlatTokens(258), lambda size: 258),
    "pixels": (PixelTokens(), lambda size: size[0] * size[1] / 750),
}


@pytest.mark.parametrize("kind", BILLED)
def test_a_dry_run_is_near_the_bill(kind: str, server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """All pictures were 750 pixels a token, 1.2 to 42 times off, by provider."""
    rule, billed = BILLED[kind]
    run = prepared(tmp_path, server, image_tokens=rule)
    server.behave(usual, billed)
    plan = run.plan(data)
    assert not server.calls
    run.carry_out(data, unwatched)
    assert {role: planned.calls for role, planned in plan.roles.items()} == dict(server.calls)
    assert all(1 / WITHIN < factor < WITHIN for factor in off(plan, server).values())
    assert plan.roles["judge"].basis == type(rule).__name__


def test_detail_is_sent_and_counted(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    details = set()

    def behave(asked: Asked) -> Reply:
        parts = asked.fields["messages"][-1]["content"] if asked.images else []
        details.update(part["image_url"]["detail"] for part in parts if part["type"] == "image_url")
        return usual(asked)

    low, high = (prepared(tmp_path, server, image_tokens=TileTokens(), detail=kind) for kind in ("low", "high"))
    server.behave(behave, 85)
    plan = low.plan(data)
    assert plan.roles["judge"].usage.prompt_tokens < high.plan(data).roles["judge"].usage.prompt_tokens
    low.carry_out(data, unwatched)
    assert details == {"low"}
    assert all(1 / WITHIN < factor < WITHIN for factor in off(plan, server).values())


@pytest.mark.filterwarnings("ignore:model")
def test_a_probe_makes_so_many_calls_and_knows_better(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """A rule that nobody has published: the dry run is ten times off, and five calls tell; none is made twice."""
    run = prepared(tmp_path, server, image_tokens=FlatTokens(300))
    server.behave(usual, 3000)
    guessed = run.plan(data)
    probed = run.probe(data, 5, unwatched)
    assert server.calls.total() == 5
    assert probed.roles["describe"].basis.startswith("1 calls, ")
    assert not (tmp_path / "samples.jsonl").exists()
    run.carry_out(data, unwatched)
    assert max(server.requests.values()) == 1
    assert off(guessed, server)["judge"] > 5
    assert all(1 / WITHIN < factor < WITHIN for factor in off(probed, server).values())
    money = (server.bill - 20 * 10) * 2.0 / 1e6 + 20 * 10 * 8.0 / 1e6
    assert probed.total.usage.money == pytest.approx(money, rel=0.25)


def test_a_probe_that_learns_nothing_is_one_line(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    server.behave(lambda asked: Reply(status=503, body=b"{}"))
    with pytest.raises(DataError, match="3 calls of the probe were counted by no server: 3 calls were made"):
        prepared(tmp_path, server).probe(data, 3, unwatched)
