"""No turn teaches silence, and none the wrong option: what training, evaluation and the doctor say of every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_causal_vidqa import write_causal_vidqa
from test_refcocog import write_refcocog
from test_vcr import write_vcr

from datamodules.batching.dataset import RegionDataset
from datamodules.batching.sampling import Draw
from datamodules.checkup import Checkup
from datamodules.errors import DataError
from datamodules.formats import (
    CausalVidQa,
    LlavaInstruct,
    OspreyConversations,
    OspreyQuestions,
    RefCocog,
    RegionJsonl,
    Vcr,
    VideoReferInstruct,
)
from datamodules.source import RegionSource
from datamodules.types import RegionSample, Turn
from helpers import Listed, sample, tiny_module

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))


def read(source: RegionSource, record: int = 0, *, training: bool = True) -> RegionSample:
    """As the loader's workers get it."""
    dataset = RegionDataset({"some": source}, None)  # type: ignore[arg-type]  # nothing is processed
    return dataset.sample(Draw(0, record, 7 if training else -1))


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def written(folder: Path, *records: Any, lines: bool = False) -> Path:
    path = folder / "records.json"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records) if lines else json.dumps(records))
    return path


# --- what the published formats leave empty -----------------------------------------------------------------------


def _region_jsonl(folder: Path) -> tuple[RegionSource, int]:
    turns = [{"question": "what is <region>", "answer": "a cat"}, {"question": "why", "answer": " \n"}]
    record = {"id": "x", "image": "a.jpg", "regions": [{"box": [0, 0, 1, 1]}], "conversation": turns}
    return RegionJsonl(written(folder, record, lines=True)), 1


def _unlabelled(folder: Path) -> tuple[RegionSource, int]:
    turns = [{"question": "what is <region>", "answer": ""}]
    regions, references = [{"box": [0, 0, 1, 1]}], [["a cat", "a pet"]]
    record = {"id": "x", "image": "a.jpg", "regions": regions, "conversation": turns, "references": references}
    return RegionJsonl(written(folder, record, lines=True)), 0


def _llava(folder: Path) -> tuple[RegionSource, int]:
    record = {"id": "x", "image": "a.jpg", "conversations": said("<image>\nwhat", "<image>", "and", "a bus")}
    return LlavaInstruct(written(folder, record), folder), 0


def _osprey(folder: Path) -> tuple[RegionSource, int]:
    record = {"file_name": "a.jpg", "height": 9, "width": 9, "annotation": []}
    return OspreyConversations(written(folder, record | {"conversations": said("what", "a", "why", "  ")}), folder), 1


def _osprey_questions(folder: Path) -> tuple[RegionSource, int]:
    annotation = {"bbox": [1, 1, 2, 2], "segmentation": []}
    record = {"question_id": 5, "image": "a.jpg", "text": "what is <region>", "annotation": annotation}
    return OspreyQuestions(written(folder, record), folder), 0


def _videorefer(folder: Path) -> tuple[RegionSource, int]:
    record = {"id": "x", "image": "a.jpg", "conversations": said("<image>\nwhat", "a", "why", "<image>")}
    return VideoReferInstruct(written(folder, record), folder), 1


def _vcr(folder: Path) -> tuple[RegionSource, int]:
    write_vcr(folder, scenes=1)
    return Vcr(folder, "test"), 0


def _causal_vidqa(folder: Path) -> tuple[RegionSource, int]:
    write_causal_vidqa(folder)
    return CausalVidQa(folder, "test"), 0


def _refcocog(folder: Path) -> tuple[RegionSource, int]:
    """No proposal touches the object that is meant."""
    write_refcocog(folder)
    boxes = {str(image): [[0, 0, 1, 1]] for image in range(380440, 380450)}
    (folder / "proposals.json").write_text(json.dumps(boxes))
    return RefCocog(folder, "val", task="refer", proposals=folder / "proposals.json"), 0


SILENT = [
    _region_jsonl,
    _unlabelled,
    _llava,
    _osprey,
    _osprey_questions,
    _videorefer,
    _vcr,
    _causal_vidqa,
    _refcocog,
]


@pytest.mark.parametrize("write", SILENT, ids=lambda write: write.__name__.strip("_"))
def test_a_turn_without_an_answer_is_asked_but_not_learnt(
    tmp_path: Path, write: Callable[[Path], tuple[RegionSource, int]]
) -> None:
    """Regression: the end of sequence alone was supervised, so that a model learnt to say nothing."""
    source, turn = write(tmp_path)
    found = source[0]
    with pytest.raises(DataError) as refused:
        read(source)
    assert str(refused.value).startswith(f"{found.origin}: sample 'some/{found.id}': conversation[{turn}].answer: ")
    assert "nothing to learn from" in str(refused.value)
    assert read(source, training=False).conversation == found.conversation
    # the doctor says the same of a training source, by the source's own names
    looked = Checkup(1, 28, 2, media=False, training=True)(source, 0)
    assert looked.problem == str(refused.value).replace("some/", "")
    assert Checkup(1, 28, 2, media=False)(source, 0).problem is None


def test_references_that_are_known_are_counted_in_the_message(tmp_path: Path) -> None:
    source, _ = _unlabelled(tmp_path)
    with pytest.raises(DataError, match=r"nothing to learn from '', with 2 references$"):
        read(source)


# --- options ------------------------------------------------------------------------------------------------------


def choice(answer: str, label: int | None = 1, **fields: Any) -> RegionSample:
    return sample(answer=answer, options=("a cat", "a dog"), label=label, **{"task": "choice", **fields})


