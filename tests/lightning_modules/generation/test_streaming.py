"""Answers while they are generated: nothing that was said is taken back, and the pieces are the answer."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

import pytest
import torch

from datamodules.batching.collate import Collate
from datamodules.errors import DataError
from datamodules.prompting.conversation import placeholders
from datamodules.types import RegionSample, Turn
from helpers import renderer, sample, tiny_module
from lightning_modules.asking import answer_all, ask
from lightning_modules.generation.decoding import generate
from lightning_modules.generation.mentions import GeneratedMentions
from lightning_modules.generation.streaming import FollowAnswers, Hear, StreamedAnswer, streamed
from lightning_modules.region_module import RegionModule
from small_tokenizers import EVERY_KIND, small_tokenizer

RENDERERS = {kind: renderer(small_tokenizer(kind)) for kind in EVERY_KIND}
REGIONS = 12
TEXTS = ["it is <region0>, [12] [ 1 ] ", " don't\n\n[1", "\U0001f98a中文 \ufffd[11", "]] [1 1] <region11>[", ""]


def heard(kind: str, generated: Sequence[int], most: int) -> tuple[StreamedAnswer, list[str]]:
    """What is said of these tokens, one after the other."""
    renders = RENDERERS[kind]
    pieces: list[str] = []
    answer = StreamedAnswer(most, pieces.append)
    follow = FollowAnswers([answer], GeneratedMentions(renders, [placeholders(REGIONS)]), 0, [REGIONS])
    for end in range(1, len(generated) + 1):
        if follow(torch.tensor([generated[:end]]), None).all():
            break
    return answer, pieces


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_pieces_are_the_answer(kind: str) -> None:
    """Half a character, a last blank and half an index were said, and then were something else."""
    renders = RENDERERS[kind]
    for text in TEXTS:
        ids = renders.answer(text, placeholders(REGIONS)).ids
        for cut in (len(ids), len(ids) - 1 or 1, len(ids) // 2 or 1, 1):
            answer, pieces = heard(kind, ids, cut)
            said = GeneratedMentions(renders, [placeholders(REGIONS)]).said(0, ids[:cut])
            assert "".join(pieces) == answer.text == renders.as_mentions(renders.decode(said).strip(), REGIONS)
            assert answer.finish == ("stop" if len(ids) <= cut else "length")
            assert all(pieces)


def test_a_word_is_said_before_the_next_is_there() -> None:
    _, pieces = heard("characters", RENDERERS["characters"].answer("it [0] is [99]", placeholders(REGIONS)).ids, 99)
    assert pieces == ["i", "t", " ", "<region0>", " i", "s", " ", "[99]"]


def test_an_id_of_no_token_says_nothing() -> None:
    """A vocabulary that is padded to a round number has such ids, and a model may choose one: it was a TypeError."""
    ids = RENDERERS["characters"].answer("it", ()).ids
    answer, pieces = heard("characters", [ids[0], 9999, *ids[1:]], 99)
    assert "".join(pieces) == answer.text == "it"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("module"), max_new_tokens=6).eval()


def test_rows_of_a_batch_are_heard_apart_and_end_apart(module: RegionModule) -> None:
    """Each has a most of its own; one that nobody wants ends at once, and the others go on."""
    process = module.processor(4)
    asked = [process(sample(name, question=f"{name} <region>")) for name in ("a", "bb", "ccc")]
    pieces: list[list[str]] = [[], [], []]
    ended: list[str] = []
    answers = [
        StreamedAnswer(most, into.append, partial(ended.append, one.sample.id))
        for most, into, one in zip((6, 3, 6), pieces, asked, strict=True)
    ]
    answers[2].stop()
    answer_all(module, asked, answers)
    for one, answer, said in zip(asked, answers, pieces, strict=True):
        alone = StreamedAnswer(answer.max_new_tokens)
        answer_all(module, [one], [alone])
        assert "".join(said) == answer.text
        if answer is not answers[2]:
            assert (answer.text, answer.finish, answer.ids) == (alone.text, alone.finish, alone.ids)
    assert [len(answer.ids) for answer in answers] == [6, 3, 1]
    assert ended == ["ccc", "bb", "a"]
    assert [answer.finish for answer in answers] == ["length", "length", "unwanted"]


def test_ask_says_what_it_answers(module: RegionModule) -> None:
    one = sample()
    given = (module, one.media, one.regions)
    wanted = ask(*given, ["what is <region>", "why"]).conversation
    pieces: list[str] = []
    heard = ask(*given, "why", earlier=wanted[:1], hear=pieces.append).conversation
    assert heard == wanted
    assert "".join(pieces) == wanted[1].answer


def read(stream: Generator[str, None, RegionSample]) -> tuple[str, RegionSample]:
    """All that is yielded, and what is returned."""
    text = ""
    while True:
        try:
            text += next(stream)
        except StopIteration as end:
            return text, end.value


def test_a_stream_is_the_answer_and_ends_where_its_reader_leaves(module: RegionModule) -> None:
    """A page that is closed left its answer running to its end."""
    one, heard = sample(), 0

    def call(hear: Hear) -> RegionSample:
        def tell(piece: str) -> None:
            nonlocal heard
            heard += 1
            hear(piece)

        return ask(module, one.media, one.regions, "what is <region>", hear=tell)

    text, asked = read(streamed(call))
    assert asked.conversation == (Turn("what is <region>", text),)
    whole, heard = heard, 0
    stream = streamed(call)
    next(stream)
    stream.close()
    assert heard < whole


def test_an_error_behind_a_stream_is_raised_at_its_end() -> None:
    def call(hear: Hear) -> None:
        hear("so far")
        raise DataError("no further")

    stream = streamed(call)
    assert next(stream) == "so far"
    with pytest.raises(DataError, match="no further"):
        next(stream)


def test_nothing_changes_where_nobody_listens(module: RegionModule) -> None:
    asked = [module.processor(4)(sample())]
    answer = StreamedAnswer(6)
    answer_all(module, asked, [answer])
    (text,) = generate(module.backbone, module.renderer, Collate(module.vision)(asked), 6)
    assert module.renderer.as_mentions(text.strip(), 1) == answer.text
