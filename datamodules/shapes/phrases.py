"""What can be said of a figure: the words of answers, captions and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from datamodules.shapes.figure import COLOURS, MOTIONS, SHAPES, TEXTURES, Figure, Scene, place_name
from datamodules.shapes.hard import manner_of

Phrase: TypeAlias = Callable[[Figure], str]


def start(figure: Figure) -> str:
    """Its place on the first frame."""
    return place_name(figure.centre(0.0))


def end(figure: Figure) -> str:
    """Its place on the last frame."""
    return place_name(figure.centre(1.0))


def pace(figure: Figure) -> str:
    """How a figure of a hard scene moves, whatever its direction."""
    manner = manner_of(figure)
    return "leaves and returns" if manner == "leaves" else manner


def fate(figure: Figure) -> str:
    """What becomes of its colour."""
    return f"turns {figure.turns}" if figure.turns else f"stays {figure.colour}"


def look(figure: Figure) -> str:
    """Texture, colour and shape."""
    return f"{figure.texture} {figure.name}"


def all_looks() -> list[str]:
    """Every look there is."""
    return [f"{texture} {colour} {shape}" for texture in TEXTURES for colour in COLOURS for shape in SHAPES]


def story(figure: Figure) -> str:
    """What it is and how it moves."""
    return f"{figure.name} that {_action(figure.motion)}"


def all_stories(figure: Figure) -> list[str]:
    """Every motion it could have made."""
    return [f"{figure.name} that {_action(motion)}" for motion in MOTIONS]


def description(scene: Scene, number: int) -> str:
    """Words that fit this figure and no other one of the scene; twins differ in place, or in a video in motion."""
    figure = scene.figures[number]
    if not scene.twins(number):
        return f"the {figure.name}"
    return f"the {story(figure)}" if scene.frames > 1 else f"the {figure.name} {at(start(figure))}"


def captions(scene: Scene, number: int) -> tuple[str, ...]:
    """Sentences about one figure that are all right."""
    figure = scene.figures[number]
    return _video_captions(figure) if scene.frames > 1 else _image_captions(figure)


def _image_captions(figure: Figure) -> tuple[str, ...]:
    place = at(start(figure))
    stripes = "with stripes" if figure.texture == "striped" else "without stripes"
    return f"a {look(figure)} {place}", f"a {figure.name} {stripes} {place}", f"{place} there is a {look(figure)}"


def _video_captions(figure: Figure) -> tuple[str, ...]:
    change = f" and {fate(figure)}" if figure.turns else ""
    if figure.motion == "still":
        place = start(figure)
        told = (f"stays still {at(place)}", f"does not move from the {place}")
    else:
        told = (
            f"moves {figure.motion} and ends {at(end(figure))}",
            f"moves {figure.motion} from the {start(figure)} to the {end(figure)}",
        )
    return tuple(f"a {figure.name} {words}{change}" for words in told)


def _action(motion: str) -> str:
    return "stays still" if motion == "still" else f"moves {motion}"


def at(place: str) -> str:
    """A place with its preposition."""
    return f"in the {place}" if place == "middle" else f"at the {place}"
