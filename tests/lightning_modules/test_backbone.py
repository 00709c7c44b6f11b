"""The backbone against transformers' LLaVA on the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
)

from datamodules.errors import DataError
from datamodules.prompting.choices import lettered
from datamodules.types import NoPicture, RegionSample, Turn
from helpers import (
    ARCHITECTURE,
    WAYS,
    character_tokenizer,
    enough_marks,
    make_batch,
    pixels_of,
    sample,
    tiny_module,
    tokenizer_folder,
    unfilled,
    way_name,
)
from lightning_modules import BaseModel, RegionEncoder, VideoRegionModule
from lightning_modules.bases.loading import load_base, load_tokenizer
from lightning_modules.generation.decoding import generate
from lightning_modules.training.losses import pass_losses, step_counts

EVERY_WAY = pytest.mark.parametrize("way", WAYS, ids=way_name)


def plain_llava(module: VideoRegionModule, folder: Path) -> LlavaForConditionalGeneration:
    """The LLaVA part saved by us and loaded by transformers alone."""
    module.backbone.model.save_pretrained(folder)
    return LlavaForConditionalGeneration.from_pretrained(folder).eval()


@EVERY_WAY
def test_without_regions_logits_equal_those_of_llava(tmp_path: Path, way: RegionEncoder) -> None:
    """An image and a clip of three frames, which for LLaVA are four images; float32, to 1e-5."""
    module = tiny_module(tmp_path, region_encoder=way).eval()
    batch = make_batch(
        module, sample("a", boxes=(), question="what is it"), sample("bb", boxes=(), question="hm", frames=3)
    )
    llava = plain_llava(module, tmp_path / "llava")
    theirs = llava(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, pixel_values=pixels_of(module, batch)
    ).logits
    ours = module.backbone(batch).logits
    torch.testing.assert_close(ours, theirs.flatten(0, 1)[batch.supervised], atol=1e-5, rtol=0)


def test_without_regions_generation_is_identical(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, max_new_tokens=12).eval()
    llava = plain_llava(module, tmp_path / "llava")
    for question in ("what is it", "why", "how many cats are there"):
        batch = make_batch(module, sample(boxes=(), question=question, answer=""))
        ours = module.answer(batch).predictions[0].prediction
        prompt = batch.input_ids[:, : batch.prompt_lengths[0]]
        theirs = llava.generate(
            input_ids=prompt, pixel_values=pixels_of(module, batch), max_new_tokens=12, do_sample=False
        )
        text = module.renderer.decode(theirs[0, prompt.shape[1] :].tolist())
        assert ours == text and text


@EVERY_WAY
def test_a_batch_answers_as_one_by_one(tmp_path: Path, way: RegionEncoder) -> None:
    """Left padding, ragged clips and padded regions change nothing."""
    module = tiny_module(tmp_path, region_encoder=way).eval()
    samples = [
        sample("a", question="what is <region>"),
        sample("bb", boxes=((0, 0, 8, 8), (4, 4, 16, 16)), question="<region1> or <region0>, please", frames=3),
        sample("ccc", boxes=(), question="hm"),
    ]
    together = [one.prediction for one in module.answer(make_batch(module, *samples)).predictions]
    alone = [module.answer(make_batch(module, one)).predictions[0].prediction for one in samples]
    assert together == alone


def test_a_region_changes_the_answer_and_another_mark_too(tmp_path: Path) -> None:
    """The marks reach the logits through the text and through the pixels, each on its own."""
    module = tiny_module(tmp_path).eval()
    batch = make_batch(module, sample())
    logits = module.backbone(batch).logits
    batch.mark_weights = torch.zeros_like(batch.mark_weights)
    unmarked_pixels = module.backbone(batch).logits
    batch.places = unfilled(batch.places)
    unmarked = module.backbone(batch).logits
    assert (logits - unmarked_pixels).abs().max() > 1e-3
    assert (unmarked_pixels - unmarked).abs().max() > 1e-3


@EVERY_WAY
@pytest.mark.parametrize("regions", [2, 12])
def test_generation_shows_what_stands_for_a_region_after_its_index(
    tmp_path: Path, way: RegionEncoder, regions: int
) -> None:
    """Teacher-forced logits behind `[1]` or `[11]` and its stand-in equal those of generation: what follows agrees."""
    module = tiny_module(tmp_path, region_encoder=enough_marks(way, 16)).eval()
    boxes = tuple((float(place), 0.0, place + 4.0, 8.0) for place in range(regions))
    batch = make_batch(module, sample(boxes=boxes, question="which", answer="<region1> it is"))
    index = f"[{regions - 1}]"
    forced = _Forced(module, f" {index}")
    length = 1 + len(index) + len(module.renderer.shown(batch.region_texts[0][-1]).ids) + 3
    with torch.no_grad():
        module.backbone.model.lm_head.register_forward_hook(forced)
        text = generate(module.backbone, module.renderer, batch, length)[0]
        forced.active = False
        behind = text.removeprefix(index)
        whole = make_batch(module, sample(boxes=boxes, question="which", answer=f"<region{regions - 1}>{behind}"))
        output = module.backbone(whole)
    # supervised tokens: the index, then what was generated freely behind the placeholder
    output.logits[:, module.renderer.tokenizer.all_special_ids] = -torch.inf
    said = output.logits[1 + len(index) :][: len(behind)].argmax(-1)
    assert text.startswith(index) and behind
    assert module.renderer.decode(said.tolist()) == behind.strip()


class _Forced:
    """Makes the language model say given characters first, and then only what can be read."""

    def __init__(self, module: VideoRegionModule, text: str) -> None:
        self.ids = module.renderer.tokenizer.encode(text, add_special_tokens=False)
        self.special = module.renderer.tokenizer.all_special_ids
        self.step, self.active = 0, True

    def __call__(self, layer: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        if self.active:
            logits = logits.clone()
            logits[..., self.special] = -1e4
            if self.step < len(self.ids):
                logits[..., self.ids[self.step]] = 1e4
                self.step += 1
        return logits


@EVERY_WAY
def test_options_score_as_if_each_were_read_in_full(tmp_path: Path, way: RegionEncoder) -> None:
    """The shared prefix changes nothing, options that mention regions included; a stand-in is never counted."""
    module = tiny_module(tmp_path, region_encoder=way).eval()
    boxes = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
    options = ("a cat", "<region1>", "<region0> is left of <region1>", "no")
    asked = sample(boxes=boxes, question="which <region0>", frames=2, options=options, label=1)
    fewer = sample("other", question="so <region>", options=("yes", "no way"), label=0)
    scored = module.answer(make_batch(module, asked, fewer)).predictions
    for one, prediction in zip((asked, fewer), scored, strict=True):
        assert len(prediction.option_scores) == len(one.options)
        for option, score, length in zip(one.options, prediction.option_scores, prediction.option_lengths, strict=True):
            turn = type(one.conversation[0])(one.conversation[0].question, option)
            read = make_batch(module, type(one)(one.id, one.media, one.regions, (turn,)))
            output = module.backbone(read)
            full = output.logits.log_softmax(-1).gather(1, output.targets[:, None]).sum()
            assert length == len(output.targets)
            assert score == pytest.approx(float(full), abs=1e-5 * length)


def test_clip_and_llama_checkpoints_are_joined(tmp_path: Path) -> None:
    """The paper starts from a CLIP and a Llama-2: their weights arrive, the vocabulary grows by the special tokens."""
    torch.manual_seed(0)
    tower = CLIPVisionModel(CLIPVisionConfig(**ARCHITECTURE["vision_config"]))
    tower.save_pretrained(tmp_path / "clip")
    tokenizer = character_tokenizer()
    decoder = LlamaForCausalLM(LlamaConfig(**ARCHITECTURE["text_config"], vocab_size=99))
    decoder.save_pretrained(tmp_path / "llama")
    base = BaseModel(
        vision_tower=str(tmp_path / "clip"),
        language_model=str(tmp_path / "llama"),
        tokenizer=tokenizer_folder(tmp_path / "tokenizer"),
    )
    joined = load_base(base, load_tokenizer(base)).model
    assert joined.config.text_config.vocab_size == 128 >= len(tokenizer)  # 102 in blocks of 64
    words = joined.get_input_embeddings().weight
    torch.testing.assert_close(words[:99], decoder.get_input_embeddings().weight)
    torch.testing.assert_close(joined.lm_head.weight[:99], decoder.lm_head.weight)
    pixels = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(joined.model.vision_tower(pixels).last_hidden_state, tower(pixels).last_hidden_state)


def test_the_tower_of_a_llava_goes_under_another_decoder(tmp_path: Path) -> None:
    """Its weights have other names there than in a tower's own folder: they were said to be missing."""
    module = tiny_module(tmp_path)
    plain_llava(module, tmp_path / "llava")
    LlamaForCausalLM(LlamaConfig(**ARCHITECTURE["text_config"], vocab_size=99)).save_pretrained(tmp_path / "llama")
    base = BaseModel(
        vision_tower=str(tmp_path / "llava"),
        language_model=str(tmp_path / "llama"),
        tokenizer=str(tmp_path / "tokenizer"),
    )
    joined = load_base(base, load_tokenizer(base))
    weights = module.backbone.base.vision_tower.state_dict()
    assert weights.keys() == joined.vision_tower.state_dict().keys()
    for name, weight in joined.vision_tower.state_dict().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


