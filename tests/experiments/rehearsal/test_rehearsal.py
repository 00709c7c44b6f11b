"""The stand-in models over HTTP, through the real client: what they say, what they count, and how they fail."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import openai
import pytest
from pycocotools.mask import toBbox

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.regvid.quotations import Description
from datamodules.shapes.figure import SIDE
from datamodules.shapes.writer import annotation_path
from datamodules.types import Mask
from experiments.rehearsal.api import TOKENS_PER_IMAGE
from experiments.rehearsal.claims import every_claim, read, truths
from experiments.rehearsal.faults import FAULTS, REFUSAL, Fault, FirstTries, RandomFaults
from experiments.rehearsal.reading import Prompt
from experiments.rehearsal.scenes import Scenes
from experiments.rehearsal.server import RehearsalServer
from experiments.rehearsal.talk import asked, talk
from experiments.rehearsal.truthful import TruthfulModels
from rehearsals import SHOWN_SIDE, VIDEO, client, describe_prompt, models, region_lines, say, shapes_folder, text_of

SCENES_LOOKED_AT = 20
SHOWN = ((SHOWN_SIDE, SHOWN_SIDE),)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder(tmp_path_factory.mktemp("rehearsal") / "shapes")


@pytest.fixture
def scenes(shapes: Path) -> Scenes:
    return Scenes(shapes)


def box_line(scenes: Scenes, region: int) -> str:
    """Where the region is on the first frame, from the data set's own file."""
    source = RegionJsonl(annotation_path(scenes.root, "video", "test"))
    samples = [sample for sample in (source[row] for row in range(len(source))) if sample.id.startswith(VIDEO)]
    masks = dict.fromkeys(place.prompts[0] for sample in samples for place in sample.regions)
    mask = list(masks)[region - 1]
    assert isinstance(mask, Mask)
    x, y, width, height = toBbox({"size": mask.size, "counts": mask.counts})
    x0, y0, x1, y1 = (edge * SHOWN_SIDE / SIDE for edge in (x, y, x + width, y + height))
    return f"Box in the first image: {x0:.1f}, {y0:.1f}, {x1:.1f}, {y1:.1f}"


# --- the API ------------------------------------------------------------------------------------------------------


def test_the_models_are_listed(shapes: Path) -> None:
    with RehearsalServer(models(shapes)) as server, client(server) as api:
        listed = [model.id for model in api.models.list()]
    assert listed == [f"rehearsal-{role}" for role in ("describe", "split", "judge", "rewrite", "instruct")]


def test_an_answer_says_what_it_cost(shapes: Path) -> None:
    """Two images, words and signs: counted by hand."""
    with RehearsalServer(models(shapes)) as server:
        text = "Region: [1] ring\nDescription: Here it is."
        completion = say(server, "split", text, images=2)
    assert completion.usage is not None
    # You look closely . | Region : [ 1 ] ring | Description : Here it is .
    assert completion.usage.prompt_tokens == 16 + 2 * TOKENS_PER_IMAGE
    # [ { " claim " : " Here it is " , " question " : " Is that right ? " } ]
    assert completion.usage.completion_tokens == 24
    assert completion.usage.total_tokens == 40 + 2 * TOKENS_PER_IMAGE
    assert completion.choices[0].finish_reason == "stop"


def test_an_answer_is_cut_at_the_limit(shapes: Path) -> None:
    with RehearsalServer(models(shapes)) as server:
        completion = say(server, "rewrite", "Video: a\nDescription: One two three four.", limit=3)
    assert text_of(completion) == "One two three"
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None and completion.usage.completion_tokens == 3


def test_requests_that_cannot_be_answered_get_the_errors_of_the_api(shapes: Path, scenes: Scenes) -> None:
    with RehearsalServer(models(shapes)) as server, client(server) as api:
        with pytest.raises(openai.NotFoundError) as missing:
            say(server, "paint", "Video: a")
        with pytest.raises(openai.BadRequestError, match="no image"):
            say(server, "describe", describe_prompt(scenes))
        with pytest.raises(openai.BadRequestError, match="none of the built-in data set"):
            say(server, "describe", "Video: holiday\n[1] dog", images=1)
        with pytest.raises(openai.BadRequestError, match="holds no line"):
            say(server, "rewrite", "Video: a")
        there: Any = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        with pytest.raises(openai.BadRequestError, match="image cannot be read"):
            api.chat.completions.create(model="rehearsal-split", messages=[{"role": "user", "content": [there]}])
        nothing: Any = ["hello"]
        with pytest.raises(openai.BadRequestError, match="Invalid value: 'messages'"):
            api.chat.completions.create(model="rehearsal-split", messages=nothing)
        with pytest.raises(openai.BadRequestError, match="stream"):
            api.chat.completions.create(
                model="rehearsal-split", messages=[{"role": "user", "content": "a"}], stream=True
            )
        with pytest.raises(openai.BadRequestError, match="messages"):
            api.chat.completions.create(model="rehearsal-split", messages=[])
        with pytest.raises(openai.NotFoundError, match="Invalid URL"):
            api.embeddings.create(model="rehearsal-split", input="a")
    assert missing.value.code == "model_not_found"
    assert not len(server.exchanges)


