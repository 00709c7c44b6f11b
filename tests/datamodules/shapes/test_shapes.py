"""The built-in data: what its questions say is true of the pixels and masks, and its files are the scenes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.mask import decode

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.shapes import writer
from datamodules.shapes.encode import SceneKey, write_image, write_video
from datamodules.shapes.figure import COLOURS, Figure, Scene, place_name
from datamodules.shapes.files import ShapesFiles
from datamodules.shapes.questions import ask, groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import KINDS, SPLITS, Kind, make_scene, scene_rng
from datamodules.shapes.source import ShapesStream, make_sample
from datamodules.shapes.tokenizer import train_tokenizer
from datamodules.shapes.writer import scene_samples, write_shapes
from datamodules.types import Frames, Mask, Pixels, RegionSample, Video
from experiments.commands.shapes import main

VAL, TEST = 3, 9
PLACE = r"(?:top left|top right|bottom left|bottom right|top|bottom|left|right|middle)"


def scenes(kind: Kind, number: int = 400) -> list[Scene]:
    return [make_scene(scene_rng(3, "train", kind, index), kind) for index in range(number)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("shapes") / "data"
    assert write_shapes(root, val_scenes=VAL, test_scenes=TEST, workers=1)
    return root


# --- what an eye sees: facts from pixels and masks alone ----------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    colour: str
    shape: str
    texture: str
    start: str
    end: str
    motion: str
    turns: str | None
    following: str
    centre: tuple[float, float]


def observe(sample: RegionSample, number: int) -> Facts:
    """Reads one region's attributes off its masks and the pixels under them."""
    assert isinstance(sample.media, Pixels)
    frames, region = sample.media.array, sample.regions[number]
    masks = [decoded(region.track[frame]) for frame in (0, len(frames) - 1)]
    first, last = centroid(masks[0]), centroid(masks[1])
    step = (last - first) / max(len(frames) - 1, 1)
    colour, end_colour = (colour_of(frames[time][masks[time]]) for time in (0, -1))
    return Facts(
        colour=colour,
        shape=shape_of(masks[0]),
        texture=texture_of(frames[0], masks[0]),
        start=place_of(first),
        end=place_of(last),
        motion=motion_of(last - first),
        turns=end_colour if end_colour != colour else None,
        following=place_of(last + step),
        centre=(float(first[0]), float(first[1])),
    )


def decoded(mask: object) -> NDArray[np.bool_]:
    assert isinstance(mask, Mask)
    return decode({"size": list(mask.size), "counts": mask.counts}).astype(bool)  # type: ignore[no-any-return]  # pycocotools is untyped


def centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(x, y) in pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def colour_of(pixels: NDArray[np.uint8]) -> str:
    mean = pixels.astype(float).mean(0)
    angles = {name: mean @ np.array(rgb) / np.linalg.norm(mean) / np.linalg.norm(rgb) for name, rgb in COLOURS.items()}
    return max(angles, key=lambda name: angles[name])


def shape_of(mask: NDArray[np.bool_]) -> str:
    rows, columns = np.nonzero(mask)
    box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    x, y = centroid(mask)
    if not mask[int(y), int(x)]:
        return "ring"
    return "square" if box.mean() > 0.85 else "triangle"