def test_a_llava_checkpoint_is_loaded_whole(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    plain_llava(module, tmp_path / "llava")
    base = BaseModel(checkpoint=str(tmp_path / "llava"), tokenizer=str(tmp_path / "tokenizer"))
    again = load_base(base, load_tokenizer(base)).model
    for name, weight in module.backbone.model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight)


def test_what_is_no_llava_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "tokenizer")
    base = BaseModel(checkpoint=str(tmp_path / "nowhere"), tokenizer=folder)
    with pytest.raises(DataError, match="nowhere"):
        load_base(base, load_tokenizer(base))
    CLIPVisionModel(CLIPVisionConfig(**ARCHITECTURE["vision_config"])).save_pretrained(tmp_path / "clip")
    base = BaseModel(checkpoint=str(tmp_path / "clip"), tokenizer=folder)
    with pytest.raises(DataError, match="clip"):
        load_base(base, load_tokenizer(base))


@EVERY_WAY
@pytest.mark.parametrize("beside_a_picture", [False, True])
def test_text_alone_learns_and_answers_also_as_a_whole_batch(
    tmp_path: Path, beside_a_picture: bool, way: RegionEncoder
) -> None:
    """Instruction data mixes in conversations without a picture: every parameter still gets its gradient."""
    module = tiny_module(tmp_path, region_encoder=way)
    text = RegionSample("text", NoPicture(), (), (Turn("how are you", "well"),))
    batch = make_batch(module, text, *[sample()][: int(beside_a_picture)])
    assert [len(frames) for frames in batch.frames] == [0, 1][: len(batch)]
    language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
    (language + guide).backward()
    assert all(weight.grad is not None for weight in module.parameters() if weight.requires_grad)
    alone = module.answer(make_batch(module, text)).predictions[0].prediction
    assert module.answer(batch).predictions[0].prediction == alone


def test_options_are_not_scored_where_a_letter_is_generated(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    choice = sample(options=("a cat", "a dog"), label=0)
    listed = lettered(sample("b", options=("a cat", "a dog", "no"), label=2))
    scored = module.answer(make_batch(module, choice, listed)).predictions
    assert [len(prediction.option_scores) for prediction in scored] == [2, 0]
    assert [prediction.answering for prediction in scored] == ["likelihood", "letter"]
    assert scored[0].option_scores == pytest.approx(
        module.answer(make_batch(module, choice)).predictions[0].option_scores
    )