def test_without_a_key_nothing_is_said(shapes: Path) -> None:
    """Not through the client: it sends no request without a key."""
    with RehearsalServer(models(shapes)) as server, pytest.raises(HTTPError) as refused:
        urlopen(f"{server.base_url}/models")
    assert refused.value.code == 401
    assert json.load(refused.value)["error"]["code"] == "invalid_api_key"


def test_a_taken_port_and_a_missing_data_set_are_errors(shapes: Path, tmp_path: Path) -> None:
    with RehearsalServer(models(shapes)) as server:
        port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(DataError, match=f"port {port}"):
            RehearsalServer(models(shapes), port=port)
    with pytest.raises(DataError, match="no built-in data set"):
        Scenes(tmp_path)
    with pytest.raises(DataError, match=r"lies 1\.5"):
        models(shapes, lies=1.5)


# --- what the models say ------------------------------------------------------------------------------------------


def test_descriptions_have_60_to_90_words_and_one_claim_a_sentence(shapes: Path, scenes: Scenes) -> None:
    honest = TruthfulModels(scenes)
    for index in range(300):
        sight = scenes.find(f"video-test-{index:05d}")
        for region in range(1, len(sight.order) + 1):
            told = honest.told(sight.key.name, region)
            text = " ".join(one.sentence for one in told)
            assert 60 <= len(text.split()) <= 90, text
            assert read(text) == [(one.sentence, one.claim) for one in told]
            true = truths(sight.scene, sight.order[region - 1])
            assert all(one.true and one.claim in true[one.claim.topic] for one in told)


def test_images_are_described_without_motion(scenes: Scenes) -> None:
    honest = TruthfulModels(scenes)
    for index in range(50):
        sight = scenes.find(f"image/test/{index:05d}.jpg")
        told = honest.told(f"image-test-{index:05d}-colour", 1)
        assert {one.claim.topic for one in told} <= {"look", "start", "neighbour", "company"}
        true = truths(sight.scene, sight.order[0])
        assert len(told) > 2 and all(one.claim in true[one.claim.topic] for one in told)


def test_lies_are_false_and_as_many_as_asked_for(scenes: Scenes) -> None:
    """A wrong colour, motion or place, or a neighbour that is nowhere in the scene; about 0.2 of 1,500 or more."""
    liar = TruthfulModels(scenes, lies=0.2)
    told = []
    for index in range(100):
        sight = scenes.find(f"video-test-{index:05d}")
        for region, number in enumerate(sight.order, start=1):
            figure = sight.scene.figures[number]
            for one in liar.told(sight.key.name, region):
                told.append(one)
                assert one.true == (one.claim in truths(sight.scene, number)[one.claim.topic])
                if one.claim.topic == "look" and not one.true:
                    texture, colour, shape = one.claim.words.split()
                    assert (texture, shape) == (figure.texture, figure.shape) and colour != figure.colour
                if one.claim.topic == "neighbour" and not one.true:
                    assert " ".join(one.claim.words.split()[:2]) not in {each.name for each in sight.scene.figures}
    assert len(told) > 1500
    # four standard deviations of a share of 0.2 among 1,500
    assert abs(sum(not one.true for one in told) / len(told) - 0.2) < 0.042


def test_every_claim_has_its_own_sentence_and_question() -> None:
    every = list(every_claim())
    assert len(every) == len(set(every)) == 36 + 9 + 5 + 9 + 36 + 72 + 3
    assert all(asked(claim.question) == (claim,) for claim in every)
    assert all(read(claim.sentence(wording))[0][1] == claim for claim in every for wording in range(2))
    assert asked("Is it a dog?") == () and read("It barks.") == [("It barks.", None)]


def test_the_judge_knows_what_a_quotation_a_summary_and_a_turn_claim() -> None:
    """Questions in other words and about what was made of a description: an index says which region, not what."""
    said = {claim.topic: claim for claim in every_claim()}
    for claim in said.values():
        assert asked(f'Do the frames agree that this can be said of it: "{claim.sentence(1).rstrip(".")}"?') == (claim,)
    made = talk(3, " ".join(claim.sentence(0) for claim in said.values()))
    summed_up = asked(f'Is it true to say of it: "{made["summary"]}"?')
    assert summed_up == (said["look"], said["motion"], said["start"])
    turns = [
        asked(f'Asked "{turn["question"]}", is it true to say: "{turn["answer"]}"?') for turn in made["conversation"]
    ]
    assert turns == [(claim,) for claim in said.values()]