@pytest.mark.parametrize("answer", ["", " \n", "a dog", " a dog"])
@pytest.mark.parametrize("training", [True, False])
def test_an_answer_is_filled_in_from_the_label(answer: str, training: bool) -> None:
    """Regression: an empty one taught silence, though the right option was known."""
    assert read(Listed(choice(answer)), training=training).conversation == (Turn("what is <region>", "a dog"),)


@pytest.mark.parametrize("training", [True, False])
def test_an_answer_that_is_another_option_is_refused(training: bool) -> None:
    """Regression: `label: 1` with the text of option 0 taught option 0, and was scored by option 1."""
    source = Listed(replace(choice("a cat"), origin="a.json:3"))
    message = r"^a\.json:3: sample 'some/a': conversation\[0\]\.answer: 'a cat', but label 1 is 'a dog'$"
    with pytest.raises(DataError, match=message):
        read(source, training=training)
    looked = Checkup(1, 28, 2, media=False)(source, 0)
    assert looked.problem == "a.json:3: sample 'a': conversation[0].answer: 'a cat', but label 1 is 'a dog'"


def test_by_letter_the_answer_is_the_letter() -> None:
    assert read(Listed(choice("", answering="letter"))).conversation[-1].answer == "B"
    assert read(Listed(choice("B", answering="letter"))).conversation[-1].answer == "B"
    with pytest.raises(DataError, match="answer: 'A', but label 1 is 'B'"):
        read(Listed(choice("A", answering="letter")))
    with pytest.raises(DataError, match="answer: 'a dog', but label 1 is 'B'"):
        read(Listed(choice("a dog", answering="letter")))


def test_a_region_is_the_same_by_any_of_its_names() -> None:
    regions = ("<region0>", "<region1>")
    for answer in ("", "<region1>", "<region01>"):
        two = sample(boxes=BOXES, question="which", answer=answer, options=regions, label=1, task="refer")
        assert read(Listed(two)).conversation[-1].answer == "<region1>"
    one = sample(answer="<region>", options=("<region0>",), label=0, task="refer")
    assert read(Listed(one)).conversation[-1].answer == "<region0>"
    with pytest.raises(DataError, match="answer: '<region0>', but label 1 is '<region1>'"):
        read(Listed(sample(boxes=BOXES, question="?", answer="<region0>", options=regions, label=1, task="refer")))


def test_only_the_last_turn_chooses() -> None:
    turns = (Turn("what is <region>", "a pet"), Turn("which"))
    several = replace(choice(""), conversation=turns)
    assert read(Listed(several)).conversation == (turns[0], Turn("which", "a dog"))
    with pytest.raises(DataError, match=r"conversation\[0\]\.answer: nothing to learn"):
        read(Listed(replace(several, conversation=(Turn("what is <region>"), Turn("which")))))


def test_references_have_the_right_option_among_them() -> None:
    known = replace(choice(""), conversation=(Turn("what is <region>", "", ("a hound", "a dog")),))
    assert read(Listed(known)).conversation[-1] == Turn("what is <region>", "a dog", ("a hound", "a dog"))
    wrong = replace(known, conversation=(Turn("what is <region>", "", ("a hound",)),))
    with pytest.raises(DataError, match=r"references\[0\]: \['a hound'\], but label 1 is 'a dog'"):
        read(Listed(wrong))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_option_is_refused_whatever_the_source(label: int) -> None:
    """Regression: -1 would be the last option where a source checks nothing itself."""
    with pytest.raises(DataError, match=f"label: {label} of 2 options, counted from 0"):
        read(Listed(choice("", label)))


def test_a_choice_without_label_is_asked_but_not_learnt() -> None:
    assert read(Listed(choice("", None)), training=False).conversation[-1].answer == ""
    with pytest.raises(DataError, match="nothing to learn from ''"):
        read(Listed(choice("", None)))


def test_region_jsonl_may_leave_the_answer_of_a_choice_out(tmp_path: Path) -> None:
    turns = [{"question": "what is <region>", "answer": "a pet"}, {"question": "which"}]
    record = {"id": "x", "image": "a.jpg", "regions": [{"box": [0, 0, 1, 1]}], "conversation": turns}
    source = RegionJsonl(written(tmp_path, record | {"options": ["a cat", "a dog"], "label": 1}, lines=True))
    assert [turn.answer for turn in read(source).conversation] == ["a pet", "a dog"]
    turns[1]["answer"] = "a cat"
    wrong = RegionJsonl(written(tmp_path, record | {"options": ["a cat", "a dog"], "label": 1}, lines=True))
    with pytest.raises(
        DataError, match=r"records\.json:1: sample 'x': conversation\[1\]\.answer: 'a cat', but label 1"
    ):
        wrong[0]


# --- what the model is asked to learn -----------------------------------------------------------------------------


def test_an_unknown_answer_is_not_supervised_in_evaluation(tmp_path: Path) -> None:
    """Regression: losses on right answers had the end of sequence of turns in them that have none."""
    process = tiny_module(tmp_path).processor(1)
    asked = sample(answer="")
    rendered = process(asked).rendered
    assert not any(rendered.loss)
    assert rendered.ids[-1] == 2  # the end of sequence stands there all the same
    first = replace(asked, conversation=(Turn("what is <region>", " "), Turn("why", "so")))
    rendered = process(first).rendered
    assert [token for token, loss in zip(rendered.ids, rendered.loss, strict=True) if loss] == rendered.ids[-4:]
    answered = process(replace(first, conversation=(Turn("what is <region>", "a"), Turn("why", "so")))).rendered
    assert sum(answered.loss) == 4 + 3
