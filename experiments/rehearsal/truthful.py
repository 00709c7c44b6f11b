"""The models by their role: each answers from the scene, but the describer lies and the judge errs at known rates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.errors import DataError
from datamodules.shapes.figure import SIDE
from experiments.rehearsal.claims import SENTENCES, Claim, Topic, inventions, read, truths
from experiments.rehearsal.reading import (
    Prompt,
    box_of,
    description_of,
    descriptions_in,
    questions_of,
    regions_of,
    video_of,
)
from experiments.rehearsal.scenes import Scenes, Sight
from experiments.rehearsal.talk import asked, talk

MOST_NEIGHBOURS = 1
NEIGHBOURS_OF_AN_IMAGE = 3

# what the generator of a draw is seeded with beside the video and the region
_TELLING, _UNSEEN, _JUDGING = range(3)


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence of a description, and whether it is true."""

    sentence: str
    claim: Claim
    true: bool


class TruthfulModels:
    """Vision-language and language models that know the scene.

    The same request gets the same answer, in every process and order.

    Args:
        scenes: What the videos show.
        lies: Share of the described sentences that are false.
        judge_errors: Share of the questions that the judge answers the wrong way round.
        unseen: Share of the regions that the describer says it cannot see.
        seed: Decides which.
    """

    def __init__(
        self, scenes: Scenes, lies: float = 0.0, judge_errors: float = 0.0, unseen: float = 0.0, seed: int = 0
    ) -> None:
        rates = {"lies": lies, "judge errors": judge_errors, "unseen": unseen}
        if wrong := [f"{name} {rate}" for name, rate in rates.items() if not 0 <= rate <= 1]:
            raise DataError(f"rehearsal: {wrong[0]} is no share between 0 and 1")
        if seed < 0:
            raise DataError(f"rehearsal: seed {seed} must be 0 or more")
        self.scenes = scenes
        self.lies = lies
        self.judge_errors = judge_errors
        self.unseen = unseen
        self.seed = seed
        self._roles = {
            "rehearsal-describe": self._describe,
            "rehearsal-split": self._split,
            "rehearsal-judge": self._judge,
            "rehearsal-rewrite": self._rewrite,
            "rehearsal-instruct": self._instruct,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models: the role stands in each."""
        return tuple(self._roles)

    def answer(self, model: str, prompt: Prompt) -> str:
        """What a model says.

        Args:
            model: One of `names`.
            prompt: With the lines that say video, region and what else the role needs, and the images it looks at.

        Raises:
            DataError: A line is missing, or names what is not in the scene.
        """
        return self._roles[model](prompt)

    def told(self, video: str, region: int) -> tuple[Told, ...]:
        """What the describer says of a region, counted from 1; empty if it does not see it."""
        sight = self.scenes.find(video)
        if self._rng(sight, region, _UNSEEN).random() < self.unseen:
            return ()
        rng = self._rng(sight, region, _TELLING)
        return tuple(self._tell(sight, claim, rng) for claim in self._chosen(sight, sight.order[region - 1], rng))

    # --- the roles ------------------------------------------------------------------------------------------------

    def _describe(self, prompt: Prompt) -> str:
        video, sight = self._seen(prompt.text)
        said: dict[str, str | None] = {}
        for region, noun in regions_of(prompt.text):
            sight.number(region, noun)
            said[str(region)] = " ".join(told.sentence for told in self.told(video, region)) or None
        return json.dumps(said)

    def _split(self, prompt: Prompt) -> str:
        described = read(description_of(prompt.text))
        return json.dumps([{"claim": _bare(sentence), "question": _question(claim)} for sentence, claim in described])

    def _judge(self, prompt: Prompt) -> str:
        _, sight = self._seen(prompt.text)
        region, noun = regions_of(prompt.text)[0]
        number = sight.number_at(box_of(prompt, SIDE), noun)
        return json.dumps(
            {name: self._verdict(sight, region, number, asked) for name, asked in questions_of(prompt.text)}
        )

    def _rewrite(self, prompt: Prompt) -> str:
        # whole sentences were cut: there is nothing to mend
        return description_of(prompt.text)

    def _instruct(self, prompt: Prompt) -> str:
        described = descriptions_in(prompt.text)
        regions = [region for region, _ in regions_of(prompt.text)]
        if len(regions) != len(described):
            raise DataError(f"instruct: {len(regions)} regions and {len(described)} descriptions")
        return json.dumps({str(region): talk(region, told) for region, told in zip(regions, described, strict=True)})

    # --- what they do for it --------------------------------------------------------------------------------------

    def _seen(self, text: str) -> tuple[str, Sight]:
        video = video_of(text)
        return video, self.scenes.find(video)

    def _rng(self, sight: Sight, region: int, use: int, *further: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, use, region, *sight.key.name.encode(), *further])

    def _chosen(self, sight: Sight, number: int, rng: np.random.Generator) -> list[Claim]:
        """True claims, so many that they make 60 to 90 words for a video."""
        most = NEIGHBOURS_OF_AN_IMAGE if sight.scene.frames == 1 else MOST_NEIGHBOURS
        every = truths(sight.scene, number)
        neighbours = [every["neighbour"][place] for place in rng.permutation(len(every["neighbour"]))[:most]]
        chosen: dict[Topic, Sequence[Claim]] = {**every, "neighbour": neighbours}
        if neighbours and sight.scene.frames > 1:
            del chosen["company"]
        return [claim for claims in chosen.values() for claim in claims]

    def _tell(self, sight: Sight, truth: Claim, rng: np.random.Generator) -> Told:
        wording, is_lie = int(rng.integers(len(SENTENCES[truth.topic]))), bool(rng.random() < self.lies)
        lies = inventions(sight.scene, truth)
        claim = lies[int(rng.integers(len(lies)))] if is_lie else truth
        return Told(claim.sentence(wording), claim, not is_lie)

    def _verdict(self, sight: Sight, region: int, number: int, question: str) -> str:
        claims = asked(question)
        if not claims:
            return "unsure"
        rng = self._rng(sight, region, _JUDGING, *question.encode())
        true = truths(sight.scene, number)
        right = all(claim in true[claim.topic] for claim in claims)
        errs, certain = bool(rng.random() < self.judge_errors), bool(rng.random() < 0.75)
        if right == errs:
            return "definitely no"
        return "definitely yes" if certain else "probably yes"


def _bare(sentence: str) -> str:
    return sentence.strip().rstrip(".!?")


def _question(claim: Claim | None) -> str:
    return "Is that right?" if claim is None else claim.question