def test_describe_names_every_region_or_says_that_it_cannot_see_it(shapes: Path, scenes: Scenes) -> None:
    prompt = describe_prompt(scenes)
    with RehearsalServer(models(shapes)) as server:
        said = json.loads(text_of(say(server, "describe", prompt, images=4)))
    sight = scenes.find(VIDEO)
    assert list(said) == [str(place) for place in range(1, len(sight.order) + 1)]
    for words, number in zip(said.values(), sight.order, strict=True):
        assert sight.scene.figures[number].name in words
    with RehearsalServer(models(shapes, unseen=1.0)) as server:
        assert set(json.loads(text_of(say(server, "describe", prompt, images=4))).values()) == {None}


def test_the_chain_of_roles_removes_what_is_false(shapes: Path, scenes: Scenes) -> None:
    """Describe, split, judge and rewrite by hand: exactly the false sentences are gone; then summary and turns."""
    liar = models(shapes, lies=0.4, seed=2)
    noun = region_lines(scenes.find(VIDEO))[0]
    head = f"Video: {VIDEO}\nRegion: {noun}\n"
    with RehearsalServer(liar) as server:
        told = json.loads(text_of(say(server, "describe", describe_prompt(scenes), images=4)))["1"]
        parts = json.loads(text_of(say(server, "split", f"{head}Description: {told}")))
        lines = "\n".join(f"{place}. {part['question']}" for place, part in enumerate(parts, start=1))
        said = json.loads(text_of(say(server, "judge", f"{head}{box_line(scenes, 1)}\n{lines}", images=4)))
        denied = [
            part["claim"] for part, verdict in zip(parts, said.values(), strict=True) if "definitely no" in verdict
        ]
        others = [part["claim"] for part in parts if part["claim"] not in denied]
        cut = Description(told).without(denied, others)
        left = text_of(say(server, "rewrite", f"{head}Description: {cut.text}"))
        made = json.loads(text_of(say(server, "instruct", f"Video: {VIDEO}\n{noun}\nDescription: {left}")))["1"]
    truth = liar.told(VIDEO, 1)
    assert all(part["claim"] in told for part in parts)
    assert 0 < len(denied) < len(truth)
    assert left == " ".join(one.sentence for one in truth if one.true)
    assert len(made["summary"].split()) <= 20
    assert len(made["conversation"]) == len(truth) - len(denied)
    assert all("[1]" in turn["question"] and "[" not in turn["answer"] for turn in made["conversation"])


def test_the_judge_looks_at_the_box_not_at_the_number(scenes: Scenes) -> None:
    """Twins share their noun: the box decides about which one is asked."""
    sights = (scenes.find(f"video-test-{index:05d}") for index in range(40))
    sight, one = next((sight, number) for sight in sights for number in sight.order if sight.scene.twins(number))
    (other,) = sight.scene.twins(one)
    noun = sight.scene.figures[one].name
    for number in (one, other):
        (x, y), radius = sight.scene.figures[number].start, sight.scene.figures[number].radius
        assert sight.number_at((x - radius, y - radius, x + radius, y + radius), noun) == number
    with pytest.raises(DataError, match="there is no green cube"):
        sight.number_at((0, 0, 8, 8), "green cube")


def test_the_judge_errs_at_its_rate(scenes: Scenes) -> None:
    """With every verdict wrong, what is true is denied and what is false is not."""
    wrong = TruthfulModels(scenes, lies=0.5, judge_errors=1.0)
    noun = region_lines(scenes.find(VIDEO))[0]
    told = wrong.told(VIDEO, 1)
    lines = "\n".join(f"{place}. {one.claim.question}" for place, one in enumerate(told, start=1))
    prompt = f"Video: {VIDEO}\nRegion: {noun}\n{box_line(scenes, 1)}\n{lines}"
    verdicts = json.loads(wrong.answer("rehearsal-judge", Prompt(prompt, SHOWN))).values()
    assert [verdict == "definitely no" for verdict in verdicts] == [one.true for one in told]
    unknown = TruthfulModels(scenes).answer("rehearsal-judge", Prompt(f"{prompt}\n9. Does it bark?", SHOWN))
    assert json.loads(unknown)["9"] == "unsure"


