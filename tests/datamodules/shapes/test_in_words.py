"""Conversations without regions, and conversations in which all figures are marked."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER, mentions
from datamodules.shapes import ShapesInWords, ShapesStream
from datamodules.shapes.figure import Figure, place_name, side_of
from datamodules.shapes.questions import Question, among
from datamodules.shapes.scene import make_scene, scene_rng
from datamodules.shapes.whole_scene import WHOLE
from datamodules.shapes.word_lists import LISTS, MADE_UP, draw_list
from datamodules.types import NoPicture, Pixels

# --- conversations in words -----------------------------------------------------------------------------------------


def the(figures: tuple[Figure, ...], **wanted: str) -> Figure:
    """The only figure of which that is true; two of them would make the question one without an answer."""
    (found,) = [
        figure
        for figure in figures
        if all(
            words == {"place": place_name(figure.start), "name": figure.name}.get(key, getattr(figure, key, None))
            for key, words in wanted.items()
        )
    ]
    return found


@pytest.mark.parametrize("group", WHOLE["image"])
def test_answers_are_true_of_the_scene(group: str) -> None:
    """Read off the question's words and worked out again from the figures alone."""
    asked = 0
    for index in range(200):
        rng = np.random.default_rng(index)
        scene = make_scene(scene_rng(0, "train", "image", index), "image")
        figures, question = scene.figures, WHOLE["image"][group](scene, rng)
        if question is None:
            continue
        asked += 1
        text, answer = question.text, question.answer
        if group == "where":
            assert answer == place_name(the(figures, name=text.removeprefix("where is the ")).start)
        elif group == "at":
            assert answer == the(figures, place=text.removeprefix("what is at the ")).name
        elif group == "colour":
            assert answer == the(figures, shape=text.removeprefix("what colour is the ")).colour
        elif group == "shape":
            assert answer == the(figures, colour=text.removeprefix("what shape is the ").removesuffix(" figure")).shape
        elif group == "texture":
            assert answer == the(figures, name=text.removeprefix("what texture is the ")).texture
        elif group == "relation":
            origin, other = text.removeprefix("seen from the ").split(" where is the ")
            assert answer == side_of(the(figures, name=other).start, the(figures, name=origin).start)
        elif group == "which":
            places = re.findall(r"\[\d\] (.+?)(?= \[| is the)", text)
            assert len(set(places)) == len(places) >= 2
            assert place_name(the(figures, name=text.split(" is the ")[1]).start) == places[int(answer.strip("[]"))]
        elif group == "count":
            word = text.removeprefix("how many ")
            assert int(answer) == sum(word in ("figures", figure.colour, figure.shape) for figure in figures)
        else:
            assert group == "list"
            entries = sorted(f"{one.texture} {one.name} {place_name(one.start)}" for one in figures)
            assert sorted(answer.split(" , ")) == entries
    assert asked > 100


@pytest.mark.parametrize("group", sorted(WHOLE["video"].keys() - WHOLE["image"].keys()))
def test_answers_are_true_of_the_video(group: str) -> None:
    asked = 0
    for index in range(200):
        rng = np.random.default_rng(index)
        scene = make_scene(scene_rng(0, "train", "video", index), "video")
        figures, question = scene.figures, WHOLE["video"][group](scene, rng)
        if question is None:
            continue
        asked += 1
        text, answer = question.text, question.answer
        if group == "moves":
            assert answer == the(figures, name=text.removeprefix("what is the motion of the ")).motion
        elif group == "mover":
            assert answer == the(figures, motion=text.removeprefix("what moves ")).name
        elif group == "end":
            figure = the(figures, name=text.removeprefix("what is the last place of the "))
            assert answer == place_name(figure.centre(1.0))
        elif group == "ends":
            ended = {place_name(figure.centre(1.0)): figure.name for figure in figures}
            assert answer == ended[text.removeprefix("what ends at the ")]
        else:
            figure = the(figures, name=text.removeprefix("what happens to the colour of the "))
            assert group == "change"
            assert answer == (f"turns {figure.turns}" if figure.turns else f"stays {figure.colour}")
    assert asked > 100


