"""Every judge protocol against a server: what it is shown, what its verdicts come to, and what happens without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from test_dlc_bench_data import write_dlc_bench
from test_ferret_bench import write_ferret_bench
from test_gar_bench import write_gar_bench
from test_mdvp_bench import write_mdvp_bench
from test_vip_bench import write_vip_bench

from chat_models import FAST, Fake, unwatched
from datamodules.errors import DataError
from datamodules.formats import DlcBench, FerretBench, GarBenchCaption, MdvpBench, VipBench
from datamodules.regvid.budget import Limits
from datamodules.regvid.models import Received
from datamodules.regvid.parsing import UnreadableError
from datamodules.regvid.patience import Patience
from datamodules.source import RegionSource
from datamodules.types import Box, Frames, Pixels, Region, RegionSample, Turn
from judges import JUDGE, answers, dlc_says, dlc_script, judge_at, served, within
from metrics.judging import verdicts
from metrics.judging.judge import Judge, Result, captions
from metrics.judging.options import Options
from metrics.judging.pictures import numbered_regions, picture_and_regions, regions_and_masks
from metrics.judging.protocols import PROTOCOLS, ProtocolName
from metrics.judging.wording import BUILT_IN, Wording
from metrics.predictions import Prediction


@dataclass(frozen=True)
class Case:
    """A benchmark on the squares: its sources, what is answered, what the judge says, the numbers worked by hand."""

    write: Callable[[Path], object]
    sources: Callable[[Path], dict[str, RegionSource]]
    says: Callable[[RegionSample], str]
    script: Callable[[str], str]
    numbers: dict[str, float]
    pictures: int = 0


def number_of(sample: RegionSample) -> int:
    return int("".join(filter(str.isdigit, sample.id.rpartition("/")[2].rpartition("_")[2])))


def graded(text: str) -> str:
    return "8 6\nThe first one is longer." if "good" in within("second", text) else "10, 4"


CASES: dict[ProtocolName, Case] = {
    "dlc_text": Case(
        write_dlc_bench,
        lambda root: {"dlc": DlcBench(root)},
        dlc_says,
        dlc_script,
        {"positive": 3 / 9, "negative": 6 / 9, "average": 0.5},
    ),
    "gar_simple": Case(
        write_gar_bench,
        lambda root: {"gar": GarBenchCaption(root / "GAR-Bench-Caption-Simple.json")},
        lambda sample: "a house" if sample.id == "gar/1" else sample.conversation[0].answer,
        lambda text: str(within("reference", text) == within("answer", text)) + ".",
        {"accuracy": 2 / 3, "gar/accuracy": 2 / 3},
        pictures=5,
    ),
    "gar_detailed": Case(
        write_gar_bench,
        lambda root: {"gar": GarBenchCaption(root / "GAR-Bench-Caption-Detailed.json", kind="detailed")},
        lambda sample: f"{sample.meta['subject_name']} beside it" if sample.id == "gar/2" else "It is alone.",
        lambda text: "true" if "related to the second: beside" in text and "beside it" in text else "False",
        {"accuracy": 1 / 3, "gar/accuracy": 1 / 3},
        pictures=5,
    ),
    "ferret": Case(
        write_ferret_bench,
        lambda root: {name: FerretBench(root / name, root / "val2017") for name in ("refer_caption", "refer_reason")},
        lambda sample: "good" if sample.group == "refer_desc" and number_of(sample) else "bad",
        graded,
        {"relative": 28 / 56, "refer_desc/relative": 16 / 26, "refer_reason/relative": 12 / 30},
    ),
    "mdvp": Case(
        write_mdvp_bench,
        lambda root: {
            "mdvp": MdvpBench(root / "mdvp_for_gpt4v_eval" / "natural_QA_box", root / "MDVP-bench" / "natural_QA")
        },
        lambda sample: "good" if number_of(sample) > 1 else "bad",
        graded,
        {"relative": 16 / 26, "natural_QA_box/relative": 16 / 26},
        pictures=1,
    ),
    "vip": Case(
        write_vip_bench,
        lambda root: {"vip": VipBench(root)},
        lambda sample: "no" if number_of(sample) % 2 else sample.conversation[0].answer.partition("<OR>")[0],
        lambda text: "0.5" if " <AND> " in within("reference", text) else "1.0",
        {"correctness": 0.75, "rec/correctness": 0.75, "rel/correctness": 0.5},
    ),
}
CASES["dlc_images"] = replace(CASES["dlc_text"], pictures=2)


def judged(judge: Judge) -> Result:
    return judge.carry_out(unwatched)


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_a_protocol(tmp_path: Path, name: ProtocolName) -> None:
    """Through the chat client over HTTP; a second run asks nothing."""
    case = CASES[name]
    case.write(tmp_path)
    sources = case.sources(tmp_path)
    predictions = answers(sources, case.says)
    with served(case.script) as (model, address):
        options = Options(name, judge_at(address), tmp_path / "predictions.jsonl", patience=FAST)
        judge = Judge(options, predictions, sources)
        found = judge.scores(judged(judge))
        asked = len(model.asked)
        again = Judge(options, predictions[::-1], sources)
        assert again.scores(judged(again)) == found
    assert {key: score.value for key, score in found.items()} == pytest.approx(case.numbers)
    assert asked == len(model.asked) == judge.plan().calls
    assert {len(prompt.sizes) for prompt in model.asked} == {case.pictures}
    for score in found.values():
        assert f", {name}: judge {JUDGE} {judge.protocol.sees}, temperature 0, wording " in score.protocol
        assert predictions[0].protocol in score.protocol


def test_every_protocol_is_here() -> None:
    assert {*CASES, "videorefer_d"} == set(PROTOCOLS) == set(get_args(ProtocolName))


def described(number: int, text: str) -> Prediction:
    return Prediction(f"d/{number}", "caption", "d", "", text, ("a red square that falls",), protocol="Bench-D")


def test_four_dimensions_and_their_mean(tmp_path: Path) -> None:
    def script(text: str) -> str:
        most = 5 if "red" in within("description", text) else 2.5
        return (
            f"1. Subject Correspondence: {most}\n2. **Appearance Description:** {most}/5\n"
            "3. temporal description: 1\n4. Hallucination Detection: 0"
        )

    predictions = [described(0, "a red one"), described(1, "a blue one")]
    with served(script) as (_, address):
        judge = Judge(Options("videorefer_d", judge_at(address), tmp_path / "p"), predictions)
        found = judge.scores(judged(judge))
    numbers = {
        "subject_correspondence": 3.75,
        "appearance_description": 3.75,
        "temporal_description": 1.0,
        "hallucination_detection": 0.0,
        "average": 2.125,
    }
    assert {name: score.value for name, score in found.items() if "/" not in name} == numbers
    assert {score.n for score in found.values()} == {2}


def test_what_cannot_be_read_is_asked_for_again_and_then_an_error(tmp_path: Path) -> None:
    """An answer that says nothing counted as none of the choices, and so as 0, without a word."""
    write_dlc_bench(tmp_path)
    predictions = answers({"dlc": DlcBench(tmp_path)}, dlc_says)
    said = {"of it": 0}

    def script(text: str) -> str:
        if "square" in within("description", text) and "wheels" in text:
            said["of it"] += 1
            return "I would rather not say."
        return dlc_script(text)

    with served(script) as (model, address):
        patience = Patience(attempts=2, first_wait=0.0)
        judge = Judge(Options("dlc_text", judge_at(address), tmp_path / "p", patience=patience), predictions)
        result = judged(judge)
    assert (said["of it"], len(model.asked)) == (12, 27 + 6)
    assert (len(result.judgements), len(result.unreadable)) == (3, 6)
    with pytest.raises(DataError) as error:
        judge.scores(result)
    told = f"judge {JUDGE}: 6 of 27 answers cannot be read, the first: sample 'dlc/43', question 2: it is none of the "
    assert str(error.value).startswith(told)


def test_a_spent_budget_waits_and_goes_on(tmp_path: Path) -> None:
    write_dlc_bench(tmp_path)
    predictions = answers({"dlc": DlcBench(tmp_path)}, dlc_says)
    with served(dlc_script) as (model, address):
        options = Options("dlc_text", judge_at(address, max_tokens=50), tmp_path / "p")
        result = judged(Judge(replace(options, budget=Limits(1300)), predictions))
        assert 0 < len(model.asked) == 27 - result.waiting < 27
        assert result.reason == "the next call could exceed judge.budget.tokens, 1300: raise it to go on"
        judge = Judge(options, predictions)
        assert judge.scores(judged(judge))["average"].value == 0.5
    assert len(model.asked) == 27


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"meta": {}}, "sample 'dlc/50': meta has no 'class_name', which its metric needs; it has []"),
        (
            {"meta": {"class_name": "bus", "questions": [{"type": "positive", "choices": []}]}},
            "sample 'dlc/50': meta.questions[0].choices: 0, expected 1 to 26",
        ),
    ],
)
def test_what_a_question_needs_is_looked_for_before_the_first_call(change: dict[str, Any], message: str) -> None:
    prediction = Prediction("dlc/50", "judge", "", "", "", ("",), **change)
    with pytest.raises(DataError) as error:
        Judge(Options("dlc_text", judge_at("http://127.0.0.1:9/v1"), Path("p")), [prediction])
    assert str(error.value) == message


def test_pictures_need_the_samples_that_were_tested(tmp_path: Path) -> None:
    write_dlc_bench(tmp_path)
    predictions = answers({"dlc": DlcBench(tmp_path)}, dlc_says)
    options = Options("dlc_images", judge_at("http://127.0.0.1:9/v1"), tmp_path / "p")
    with pytest.raises(DataError, match=r"^judge.protocol dlc_images shows pictures: set data.test in the config"):
        Judge(options, predictions)
    with pytest.raises(DataError, match=r"^9 predictions, data.test has 9 samples: none is 'dlc/42'$"):
        Judge(options, predictions, {"other": DlcBench(tmp_path)})


def test_too_many_pictures_name_the_judges_options(tmp_path: Path) -> None:
    """They named `mark.frames` and `regvid.judge_frames`, which no judge has."""
    write_gar_bench(tmp_path)
    sources: dict[str, RegionSource] = {"gar": GarBenchCaption(tmp_path / "GAR-Bench-Caption-Simple.json")}
    predictions = answers(sources, lambda sample: "a house")
    model = judge_at("http://127.0.0.1:9/v1", most_images=4)
    with pytest.raises(DataError) as error:
        judged(Judge(Options("gar_simple", model, tmp_path / "p"), predictions, sources))
    told = "sample 'gar/0': judge.protocol gar_simple shows 5 pictures, judge.model.most_images is 4"
    assert str(error.value) == told
    body = json.dumps({"error": {"message": "At most 4 image(s) may be provided in one request."}}).encode()
    refusing = Fake("judge", lambda *_: Received(400, {}, body))
    with pytest.raises(DataError) as error:
        judged(Judge(Options("gar_simple", refusing, tmp_path / "q"), predictions, sources))
    told = "At most 4 image(s) may be provided in one request.: most_images of the model says it beforehand"
    assert str(error.value).endswith(told)


def test_predictions_of_one_annotation_are_an_error() -> None:
    two = [Prediction(name, "judge", "", "", "", ("",), meta={"annotation_id": 7}) for name in ("a/7", "b/7")]
    with pytest.raises(DataError, match=r"^sample 'b/7': another prediction is of '7' as well"):
        captions(two)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_region_is_cut_out_at_three_times_its_size() -> None:
    """The box (100, 60, 180, 80): 80 wide, and high as the least, 56, around its middle (140, 70)."""
    pixels = np.zeros((1, 200, 250, 3), np.uint8)
    pixels[0, 60:80, 100:180] = (255, 0, 0)
    pixels[0, :, :, 2] = np.arange(250, dtype=np.uint8)
    regions = (Region.at(Box((100, 60, 180, 80))), Region.at(Box((0, 0, 250, 200))))
    sample = RegionSample("a", Pixels(pixels), regions, (Turn("what is <region0>"),))
    cut, mask, whole, all_of_it = regions_and_masks(sample)
    # columns 100 - 80 to 180 + 80, which is beyond the picture; rows 42 - 56, which is above it, to 42 + 112
    assert cut.shape == mask.shape == (154, 230, 3)
    assert np.array_equal(cut, pixels[0, :154, 20:])
    assert np.array_equal(mask[:, :, 0] == 255, cut[:, :, 0] == 255)
    assert (mask[:, :, 0] == 255).sum() == 80 * 20
    assert whole.shape == (200, 250, 3) and (all_of_it == 255).all()
    assert np.array_equal(picture_and_regions(sample)[0], pixels[0])
    [numbered] = numbered_regions(sample)
    assert numbered.shape == pixels[0].shape and not np.array_equal(numbered, pixels[0])


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    sample = RegionSample("a", Frames((tmp_path / "no.png",)), (Region.at(Box((0, 0, 1, 1))),), (Turn("what"),))
    with pytest.raises(DataError, match=r"^sample 'a': .*no.png"):
        regions_and_masks(sample)


# --- verdicts ---------------------------------------------------------------------------------------------------------

SC, AD = "Subject Correspondence", "Appearance Description"


def two(answer: str) -> list[float]:
    return verdicts.named_numbers(answer, (SC, AD), 5)


def colour(answer: str) -> str:
    return verdicts.choice(answer, ("Red", "Blue"))


READ: list[tuple[Callable[[str], Any], str, Any]] = [
    (verdicts.truth, "True", True),
    (verdicts.truth, "**false**.", False),
    (verdicts.truth, "True or False", None),
    (verdicts.truth, "It is true", None),
    (verdicts.share, "0.3", 0.3),
    (verdicts.share, "1", 1.0),
    (verdicts.share, "1.0.", 1.0),
    (verdicts.share, "1.1", None),
    (verdicts.share, "-0.5", None),
    (verdicts.share, "0.5 or 0.6", None),
    (verdicts.pair, "8 7.5", [8.0, 7.5]),
    (verdicts.pair, "\n**8, 10**\nThe first is 9 in all.", [8.0, 10.0]),
    (verdicts.pair, "8 11", None),
    (verdicts.pair, "0 5", None),
    (verdicts.pair, "8", None),
    (verdicts.pair, "87", None),
    (verdicts.pair, "Both are fine\n8 7", None),
    (two, "1. subject correspondence: 4.5\n2. Appearance Description 0", [4.5, 0.0]),
    (two, f"{SC}: 4", None),
    (two, f"{SC}: 4\n{AD}: 6", None),
    (two, f"{SC}: 4\n{AD}: -1", None),
    (two, f"{SC}: 4 {AD}: 1 {SC}: 3", None),
    (two, f"{SC}: 4 {AD}: 1 {SC}: 4", [4.0, 1.0]),
    (colour, "b. blue", "b. blue"),
    (colour, "A", "A"),
    (colour, "b) it is of that colour", None),
    (colour, "Reddish", None),
    (colour, "green", None),
    (lambda said: verdicts.choice(said, ("Yes", "No")), "I cannot tell", None),
    (lambda said: verdicts.choice(said, ("Yes", "No")), "**No**", "**No**"),
]


@pytest.mark.parametrize(("read", "answer", "verdict"), READ)
def test_what_an_answer_says(read: Callable[[str], Any], answer: str, verdict: Any) -> None:
    """A sign or a second number was passed over, and `No` found in "cannot": answers read as what they did not say."""
    if verdict is None:
        with pytest.raises(UnreadableError):
            read(answer)
    else:
        assert read(answer) == verdict


# --- words ------------------------------------------------------------------------------------------------------------


def test_other_words_are_another_protocol(tmp_path: Path) -> None:
    text = (BUILT_IN / "vip.yaml").read_text()
    (tmp_path / "vip.yaml").write_text(text.replace("The question: $question", "Asked: $question"))
    texts = PROTOCOLS["vip"].texts
    own, built_in = Wording.read("vip", texts, tmp_path), Wording.read("vip", texts)
    assert own.fingerprint != built_in.fingerprint
    assert own.say("text", question="what?", reference="1", answer="2").startswith("Asked: what?")
    (tmp_path / "vip.yaml").write_text(text.replace("$answer", "$caption"))
    with pytest.raises(DataError, match=r"vip.yaml: text: must hold \$answer, \$question, \$reference, holds"):
        Wording.read("vip", texts, tmp_path)
    (tmp_path / "vip.yaml").write_text(text + "\nretry: again\n")
    with pytest.raises(DataError, match=r"vip.yaml: retry: no such text, there are system, text"):
        Wording.read("vip", texts, tmp_path)


def test_every_wording_is_there() -> None:
    for protocol in PROTOCOLS.values():
        assert Wording.read(protocol.wording, protocol.texts).system
    assert {path.stem for path in BUILT_IN.glob("*.yaml")} == {protocol.wording for protocol in PROTOCOLS.values()}
