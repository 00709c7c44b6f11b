"""Questions about the figures of a scene, and their true answers.

Wording matters more than anything else for a small model: where the answer follows the placeholder directly ("what
shape is <region>"), pointing is learned within a few hundred steps; with words in between it stays on a plateau. So
most questions end with the placeholder, and some say the same with words after it: the mixture teaches both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.shapes import phrases
from datamodules.shapes.figure import PLACES, Scene, place_name, related_pairs, side_of
from datamodules.shapes.hard import ASKED_FRAMES
from datamodules.shapes.phrases import Phrase
from datamodules.shapes.scene import Kind
from datamodules.types import Turn

if TYPE_CHECKING:
    from datamodules.types import Task

DIRECT_SHARE = 0.75
"""Share of the questions whose answer follows the placeholder directly."""

OPTIONS = 4

Rng: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a scene.

    Attributes:
        text: The question.
        answer: The right one.
        figures: The scene's numbers of `<region0>`, `<region1>`, ... in this order.
        references: All right answers, if there are several.
        options: To choose from, or empty.
        label: Index of the right option.
        task: How it is scored.
    """

    text: str
    answer: str
    figures: tuple[int, ...]
    references: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    label: int | None = None
    task: Task = "answer"

    @property
    def turn(self) -> Turn:
        """The question in a conversation."""
        return Turn(self.text, self.answer, self.references)

    def rewritten(self, rewrite: Callable[[str], str], figures: tuple[int, ...]) -> Question:
        """The same question about the same figures, with its mentions of them put in another way."""
        return replace(
            self,
            text=rewrite(self.text),
            answer=rewrite(self.answer),
            references=tuple(map(rewrite, self.references)),
            options=tuple(map(rewrite, self.options)),
            figures=figures,
        )


Maker: TypeAlias = Callable[[Scene, Rng, bool], Question]


def groups_of(kind: Kind) -> tuple[str, ...]:
    """Names of all sorts of questions about images or videos."""
    return tuple(_MAKERS[kind])


def ask(scene: Scene, kind: Kind, group: str, rng: Rng, direct: bool | None = None) -> Question:
    """One question about a scene.

    Args:
        scene: Made by `make_scene` for this kind.
        kind: Image or video.
        group: The sort of question, one of `groups_of(kind)`.
        rng: Draws figure, wording and wrong options.
        direct: Whether to take the wording whose answer follows the placeholder; drawn if left out.
    """
    if direct is None:
        direct = bool(rng.random() < DIRECT_SHARE)
    return _MAKERS[kind][group](scene, rng, direct)


def _about(direct: str, other: str, answer: Phrase) -> Maker:
    """Asks about any one figure, in one of two wordings."""

    def make(scene: Scene, rng: Rng, is_direct: bool) -> Question:
        number = _any(rng, len(scene.figures))
        return Question(direct if is_direct else other, answer(scene.figures[number]), (number,))

    return make


def _about_a_twin(text: str, answer: Phrase) -> Maker:
    """Asks about a figure that another one of the scene looks like."""

    def make(scene: Scene, rng: Rng, _: bool) -> Question:
        twins = [number for number in range(len(scene.figures)) if scene.twins(number)]
        number = twins[_any(rng, len(twins))]
        return Question(text, answer(scene.figures[number]), (number,))

    return make


def _where_a_twin_is(frame: int) -> Maker:
    """Asks where on one frame it is, also if another figure hides it there."""
    return _about_a_twin(
        f"place on frame {frame} of <region>", lambda figure: place_name(figure.centre(figure.pace[frame]))
    )


def _among_all(ask_alone: Maker) -> Maker:
    """Marks all figures of the scene, in random order, and asks about one: only its own mark says which.

    Where a sample marks the figure that it asks about and no other, it is enough to look for whatever is marked.
    """

    def make(scene: Scene, rng: Rng, direct: bool) -> Question:
        return among(ask_alone(scene, rng, direct), shuffled_figures(scene, rng))

    return make


def shuffled_figures(scene: Scene, rng: Rng) -> tuple[int, ...]:
    """The numbers of all figures of a scene, in random order."""
    return tuple(int(number) for number in rng.permutation(len(scene.figures)))


def among(question: Question, figures: tuple[int, ...]) -> Question:
    """The same question where `figures` are marked, those that it is about among them."""

    def renumbered(text: str) -> str:
        return PLACEHOLDER.sub(lambda found: f"<region{figures.index(question.figures[int(found[1] or 0)])}>", text)

    return question.rewritten(renumbered, figures)


def _change(scene: Scene, rng: Rng, direct: bool) -> Question:
    """Asks about a figure that changes colour half of the time where there is one: most figures do not."""
    changing = [number for number, figure in enumerate(scene.figures) if figure.turns]
    lasting = [number for number, figure in enumerate(scene.figures) if not figure.turns]
    asked = changing if changing and (not lasting or rng.random() < 0.5) else lasting
    number = asked[_any(rng, len(asked))]
    text = "what happens to the colour of <region>" if direct else "what does the colour of <region> do ?"
    return Question(text, phrases.fate(scene.figures[number]), (number,))