@pytest.mark.parametrize(("kind", "frames"), [("image", 1), ("video", 4)])
def test_no_region_is_marked(kind: Literal["image", "video"], frames: int) -> None:
    source = ShapesInWords(kind, 60)
    for index in range(60):
        sample = source[index]
        assert isinstance(sample.media, Pixels) and sample.regions == ()
        assert len(sample.media.array) == frames
        assert 1 <= len(sample.conversation) <= 6
        for turn in sample.conversation:
            assert not PLACEHOLDER.search(f"{turn.question} {turn.answer}"), turn
    assert source[7].conversation == ShapesInWords(kind, 60)[7].conversation


def test_scenes_are_in_no_split() -> None:
    """Of the seed that the quickstart trains and tests with."""
    words = {make_scene(scene_rng(0, "words", "image", index), "image") for index in range(200)}
    for split in ("train", "val", "test"):
        assert not words & {make_scene(scene_rng(0, split, "image", index), "image") for index in range(200)}  # type: ignore[arg-type]  # a list of them


def test_the_first_conversations_are_of_their_own_sorts() -> None:
    source = ShapesInWords("image", 40, warmup=20, warmup_groups={"count": 1.0}, groups={"where": 1.0})
    for index in range(40):
        turns = source[index].conversation
        assert {turn.question.split()[0] for turn in turns} == {"how" if index < 20 else "where"}
        assert index >= 20 or len(turns) == 6


def test_a_scene_that_none_of_the_questions_fits_is_drawn_again() -> None:
    """Asked for one sort of question alone, the loader's worker looked for an answer in the same scene for ever."""
    scenes = (make_scene(scene_rng(1, "words", "image", index), "image") for index in range(200))
    index = next(
        index for index, scene in enumerate(scenes) if WHOLE["image"]["which"](scene, np.random.default_rng(0)) is None
    )
    (turn,) = ShapesInWords("image", seed=1, groups={"which": 1, "list": 0}, turns=1)[index].conversation
    assert turn.question.startswith("which of [0]")


def test_lists_are_looked_up() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = draw_list(rng)
        assert len(set(words.keys)) == len(set(words.values)) == len(words.keys)
        value, key, copy = (LISTS[name](words, rng) for name in ("value", "key", "copy"))
        assert f"{value.question.removeprefix('what is ')} {value.answer}" in words.text
        assert f"{key.answer} {key.question.removeprefix('which is the ')}" in words.text
        assert copy.answer == words.text
    sample = ShapesInWords("text", 5)[3]
    assert isinstance(sample.media, NoPicture)
    assert len(MADE_UP) == len(set(MADE_UP)) == 360


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(DataError, match="no text question 'where', there are value, key"):
        ShapesInWords("text", groups={"where": 1.0})
    with pytest.raises(DataError, match="turns is 0"):
        ShapesInWords(turns=0)
    with pytest.raises(IndexError):
        ShapesInWords("image", 5)[5]


# --- conversations that mark all figures ----------------------------------------------------------------------------


def test_figures_keep_their_numbers_through_a_conversation() -> None:
    """Every mention names the region that the question was about before others were marked beside it."""
    source, spoken = ShapesStream("image", 200, groups={"what": 1.0, "colour": 1.0}, turns=5, alone=0.0), 0
    for index in range(200):
        sample = source[index]
        names = [region.category or "" for region in sample.regions]
        assert 2 <= len(names) <= 4
        for turn in sample.conversation:
            (number,) = mentions(turn.question, len(names))
            assert turn.answer in (names[number], names[number].split()[0])
            spoken += 1
    assert spoken > 500


def test_a_share_of_the_samples_marks_one_figure_alone() -> None:
    source = ShapesStream("image", 400, groups={"what": 1.0}, turns=4, alone=0.25)
    alone = sum(len(source[index].regions) == 1 for index in range(400))
    assert 70 <= alone <= 130
    with pytest.raises(DataError, match=r"alone is 1\.5"):
        ShapesStream("image", alone=1.5)


def test_answers_and_options_are_renumbered_too() -> None:
    asked = Question("which of <region0> <region1>", "<region1>", (2, 0), options=("<region0>", "<region1>"), label=1)
    everything = among(asked, (0, 1, 2))
    assert everything.text == "which of <region2> <region0>"
    assert (everything.answer, everything.options, everything.figures) == (
        "<region0>",
        ("<region2>", "<region0>"),
        (0, 1, 2),
    )
