"""The hard scenes: what they promise happens in them, their answers are true of the masks, and the test is frozen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.mask import decode

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import dump_record
from datamodules.shapes.encode import SceneKey
from datamodules.shapes.figure import Scene, place_name
from datamodules.shapes.files import ShapesFiles
from datamodules.shapes.hard import ASKED_FRAMES, EVENTS, HARD_FRAMES, Course
from datamodules.shapes.questions import groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import make_scene, scene_rng
from datamodules.shapes.source import ShapesStream
from datamodules.shapes.tokenizer import train_tokenizer
from datamodules.shapes.writer import scene_samples
from datamodules.types import Box, Mask, Pixels, RegionSample
from experiments.commands.shapes import main
from helpers import WAYS, way_name
from lightning_modules import RegionEncoder, VideoRegionModule
from lightning_modules.bases.loading import BaseModel

FROZEN = "241dcd692320035f"
"""Of the 256 test scenes: whoever changes them has other numbers than everybody before."""


def scenes(number: int = 300) -> list[Scene]:
    return [make_scene(scene_rng(3, "train", "hard", index), "hard") for index in range(number)]


def samples(group: str, number: int = 150) -> list[RegionSample]:
    stream = ShapesStream("hard", number, seed=5, groups={group: 1.0})
    return [stream[index] for index in range(number)]


def mask(sample: RegionSample, frame: int) -> NDArray[np.bool_]:
    region = sample.regions[0]
    place = region.track[frame]
    if place is None:
        return np.zeros((32, 32), np.bool_)
    assert isinstance(place, Mask)
    return decode({"size": list(place.size), "counts": place.counts}).astype(bool)  # type: ignore[no-any-return]  # untyped


def seen_whole(sample: RegionSample, frame: int) -> bool:
    """Neither hidden nor cut by the frame's edge, nor is its first frame."""
    return bool(mask(sample, frame).sum() > 0.9 * max(mask(sample, time).sum() for time in range(HARD_FRAMES)))


def centre(sample: RegionSample, frame: int) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask(sample, frame))
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ASKED_FRAMES)
def test_the_place_is_where_the_mask_is(frame: int) -> None:
    answers = Counter[str]()
    for sample in samples(f"frame{frame}"):
        answer = sample.conversation[-1].answer
        if seen_whole(sample, frame) and not near_a_border(centre(sample, frame)):
            x, y = centre(sample, frame)
            assert answer == place_name((float(x), float(y)))
            answers[answer] += 1
        if answer == "outside":
            assert mask(sample, frame).sum() < 0.5 * mask(sample, 0).sum()
    assert sum(answers.values()) > 50
    assert len(answers) == 9


def near_a_border(point: NDArray[np.float64]) -> bool:
    """Within a pixel of the next ninth."""
    return bool((np.abs(point[:, None] - np.array([32 / 3, 64 / 3])) < 1).any())


def test_the_direction_is_that_of_the_first_steps() -> None:
    told = Counter[str]()
    for sample in samples("direction"):
        if not (seen_whole(sample, 0) and seen_whole(sample, 2)):
            continue
        right, down = centre(sample, 2) - centre(sample, 0)
        shown = "still"
        if max(abs(right), abs(down)) > 0.8:
            sideways, upright = ("right" if right > 0 else "left"), ("down" if down > 0 else "up")
            shown = sideways if abs(right) > abs(down) else upright
        assert sample.conversation[-1].answer == shown
        told[shown] += 1
    assert set(told) == {"still", "left", "right", "up", "down"}


def test_the_pace_is_what_the_masks_do() -> None:
    told = Counter[str]()
    for sample in samples("pace"):
        answer = sample.conversation[-1].answer
        told[answer] += 1
        if answer == "leaves and returns":
            assert min(mask(sample, time).sum() for time in range(HARD_FRAMES)) == 0
        if not all(seen_whole(sample, time) for time in (0, 2, 5, 7)):
            continue
        gone = [float(np.abs(centre(sample, time) - centre(sample, 0)).max()) for time in (2, 5, 7)]
        early, late = gone[0], gone[2] - gone[1]
        shown = "returns" if gone[1] > 4 and gone[2] < 2 else "still" if gone[2] < 2 else "steady"
        if shown == "steady" and abs(late - early) > 2:
            shown = "faster" if late > early else "slower"
        assert answer == shown
    assert set(told) == {"still", "steady", "faster", "slower", "returns", "leaves and returns"}


def test_only_twins_are_asked_about() -> None:
    for group in groups_of("hard"):
        assert all(sample.meta["twin"] for sample in samples(group, 40))


# --- scenes ---------------------------------------------------------------------------------------------------------


def test_a_scene_has_one_figure_that_its_looks_tell() -> None:
    for scene in scenes():
        alone = [number for number in range(len(scene.figures)) if not scene.twins(number)]
        assert len(alone) == 1
        twins = [figure for number, figure in enumerate(scene.figures) if number not in alone]
        assert len({figure.motion for figure in twins}) == len(twins) in (2, 3)


