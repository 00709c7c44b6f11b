"""Conversations without regions, and conversations in which all figures are marked."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER, mentions
from datamodules.shapes import ShapesInWords, ShapesStream
from datamodules.shapes.figure import Figure, Scene
from datamodules.shapes.questions import Question, among
from datamodules.shapes.scene import make_scene, scene_rng
from datamodules.shapes.squares import SQUARES, in_words, square
from datamodules.shapes.word_lists import LISTS, draw_list, written
from datamodules.types import NoPicture, Pixels, Turn

RING = Figure("ring", "red", "plain", 4.0, (4.2, 3.9))
TRIANGLE = Figure("triangle", "blue", "striped", 4.0, (27.8, 28.3))
PAIR = Scene((RING, TRIANGLE), 1)


def scenes(number: int) -> list[Scene]:
    return [make_scene(scene_rng(0, "train", "image", index), "image") for index in range(number)]


# --- squares --------------------------------------------------------------------------------------------------------


def test_squares_are_those_of_a_chessboard() -> None:
    """Column a is on the left and row 1 below; the picture's y grows downwards."""
    assert (square(RING), square(TRIANGLE)) == ("a4", "d1")
    assert square(replace(RING, start=(12.0, 20.0))) == "b2"
    assert len(set(SQUARES)) == 16


def test_no_two_figures_of_a_scene_start_on_the_same_square() -> None:
    for scene in scenes(300):
        assert len({square(figure) for figure in scene.figures}) == len(scene.figures)


def test_words_stand_for_regions() -> None:
    alone = in_words(Question("what is <region>", "blue triangle", (1,)), PAIR)
    assert (alone.text, alone.answer, alone.figures) == ("what is d1", "blue triangle", ())
    chosen = Question("which of <region0> <region1> is it", "<region1>", (1, 0), options=("<region0>", "<region1>"))
    said = in_words(chosen, PAIR)
    assert (said.text, said.answer, said.options) == ("which of [0] d1 [1] a4 is it", "[1]", ("[0]", "[1]"))


# --- conversations in words -----------------------------------------------------------------------------------------

LISTED = re.compile(r"\[(\d)\] (\w\d)")


def scene_of(source: ShapesInWords, index: int) -> Scene:
    """Drawn again: number of questions and their sorts come before the scene."""
    rng = scene_rng(source.seed, "words", "image", index)
    number = int(rng.integers(1, source.turns + 1))
    for _ in range(number):
        rng.random()
    return make_scene(rng, "image")


def test_answers_are_true_of_the_scene() -> None:
    """Worked out again from the figures alone, for every sort of question whose answer has one form."""
    source, asked = ShapesInWords("image", 400), set()
    for index in range(400):
        scene = scene_of(source, index)
        by_square = {square(figure): figure for figure in scene.figures}
        for turn in source[index].conversation:
            words, answer = turn.question.rstrip(" ?").split(), turn.answer
            if words[0] == "find":
                asked.add("find")
                assert by_square[answer].name == " ".join(words[2:])
            elif words[:2] == ["how", "many"]:
                asked.add("count")
                wanted = [figure for figure in scene.figures if words[2] in (figure.colour, figure.shape, "figures")]
                assert int(answer) == len(wanted)
            elif words[:2] == ["list", "all"]:
                asked.add("list")
                entries = answer.split(" , ")
                assert entries == [f"{by_square[name].name} {name}" for name in sorted(by_square)]
            elif words[:2] == ["which", "of"] and len(words) > 3 and words[2] == "[0]":
                asked.add("refer")
                listed = dict(LISTED.findall(turn.question))
                assert set(listed.values()) == set(by_square)
                chosen = by_square[listed[answer.strip("[]")]]
                described = turn.question.split(" is the ")[1]
                assert chosen.name in described
            elif words[:2] == ["what", "is"] and "fits" not in words:
                asked.add("what")
                assert by_square[words[-1]].name == answer
    assert asked == {"find", "count", "list", "refer", "what"}


@pytest.mark.parametrize("kind", ["image", "video", "hard"])
def test_no_region_is_marked(kind: str) -> None:
    source = ShapesInWords(kind, 60)  # type: ignore[arg-type]  # parametrised
    for index in range(60):
        sample = source[index]
        assert isinstance(sample.media, Pixels) and sample.regions == ()
        assert 1 <= len(sample.conversation) <= 6
        for turn in sample.conversation:
            assert not PLACEHOLDER.search(f"{turn.question} {turn.answer}"), turn
    assert source[7].conversation == ShapesInWords(kind, 60)[7].conversation  # type: ignore[arg-type]


def test_scenes_are_in_no_split() -> None:
    """Of the seed that the quickstart trains and tests with."""
    words = {make_scene(scene_rng(0, "words", "image", index), "image") for index in range(200)}
    for split in ("train", "val", "test"):
        assert not words & {make_scene(scene_rng(0, split, "image", index), "image") for index in range(200)}


def test_the_first_conversations_are_direct() -> None:
    source = ShapesInWords("image", 40, warmup=20, warmup_groups={"what": 1.0})
    for index in range(20):
        turns = source[index].conversation
        assert len(turns) == 6
        assert all(re.fullmatch(r"what is [a-d][1-4]", turn.question) for turn in turns), turns
    assert any("what is" not in source[index].conversation[0].question for index in range(20, 40))


def test_lists_are_looked_up() -> None:
    entries, rng = ["red ring", "blue square", "white triangle"], np.random.default_rng(0)
    assert written(entries) == "[0] red ring [1] blue square [2] white triangle"
    for _ in range(20):
        which, look_up, after = (LISTS[name](entries, rng) for name in ("which", "look_up", "after"))
        number = int(which.answer.strip("[]"))
        assert which.question == f"which is the {entries[number]}"
        assert look_up == Turn(f"what is [{entries.index(look_up.answer)}]", look_up.answer)
        place = entries.index(after.question.removeprefix("after "))
        assert f"{written(entries)} ".endswith(f"{entries[place]} {after.answer} ")
    assert LISTS["copy"](entries, rng).answer == "red ring , blue square , white triangle"
    lengths = {len(drawn) for drawn in (draw_list(rng) for _ in range(100)) if len(set(drawn)) == len(drawn)}
    assert lengths == {2, 3, 4, 5}
    sample = ShapesInWords("text", 5)[3]
    assert isinstance(sample.media, NoPicture)
    assert sample.conversation[0].question.startswith("[0] ")


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(DataError, match="no text question 'what', there are which, look_up"):
        ShapesInWords("text", groups={"what": 1.0})
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