def test_questions_of_a_part_of_the_set_number_the_regions_as_they_come(shapes: Path) -> None:
    """The first groups alone: the regions are the figures they ask about, in that order."""
    for index in range(SCENES_LOOKED_AT):
        whole = Scenes(shapes).find(f"video-test-{index:05d}")
        part = Scenes(shapes, ["refer"]).find(f"video-test-{index:05d}")
        assert set(part.order) == set(range(len(part.scene.figures))) == set(whole.order)
        alone = Scenes(shapes, ["moves"]).find(f"video-test-{index:05d}")
        assert alone.order == whole.order[:1]


# --- faults -------------------------------------------------------------------------------------------------------


def said_under(fault: Fault, shapes: Path) -> str:
    with RehearsalServer(models(shapes), FirstTries(fault), retry_after=0.01) as server:
        return text_of(say(server, "describe", describe_prompt(Scenes(shapes)), images=1))


def test_answers_in_other_forms_say_the_same(shapes: Path, scenes: Scenes) -> None:
    right = json.loads(models(shapes).answer("rehearsal-describe", Prompt(describe_prompt(scenes), SHOWN)))
    assert ast.literal_eval(said_under("python", shapes)) == right
    fenced = said_under("wrapped", shapes)
    assert json.loads(fenced[fenced.index("{") : fenced.rindex("}") + 1]) == right
    lines = [line.split(": ", 1) for line in said_under("lines", shapes).splitlines()]
    assert {name.strip("[]"): words for name, words in lines} == right
    assert said_under("refusal", shapes) == REFUSAL and said_under("empty", shapes) == ""
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(said_under("malformed", shapes))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("unavailable", openai.InternalServerError),
        ("timeout", openai.APITimeoutError),
        ("reset", openai.APIConnectionError),
        ("truncated", openai.APIConnectionError),
    ],
)
def test_failures_reach_the_client_as_they_would_from_a_hosted_model(
    fault: Fault, error: type[openai.APIError], shapes: Path, scenes: Scenes
) -> None:
    """And the second try is answered; the server's account has both."""
    with RehearsalServer(models(shapes), FirstTries(fault), retry_after=2) as server:
        start = time.monotonic()
        with pytest.raises(error) as failed:
            say(server, "describe", describe_prompt(scenes), images=1, timeout=0.3)
        assert time.monotonic() - start < 5
        assert text_of(say(server, "describe", describe_prompt(scenes), images=1))
    if isinstance(failed.value, openai.RateLimitError):
        assert failed.value.response.headers["retry-after"] == "2"
    assert sorted((exchange.fault or "", exchange.sent) for exchange in server.exchanges) == [
        ("", True),
        (fault, False),
    ]
    assert server.exchanges.repeated() == 0


def test_the_client_itself_gets_over_a_rate_limit(shapes: Path, scenes: Scenes) -> None:
    with RehearsalServer(models(shapes), FirstTries("rate_limit", tries=2), retry_after=0.01) as server:
        assert text_of(say(server, "describe", describe_prompt(scenes), images=1, max_retries=2))
    assert [exchange.status for exchange in server.exchanges] == [429, 429, 200]


def test_random_faults_depend_on_subject_and_try_alone() -> None:
    rates: dict[Fault, float] = dict.fromkeys(FAULTS, 0.5 / len(FAULTS))
    one, other = (RandomFaults(rates, seed=3) for _ in range(2))
    names = [f"Video: {number}" for number in range(600)]
    first = {name: one.draw("m", name) for name in names}
    assert first == {name: other.draw("m", name) for name in reversed(names)}
    # four standard deviations of a half among 600
    assert abs(sum(fault is not None for fault in first.values()) / len(names) - 0.5) < 0.082
    assert {fault for fault in first.values() if fault} == set(FAULTS)
    for name in names:
        one.draw("m", name)
    assert all(one.draw("m", name) is None for name in names), "two faults in a row, then an answer"
    with pytest.raises(DataError, match="no fault 'fire'"):
        RandomFaults({"fire": 0.1})  # type: ignore[dict-item]  # that is the point
    with pytest.raises(DataError, match="at most 1"):
        RandomFaults({"empty": 0.7, "reset": 0.7})


def test_the_account_counts_what_is_asked_again_after_an_answer(shapes: Path, scenes: Scenes) -> None:
    with RehearsalServer(models(shapes)) as server:
        for _ in range(3):
            say(server, "describe", describe_prompt(scenes), images=1)
    assert server.exchanges.repeated() == 2 and server.exchanges.most_at_once == 1


def test_the_command_serves(shapes: Path) -> None:
    """As a process of its own, until it is stopped."""
    command = [sys.executable, "-m", "experiments.rehearsal", "--port=0", f"--shapes={shapes}", "--lies=0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(": ")[0]
        with openai.OpenAI(base_url=address, api_key="any", max_retries=0) as api:
            assert len(list(api.models.list())) == 5
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "0 requests\n"
    assert process.returncode == 0