def texture_of(frame: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Stripes lie across: rows differ in brightness, apart from the half covered outermost ones."""
    rows = np.where(mask, frame.max(-1), 0)[mask.any(1)].max(1)[1:-1]
    return "striped" if rows.min() < 0.8 * rows.max() else "plain"


def place_of(point: NDArray[np.float64]) -> str:
    """Thirds of the 32-pixel frame."""
    x, y = point
    if not (0 <= x < 32 and 0 <= y < 32):
        return "outside"
    row = "top" if y < 32 / 3 else "bottom" if y >= 64 / 3 else ""
    column = "left" if x < 32 / 3 else "right" if x >= 64 / 3 else ""
    return f"{row} {column}".strip() or "middle"


def motion_of(moved: NDArray[np.float64]) -> str:
    right, down = moved
    if max(abs(right), abs(down)) < 6:
        return "still"
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"


def samples(kind: Kind, group: str, number: int = 150) -> list[RegionSample]:
    stream = ShapesStream(kind, number, seed=5, groups={group: 1.0})
    return [stream[index] for index in range(number)]


# --- questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        *(("image", group) for group in ("shape", "colour", "texture", "what", "position")),
        *(("video", group) for group in ("moves", "change", "end", "next", "what")),
    ],
)
def test_answers_are_what_the_pixels_show(kind: Kind, group: str) -> None:
    for sample in samples(kind, group):
        seen = observe(sample, 0)
        shown = {
            "shape": seen.shape,
            "colour": seen.colour,
            "texture": seen.texture,
            "position": seen.start,
            "moves": seen.motion,
            "change": f"turns {seen.turns}" if seen.turns else f"stays {seen.colour}",
            "end": seen.end,
            "next": seen.following,
            "what": f"{seen.colour} {seen.shape}" + (f" {seen.motion}" if kind == "video" else ""),
        }
        assert sample.conversation[-1].answer == shown[group], sample.id
        assert len(sample.regions) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_all_figures_is_asked_about_where_all_are_marked(kind: Kind) -> None:
    """A model that looked for anything marked at all was right in 0.89 of the questions about a region marked alone.

    Every figure of the scene is a region here, the one asked about at any number, and without its mark the most
    frequent look of the scene is the best guess.
    """
    numbers, guessed = [], []
    for sample in samples(kind, "among"):
        assert isinstance(sample.media, Pixels)
        turn = sample.conversation[-1]
        seen = [observe(sample, number) for number in range(len(sample.regions))]
        said = [f"{each.colour} {each.shape}" + (f" {each.motion}" if kind == "video" else "") for each in seen]
        (number,) = map(int, PLACEHOLDER.findall(turn.question))
        assert turn.answer == said[number]
        assert 2 <= len(said) <= 4
        numbers.append(number)
        guessed.append(max(map(said.count, said)) / len(said))
    assert set(numbers) == {0, 1, 2, 3}
    assert np.mean(guessed) < 0.5


def test_relations_are_what_the_pixels_show() -> None:
    for sample in samples("image", "relation"):
        origin, other = observe(sample, 0).centre, observe(sample, 1).centre
        right, down = other[0] - origin[0], other[1] - origin[1]
        shown = ("left", "right")[right > 0] if abs(right) > abs(down) else ("above", "below")[down > 0]
        assert sample.conversation[-1].answer == shown


def fits(words: str, seen: Facts) -> bool:
    """Whether every claim of a description, story or caption holds."""
    claims = re.fullmatch(
        rf"(?:(?:in|at) the (?P<there>{PLACE}) there is )?(?:a |the )?(?:(?P<texture>plain|striped) )?"
        r"(?P<colour>\w+) (?P<shape>square|ring|triangle)(?: (?P<stripes>with|without) stripes)?"
        r"(?:(?: that)? (?:moves (?P<motion>left|right|up|down)|(?P<still>stays still|does not move)))?"
        rf"(?: and ends (?:at|in) the (?P<ends>{PLACE}))?"
        rf"(?: from the (?P<start>{PLACE}))?(?: to the (?P<to>{PLACE}))?(?: (?:at|in) the (?P<at>{PLACE}))?"
        r"(?: and turns (?P<turns>\w+))?",
        words,
    )
    assert claims, words
    said = claims.groupdict()
    said["still"] = said["still"] and "still"
    said["stripes"] = {"with": "striped", "without": "plain"}.get(said["stripes"] or "")
    truth = {
        "texture": seen.texture, "stripes": seen.texture, "colour": seen.colour, "shape": seen.shape,
        "motion": seen.motion, "still": seen.motion, "turns": seen.turns,
        "there": seen.start, "start": seen.start, "at": seen.start, "ends": seen.end, "to": seen.end,
    }  # fmt: skip
    return all(claim is None or claim == truth[name] for name, claim in said.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_fits_one_region(kind: Kind) -> None:
    """Also among identical twins; the answer names that region."""
    with_twins = 0
    for sample in samples(kind, "refer"):
        words = sample.conversation[-1].question.partition(" is ")[2].removesuffix(" ?")
        fitting = [number for number in range(len(sample.regions)) if fits(words, observe(sample, number))]
        assert fitting == [sample.label], (sample.id, words)
        assert sample.conversation[-1].answer == sample.options[fitting[0]] == f"<region{fitting[0]}>"
        assert sample.task == "refer"
        assert PLACEHOLDER.findall(sample.conversation[-1].question) == [str(n) for n in range(len(sample.regions))]
        with_twins += len(words.split()) > 3
    assert with_twins > 20


@pytest.mark.parametrize("kind", KINDS)
def test_one_option_is_right(kind: Kind) -> None:
    for sample in samples(kind, "choice"):
        assert len(set(sample.options)) == 4
        fitting = [number for number, option in enumerate(sample.options) if fits(option, observe(sample, 0))]
        assert fitting == [sample.label]
        assert sample.conversation[-1].answer == sample.options[fitting[0]]
    labels = np.bincount([sample.label or 0 for sample in samples(kind, "choice")])
    assert labels.min() > 20


def test_next_place_is_one_of_four() -> None:
    for sample in samples("video", "next"):
        assert sample.label is not None
        assert len(set(sample.options)) == 4
        assert sample.options[sample.label] == sample.conversation[-1].answer


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_true(kind: Kind) -> None:
    for sample in samples(kind, "caption"):
        turn = sample.conversation[-1]
        assert 2 <= len(set(turn.references)) <= 3
        assert turn.answer == turn.references[0]
        seen = observe(sample, 0)
        assert all(fits(reference, seen) for reference in turn.references), turn
        assert ("turns" in turn.answer) == (seen.turns is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_most_answers_follow_the_placeholder_directly(kind: Kind) -> None:
    for group in set(groups_of(kind)) - {"refer", "caption"}:
        direct = [sample.conversation[-1].question.endswith(">") for sample in samples(kind, group)]
        assert 0.6 < np.mean(direct) < 0.9


# --- scenes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_the_scenes_have_twins(kind: Kind) -> None:
    made = scenes(kind)
    assert 0.45 < np.mean([any(map(scene.twins, range(len(scene.figures)))) for scene in made]) < 0.55
    for scene in made:
        pairs = {(number, *scene.twins(number)) for number in range(len(scene.figures)) if scene.twins(number)}
        for first, second in ((scene.figures[a], scene.figures[b]) for a, b in pairs):
            assert len(scene.figures) > 2
            assert place_name(first.start) != place_name(second.start)
            assert kind == "image" or first.motion != second.motion


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_know_the_region_is_wrong_half_of_the_time(kind: Kind) -> None:
    """The best guess about looks is the most frequent look of the scene."""
    names = [[figure.name for figure in scene.figures] for scene in scenes(kind, 2000)]
    assert np.mean([max(map(found.count, found)) / len(found) for found in names]) < 0.5


def test_no_scene_is_in_two_splits_kinds_or_seeds() -> None:
    places = [
        tuple(figure.start for figure in make_scene(scene_rng(seed, split, kind, index), kind).figures)
        for seed in (0, 1)
        for split in SPLITS
        for kind in KINDS
        for index in range(300)
    ]
    every = list(chain.from_iterable(places))
    assert len(set(every)) == len(every)


def test_later_figures_hide_earlier_ones() -> None:
    """A ring under a larger square on the last frame: known not to be visible there."""
    hidden = Figure("ring", "red", "plain", 3.2, (12.0, 12.0))
    passing = Figure("square", "blue", "plain", 4.6, (12.0, 28.0), motion="up")
    leaving = Figure("triangle", "white", "plain", 4.0, (4.0, 4.0), motion="left")
    scene = Scene((hidden, passing, leaving), frames=4)
    frames, masks = render(scene)
    assert not (masks.sum(0) > 1).any()
    assert masks[0, :2].any(axis=(1, 2)).all()
    assert not masks[0, 3].any()
    sample = make_sample(
        "a", "refer", scene, ask(scene, "video", "refer", np.random.default_rng(0)), masks, Pixels(frames)
    )
    tracks = {region.category: region.track for region in sample.regions}
    assert tracks["red ring"][3] is None
    assert isinstance(tracks["red ring"][1], Mask)
    assert tracks["white triangle"][3] is None


def test_masks_are_the_figures_by_hand() -> None:
    """A square of half-side 0.88 * 4 = 3.52 around (12, 20) covers pixels 8.5 to 15.5 at least by half."""
    _, masks = render(Scene((Figure("square", "red", "plain", 4.0, (12.0, 20.0)),), frames=1))
    expected = np.zeros((32, 32), dtype=bool)
    expected[16:24, 8:16] = np.abs(np.arange(8) - 3.5)[None] <= 3.52
    np.testing.assert_array_equal(masks[0, 0], expected)


# --- the stream ---------------------------------------------------------------------------------------------------


def test_a_sample_depends_on_its_index_alone() -> None:
    forwards, backwards = ShapesStream("video", 40, seed=2), ShapesStream("video", 40, seed=2)
    wanted = [forwards[index] for index in range(40)]
    for index in reversed(range(40)):
        again = backwards[index]
        assert isinstance(again.media, Pixels)
        np.testing.assert_array_equal(again.media.array, wanted[index].media.array)  # type: ignore[union-attr]  # in memory
        assert (again.id, again.regions, again.conversation) == (
            wanted[index].id,
            wanted[index].regions,
            wanted[index].conversation,
        )


def test_groups_come_by_weight_after_the_warm_up() -> None:
    stream = ShapesStream("image", 700, groups={"what": 3.0, "refer": 1.0, "colour": 0.0}, warmup=100)
    assert stream.ordered
    drawn = [stream[index] for index in range(700)]
    assert {sample.conversation[0].question for sample in drawn[:100]} == {"what shape is <region>"}
    later = [sample.group for sample in drawn[100:]]
    assert set(later) == {"what", "refer"}
    assert later.count("what") == pytest.approx(450, abs=40)


def test_bad_parameters_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no video question 'shape', there are moves"):
        ShapesStream("video", warmup=1)
    with pytest.raises(DataError, match="no image question 'moves'"):
        ShapesFiles(tmp_path, "image", groups=["moves"])
    with pytest.raises(DataError, match="not all 0"):
        ShapesStream("image", groups={"shape": 0.0})
    with pytest.raises(DataError, match="size is 0"):
        ShapesStream("image", size=0)
    with pytest.raises(DataError, match="0 and 1 scenes"):
        write_shapes(tmp_path / "set", val_scenes=0, test_scenes=1)
    with pytest.raises(IndexError):
        ShapesStream("image", 5)[5]


# --- the files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_scenes(data: Path, kind: Kind) -> None:
    """What the reader of region_jsonl finds is what the generator made, record for record."""
    source = ShapesFiles(data, kind, "test")
    made = [one for index in range(TEST) for one in scene_samples(data, 0, SceneKey(kind, "test", index))]
    assert len(source) == len(made) == TEST * len(groups_of(kind))
    for index, expected in enumerate(made):
        found = source[index]
        assert (found.id, found.media, found.regions) == (expected.id, expected.media, expected.regions)
        assert (found.conversation, found.options, found.label) == (
            expected.conversation,
            expected.options,
            expected.label,
        )
        assert (found.task, found.group, found.meta) == (expected.task, expected.group, expected.meta)
    whole = RegionJsonl(data / kind / "test.jsonl")
    assert len({whole[index].id for index in range(len(whole))}) == len(whole)
    assert made[0].id == f"{kind}-test-00000-{groups_of(kind)[0]}"


def test_groups_select_records(data: Path) -> None:
    source = ShapesFiles(data, "video", "val", groups=["what", "moves"])
    assert [source[index].id for index in range(len(source))] == [
        f"video-val-{scene:05d}-{group}" for scene in range(VAL) for group in ("what", "moves")
    ]


def pixels_of(media: object) -> NDArray[np.uint8]:
    """Decoded by PIL and PyAV themselves: (T, 32, 32, 3)."""
    if isinstance(media, Frames):
        return np.stack([np.asarray(Image.open(path)) for path in media.paths])
    assert isinstance(media, Video)
    with av.open(str(media.path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_survive_their_codec(data: Path, kind: Kind) -> None:
    """Inside every mask the mean colour is the drawn one within 6 of 255, slivers of a few pixels apart."""
    for index in range(TEST):
        key = SceneKey(kind, "test", index)
        sample = scene_samples(data, 0, key)[0]
        scene = make_scene(scene_rng(0, "test", kind, index), kind)
        drawn, masks = render(scene)
        read = pixels_of(sample.media)
        assert read.shape == drawn.shape
        # coded without loss, a video differs by rounding alone; so its pixels do not depend on the encoder's choices
        assert kind == "image" or np.abs(read.astype(int) - drawn).max() <= 3
        for figure, mask in zip(scene.figures, masks, strict=True):
            for time in range(scene.frames):
                inside = mask[time]
                if inside.sum() > 8:
                    np.testing.assert_allclose(read[time][inside].mean(0), drawn[time][inside].mean(0), atol=6)
            assert colour_of(read[0][masks[scene.figures.index(figure), 0]]) == figure.colour


def test_plain_colours_are_the_named_ones(tmp_path: Path) -> None:
    """A square's inner pixels after both codecs."""
    scene = Scene((Figure("square", "purple", "plain", 4.5, (12.0, 12.0)),), frames=4)
    frames, _ = render(scene)
    write_image(tmp_path / "a.jpg", frames[0])
    write_video(tmp_path / "a.mp4", frames)
    for media in (Frames((tmp_path / "a.jpg",)), Video(tmp_path / "a.mp4")):
        np.testing.assert_allclose(pixels_of(media)[:, 10:14, 10:14].mean(axis=(0, 1, 2)), COLOURS["purple"], atol=5)


def test_the_first_frame_is_the_only_key_frame_needed(data: Path) -> None:
    with av.open(str(data / "video" / "test" / "00000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv444p"
        frames = list(container.decode(stream))
    assert len(frames) == 4
    assert frames[0].key_frame


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_several_processes_write_the_same_files(data: Path, tmp_path: Path) -> None:
    assert write_shapes(tmp_path / "set", val_scenes=VAL, test_scenes=TEST, workers=2)
    assert tree(tmp_path / "set") == tree(data)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_complete_set_is_left_alone_and_another_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    arguments = ["--to", str(root), "--scenes", "2", "--val-scenes", "1", "--workers", "1"]
    main(arguments)
    (root / "mark").touch()
    main(arguments)
    assert (root / "mark").exists()
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "written",
        "is there already",
    ]
    main([*arguments, "--seed", "1"])
    assert not (root / "mark").exists()
    monkeypatch.setattr(writer, "FORMAT", writer.FORMAT + 1)
    assert write_shapes(root, seed=1, val_scenes=1, test_scenes=2, workers=1)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    root = tmp_path / "set"
    monkeypatch.setattr(writer, "train_tokenizer", fail)
    with pytest.raises(DataError, match="cannot be written: disk full"):
        write_shapes(root, val_scenes=1, test_scenes=1, workers=1)
    assert not list(tmp_path.iterdir())


def test_other_data_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match="holds something else"):
        write_shapes(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"title": "thesis"}))
    with pytest.raises(DataError, match="holds something else"):
        write_shapes(tmp_path)