def test_figures_stand_apart_at_both_ends_and_start_visibly() -> None:
    for scene in scenes():
        for time in (0, -1):
            places = [scene.centres(number)[time] for number in range(len(scene.figures))]
            assert len({(x // 8, y // 8) for x, y in places}) == len(places)
        assert render(scene)[1][:, 0].any(axis=(1, 2)).all()


def test_a_quarter_of_the_scenes_is_sure_to_show_each_event() -> None:
    """By pixels: twins that come closer than a figure's width, a figure out of the frame, one mostly hidden."""
    made = scenes()
    near = [closest_twins(scene) < 5.7 for scene in made]
    gone = [bool((render(scene)[1].sum((2, 3)) == 0).any()) for scene in made]
    assert min(np.mean(near), np.mean(gone)) > 0.25
    assert len(EVENTS) == 4


def closest_twins(scene: Scene) -> float:
    """Least distance of two twins on any frame, pixels."""
    pairs = [(one, other) for one in range(len(scene.figures)) for other in scene.twins(one)]
    ways = [(np.array(scene.centres(one)), np.array(scene.centres(other))) for one, other in pairs]
    return float(min(np.linalg.norm(one - other, axis=1).min() for one, other in ways))


def test_a_course_by_hand() -> None:
    """From the top left patch: two patches to the right at growing speed, or 12 px up, out of the frame, and back."""
    faster = Course((0, 0), "faster", "right")
    np.testing.assert_allclose([x for x, _ in faster.centres], [4 + 16 * (time / 7) ** 2 for time in range(8)])
    leaves = Course((0, 0), "leaves", "up")
    np.testing.assert_allclose([y for _, y in leaves.centres][2:6], [4 - 12 * share / 7 for share in (4, 6, 6, 4)])
    assert leaves.end == pytest.approx((4, 4))


def test_who_does_not_know_the_region_is_wrong_most_of_the_time() -> None:
    """The best guess about the last frame, from all that the masks show: any of the twins' places."""
    guessed = []
    for scene in scenes():
        twins = [number for number in range(len(scene.figures)) if scene.twins(number)]
        places = Counter(place_name(scene.figures[number].centre(scene.figures[number].pace[-1])) for number in twins)
        guessed.append(places.most_common(1)[0][1] / len(twins))
    assert np.mean(guessed) < 0.52


# --- the set --------------------------------------------------------------------------------------------------------


def test_the_test_split_is_frozen() -> None:
    found = hashlib.sha256()
    for index in range(256):
        key = SceneKey("hard", "test", index)
        found.update(render(make_scene(scene_rng(0, "test", "hard", index), "hard"))[0].tobytes())
        for sample in scene_samples(Path(), 0, key):
            found.update(json.dumps(dump_record(sample, Path("hard"))).encode())
    assert found.hexdigest()[:16] == FROZEN


def test_it_is_a_set_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--hard", "--to", str(tmp_path / "set"), "--scenes", "2", "--val-scenes", "1", "--workers", "1"])
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["hard", "manifest.json", "tokenizer"]
    source = ShapesFiles(tmp_path / "set", "hard", "test", ["frame5", "pace"])
    assert [source[index].id for index in range(len(source))] == [
        f"hard-test-{scene:05d}-{group}" for scene in range(2) for group in ("frame5", "pace")
    ]
    assert ShapesFiles(kind="hard").root == Path("data/shapes_hard")
    assert ShapesFiles(kind="video").root == Path("data/shapes")


def test_the_first_samples_show_fewer_frames() -> None:
    stream = ShapesStream("hard", 10, groups={"frame7": 1.0}, warmup=4, warmup_group="frame0", warmup_frames=1)
    lengths = [len(sample.media.array) for index in range(10) if isinstance((sample := stream[index]).media, Pixels)]
    assert lengths == [1] * 4 + [HARD_FRAMES] * 6
    assert {stream[index].group for index in range(4)} == {"frame0"}
    assert list(stream[0].regions[0].track) == [0]
    with pytest.raises(DataError, match="warmup_frames is 0"):
        ShapesStream("hard", 10, warmup_frames=0)


# --- how figures are shown ------------------------------------------------------------------------------------------


def test_boxes_lie_around_the_masks_and_names_before_the_mentions() -> None:
    plain, shown = ShapesStream("video", 60), ShapesStream("video", 60, prompt="box", category_names=True)
    for index in range(60):
        before, after = plain[index], shown[index]
        for one, other in zip(before.regions, after.regions, strict=True):
            assert isinstance(one.prompts[0], Mask) and isinstance(other.prompts[0], Box)
            rows, columns = np.nonzero(decode({"size": [32, 32], "counts": one.prompts[0].counts}))
            assert other.prompts[0].xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert list(other.prompts) == [0]
            assert other.track == one.track, "where a figure is does not depend on what it is pointed at with"
        words = before.conversation[-1].question.split()
        named = [
            f"{before.regions[int(word[7:-1] or 0)].category} {word}" if word[:7] == "<region" else word
            for word in words
        ]
        assert after.conversation[-1].question == " ".join(named)
        assert after.conversation[-1].answer == before.conversation[-1].answer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(folder)
    return folder


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_the_tokenizer_knows_every_word_of_every_reference(way: RegionEncoder, tokenizer: Path) -> None:
    """Of questions, answers and what stands for regions, with names and on all frames; and texts come back."""
    from helpers import ARCHITECTURE

    module = VideoRegionModule(
        BaseModel(architecture=ARCHITECTURE, tokenizer=str(tokenizer)), region_encoder=way, prompt="plain"
    )
    module.configure_model()
    process = module.processor(4)
    unknown = module.renderer.tokenizer.unk_token_id
    stream = ShapesStream("hard", 200, category_names=True)
    for index in range(200):
        sample = stream[index]
        for told in (sample, sample.prompted_everywhere()):
            assert unknown not in process(told).rendered.ids, process(told).rendered.prompt
        answer = sample.conversation[-1].answer
        assert module.renderer.decode(module.renderer.answer(answer, ()).ids) == answer
    for region_text in module.backbone.region_encoder.pointing.longest_region_texts(stream[0].regions * 12, 4):
        assert unknown not in module.renderer.shown(region_text).ids