def _relation(scene: Scene, rng: Rng, direct: bool) -> Question:
    pairs = related_pairs(scene.figures)
    origin, other = pairs[_any(rng, len(pairs))]
    side = side_of(scene.figures[other].start, scene.figures[origin].start)
    assert side is not None, "a related pair has a side"
    text = "seen from <region0> where is <region1>" if direct else "where is <region1> seen from <region0> ?"
    return Question(text, side, (origin, other))


def _refer(scene: Scene, rng: Rng, direct: bool) -> Question:
    """Asks which of all figures fits a description."""
    figures = shuffled_figures(scene, rng)
    label = _any(rng, len(figures))
    options = tuple(f"<region{number}>" for number in range(len(figures)))
    text = f"which of {' '.join(options)} is {phrases.description(scene, figures[label])}"
    text = text if direct else f"{text} ?"
    return Question(text, options[label], figures, options=options, label=label, task="refer")


def _caption(scene: Scene, rng: Rng, direct: bool) -> Question:
    number = _any(rng, len(scene.figures))
    references = phrases.captions(scene, number)
    text = "describe <region>" if direct else "describe <region> in one sentence"
    return Question(text, references[0], (number,), references=references, task="caption")


def _choice(scene: Scene, rng: Rng, direct: bool) -> Question:
    """Asks what fits a figure: what fits the scene's other figures is wrong first, then what fits none."""
    number = _any(rng, len(scene.figures))
    tell, invented = phrases.look, phrases.all_looks()
    if scene.frames > 1:
        tell, invented = phrases.story, phrases.all_stories(scene.figures[number])
    told = [tell(figure) for figure in scene.figures]
    text = "choose what fits <region>" if direct else "which of these fits <region> ?"
    return _multiple_choice(text, number, told[number], told, invented, rng)


def _next(scene: Scene, rng: Rng, direct: bool) -> Question:
    """Asks where a figure is one frame after the last; where it is and was are wrong first."""
    number = _any(rng, len(scene.figures))
    figure = scene.figures[number]
    answer = place_name(figure.centre(scene.frames / (scene.frames - 1)))
    near = [phrases.end(figure), phrases.start(figure), "outside"]
    text = "what is the next place of <region>" if direct else "where does <region> go next ?"
    return _multiple_choice(text, number, answer, near, PLACES, rng)


def _multiple_choice(
    text: str, number: int, answer: str, near: Sequence[str], far: Sequence[str], rng: Rng
) -> Question:
    """The answer among different wrong options in random order; near ones come before far ones."""
    chosen = list(dict.fromkeys([answer, *near, *_shuffled(far, rng)]))[:OPTIONS]
    options = tuple(_shuffled(chosen, rng))
    return Question(text, answer, (number,), options=options, label=options.index(answer), task="choice")


def _shuffled(items: Sequence[str], rng: Rng) -> list[str]:
    return [items[int(place)] for place in rng.permutation(len(items))]


def _any(rng: Rng, number: int) -> int:
    return int(rng.integers(number))


_NAME_AND_MOTION = _about(
    "name and motion of <region>",
    "what is <region> and how does it move ?",
    lambda figure: f"{figure.name} {figure.motion}",
)

_MAKERS: dict[Kind, dict[str, Maker]] = {
    "image": {
        "shape": _about("what shape is <region>", "what shape does <region> have ?", lambda figure: figure.shape),
        "colour": _about("what colour is <region>", "what colour does <region> have ?", lambda figure: figure.colour),
        "texture": _about(
            "what texture is <region>", "what texture does <region> have ?", lambda figure: figure.texture
        ),
        "what": _about("what is <region>", "what is <region> ?", lambda figure: figure.name),
        "position": _about("where is <region>", "where is <region> placed ?", phrases.start),
        "relation": _relation,
        "caption": _caption,
        "choice": _choice,
        "refer": _refer,
        "among": _among_all(_about("what is <region>", "what is <region> ?", lambda figure: figure.name)),
    },
    "video": {
        "moves": _about(
            "what is the motion of <region>", "which way does <region> move ?", lambda figure: figure.motion
        ),
        "change": _change,
        "end": _about("what is the last place of <region>", "where does <region> end ?", phrases.end),
        "next": _next,
        "what": _NAME_AND_MOTION,
        "caption": _caption,
        "choice": _choice,
        "refer": _refer,
        "among": _among_all(_NAME_AND_MOTION),
    },
    "hard": {
        **{f"frame{frame}": _where_a_twin_is(frame) for frame in ASKED_FRAMES},
        "direction": _about_a_twin("direction of <region>", lambda figure: figure.motion),
        "pace": _about_a_twin("pace of <region>", phrases.pace),
    },
}
