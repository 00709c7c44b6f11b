"""Questions about a scene that mark nothing: a figure is told by how it looks, or by where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias

from datamodules.shapes import phrases
from datamodules.shapes.figure import COLOURS, PLACES, SHAPES, Figure, Scene, related_pairs, side_of
from datamodules.shapes.phrases import Phrase
from datamodules.shapes.questions import Question, Rng

Maker: TypeAlias = Callable[[Scene, Rng], Question | None]


def alone(scene: Scene, tell: Phrase) -> list[Figure]:
    """The figures of which something is true that is true of no other one."""
    told = Counter(map(tell, scene.figures))
    return [figure for figure in scene.figures if told[tell(figure)] == 1]


def _of_one(text: str, tell: Phrase, answer: Phrase) -> Maker:
    """Asks about a figure that `tell` tells from the others; None where there is none."""

    def make(scene: Scene, rng: Rng) -> Question | None:
        figures = alone(scene, tell)
        if not figures:
            return None
        figure = figures[int(rng.integers(len(figures)))]
        return Question(text.format(tell(figure)), answer(figure), ())

    return make


def _relation(scene: Scene, rng: Rng) -> Question | None:
    figures = alone(scene, _name)
    pairs = related_pairs(figures)
    if not pairs:
        return None
    origin, other = (figures[number] for number in pairs[int(rng.integers(len(pairs)))])
    side = side_of(other.start, origin.start)
    assert side is not None, "a related pair has a side"
    return Question(f"seen from the {origin.name} where is the {other.name}", side, ())


def _which(scene: Scene, rng: Rng) -> Question | None:
    """Which of the places holds a figure; places that hold two are left out."""
    named = alone(scene, _name)
    figures = [figure for figure in alone(scene, phrases.start) if figure in named]
    if len(figures) < 2:
        return None
    order = [figures[int(number)] for number in rng.permutation(len(figures))]
    number = int(rng.integers(len(order)))
    listed = " ".join(f"[{place}] {phrases.start(figure)}" for place, figure in enumerate(order))
    return Question(f"which of {listed} is the {order[number].name}", f"[{number}]", ())


def _count(scene: Scene, rng: Rng) -> Question:
    words = ("figures", *COLOURS, *SHAPES)
    word = words[int(rng.integers(len(words)))]
    number = sum(word in ("figures", figure.colour, figure.shape) for figure in scene.figures)
    return Question(f"how many {word}", str(number), ())


def _list(scene: Scene, rng: Rng) -> Question:
    """All figures, row by row."""
    del rng  # there is one way to ask
    figures = sorted(scene.figures, key=_reading_order)
    return Question("list all", " , ".join(f"{phrases.look(figure)} {phrases.start(figure)}" for figure in figures), ())


def _reading_order(figure: Figure) -> tuple[int, float]:
    return PLACES.index(phrases.start(figure)), figure.start[0]


def _name(figure: Figure) -> str:
    return figure.name


def _colour(figure: Figure) -> str:
    return figure.colour


def _shape(figure: Figure) -> str:
    return figure.shape


def _texture(figure: Figure) -> str:
    return figure.texture


def _motion(figure: Figure) -> str:
    return figure.motion


_ANY: dict[str, Maker] = {
    "where": _of_one("where is the {}", _name, phrases.start),
    "relation": _relation,
    "which": _which,
}
WHOLE: dict[Literal["image", "video"], dict[str, Maker]] = {
    "image": {
        **_ANY,
        "list": _list,
        "count": _count,
        "at": _of_one("what is at the {}", phrases.start, _name),
        "colour": _of_one("what colour is the {}", _shape, _colour),
        "shape": _of_one("what shape is the {} figure", _colour, _shape),
        "texture": _of_one("what texture is the {}", _name, _texture),
    },
    "video": {
        **_ANY,
        "moves": _of_one("what is the motion of the {}", _name, _motion),
        "mover": _of_one("what moves {}", _motion, _name),
        "end": _of_one("what is the last place of the {}", _name, phrases.end),
        "ends": _of_one("what ends at the {}", phrases.end, _name),
        "change": _of_one("what happens to the colour of the {}", _name, phrases.fate),
    },
}
"""Kind of scene -> sort of question -> who asks it."""
