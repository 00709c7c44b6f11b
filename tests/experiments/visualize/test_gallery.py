from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from answered import GRID, batch, prediction, sample
from experiments.visualize.gallery import Gallery
from lightning_modules.generation.answering import Answered
from metrics import MultipleChoice, Prediction


def test_the_gallery_takes_groups_in_turn() -> None:
    gallery = Gallery(4, {})
    samples = [sample("a1", "a"), sample("a2", "a"), sample("a3", "a"), sample("b1", "b"), sample("c1", "c")]
    gallery.add(batch(samples), Answered([prediction(asked) for asked in samples], None))
    assert [exhibit.sample.id for exhibit in gallery.exhibits()] == ["a1", "b1", "c1", "a2"]


def test_the_gallery_shows_a_scene_again_only_when_a_group_has_no_other() -> None:
    """Every question about one scene comes before the next scene: twelve pictures showed two."""
    groups, gallery = ("a", "b", "c"), Gallery(5, {})
    samples = [sample(f"{scene}{group}", group) for scene in "123456" for group in groups]
    said = [replace(prediction(asked), cluster=asked.id[0]) for asked in samples]
    gallery.add(batch(samples), Answered(said, None))
    assert [exhibit.sample.id for exhibit in gallery.exhibits()] == ["1a", "2b", "3c", "4a", "5b"]

    few = Gallery(9, {})
    few.add(batch(samples[:6]), Answered(said[:6], None))
    assert [exhibit.sample.id for exhibit in few.exhibits()] == ["1a", "2b", "1c", "2a", "1b", "2c"]


def test_the_gallery_gives_each_sample_its_own_heat() -> None:
    """Two clips of two frames, of one region and of two: the second half of the tokens is the second's."""
    heat = torch.arange(4 * GRID * GRID * 2).reshape(4 * GRID * GRID, 2)
    samples = [sample("a"), sample("b", regions=2)]
    gallery = Gallery(2, {})
    gallery.add(batch(samples), Answered([prediction(asked) for asked in samples], heat))
    first, second = (exhibit.heat for exhibit in gallery.exhibits())
    assert first is not None
    assert second is not None
    assert np.array_equal(first, np.arange(0, 16, 2)[:, None])
    assert np.array_equal(second, heat[8:])


def test_a_choice_is_spoken_with_the_option_that_its_metric_says() -> None:
    """The second is likelier, per token the first: -4 / 4 against -1.5."""
    said = Prediction("a", "choice", "", "?", "no", ("yes",), ("no", "<region0>"), 1, (-4.0, -1.5), (4, 1))
    spoken = []
    for metrics in ({}, {"choice": MultipleChoice("likelihood_per_token")}):
        gallery = Gallery(1, metrics)  # type: ignore[arg-type]  # the keys are tasks
        gallery.add(batch([sample("a")]), Answered([said], None))
        spoken += [exhibit.spoken for exhibit in gallery.exhibits()]
    assert spoken == ["no   chosen option (2) [0]", "no   chosen option (1) no"]


def test_pictures_of_the_gallery_have_heat_and_options(tmp_path: Path) -> None:
    asked = [sample("a"), replace(sample("b"), options=("red", "blue"), label=0)]
    chosen = Prediction("b", "choice", "", "?", "red", ("red",), ("red", "blue"), 0, (-1.0, -2.0), (1, 1))
    gallery = Gallery(2, {})
    gallery.add(batch(asked), Answered([prediction(asked[0]), chosen], torch.rand(4 * GRID * GRID, 1)))
    (first, path), (second, other) = gallery.draw(tmp_path)
    assert [file.name for file in (path, other)] == ["000.png", "001.png"]
    assert (first.choice, second.choice is None) == (None, False)
    with Image.open(path) as plain, Image.open(other) as choosing:
        assert plain.width == choosing.width
        assert choosing.height > plain.height + 2 * 19