# --- the tokenizer ------------------------------------------------------------------------------------------------


def test_texts_come_back_from_their_tokens(data: Path) -> None:
    """Of over 2,000 texts of scenes the tokenizer has not seen, in under 500 words, most of them made up."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
    texts = set()
    for kind in KINDS:
        for sample in (one for index in range(500) for one in scene_samples(data, 9, SceneKey(kind, "val", index))):
            turn = sample.conversation[-1]
            texts |= {turn.question, turn.answer, *turn.references, *sample.options}
    shown = [PLACEHOLDER.sub(r"[\1]", text).replace("[]", "") for text in texts]
    assert len(shown) > 2000
    for text in shown:
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert tokenizer.unk_token_id not in ids, text
        assert tokenizer.decode(ids, skip_special_tokens=True) == " ".join(text.split())
    assert len(tokenizer) < 500


def test_the_tokenizer_reads_what_people_type(data: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
    assert tokenizer.tokenize("What is [2]?") == ["what", "is", "[", "2", "]", "?"]
    special = tokenizer.convert_tokens_to_ids(["<unk>", "<s>", "</s>", "<pad>", "<image>", "<region>"])
    assert special == list(range(6))
    typed = tokenizer.encode("<region> </s>", add_special_tokens=False, split_special_tokens=True)
    assert not set(typed) & set(special[1:])


def test_training_the_tokenizer_again_gives_the_same(data: Path, tmp_path: Path) -> None:
    train_tokenizer(tmp_path)
    assert tree(tmp_path) == tree(data / "tokenizer")
