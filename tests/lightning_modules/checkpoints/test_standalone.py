"""An exported folder without this framework: its two files compute what ours do, from the frames to the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from families import TINY
from PIL import Image
from pycocotools import mask as coco_mask
from test_region_modules import SAMPLES, asked, module_of
from torch import nn

from datamodules.batching.batch import RegionBatch
from datamodules.batching.processor import Processed
from datamodules.batching.visual_processor import Run
from datamodules.errors import DataError
from datamodules.prompting.prompt_styles import PromptName
from datamodules.regions.placement import run_length_code
from datamodules.types import Box, Geometry, Mask, Pixels, Polygon, Region, RegionSample, Turn
from drawn import drawn_sample, text_alone
from experiments.model_card import write_card
from helpers import make_batch, processor, renderer, tiny_module, tokenizer_folder
from lightning_modules import RoiFeature, VideoRegionModule, ask, export, load
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.standalone import modeling_token_mark, processing_token_mark
from lightning_modules.bases.standalone.processing_token_mark import TokenMarkProcessor
from lightning_modules.checkpoints.standalone import check_standalone
from lightning_modules.generation.answering import Answered
from lightning_modules.generation.decoding import Prompts
from lightning_modules.region_module import RegionModule
from small_tokenizers import KINDS, small_tokenizer


def exported(module: RegionModule, folder: Path, **options: Any) -> Path:
    """The model as a checkpoint, and that as a folder."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "last.ckpt")
    return export(folder / "last.ckpt", folder / "exported", **options)


def opened(folder: Path) -> tuple[Any, Any]:
    """Model and processor by the classes that the folder names, which are those of its copies of our files."""
    settings = json.loads((folder / "config.json").read_text())["auto_map"]["AutoModelForImageTextToText"]
    file, _, name = settings.partition(".")
    assert (folder / f"{file}.py").read_text() == Path(modeling_token_mark.__file__).read_text()
    model = getattr(modeling_token_mark, name).from_pretrained(folder).eval()
    return model, TokenMarkProcessor.from_pretrained(folder)


# --- samples on both sides ------------------------------------------------------------------------------------------


def as_told(geometry: Geometry) -> dict[str, Any]:
    if isinstance(geometry, Box):
        return {"box": list(geometry.xyxy)}
    assert isinstance(geometry, Mask)
    return {"mask": coco_mask.decode({"size": list(geometry.size), "counts": geometry.counts}).astype(bool)}


def without_polygons(one: RegionSample) -> RegionSample:
    """Masks in their place, and regions that are shown where they name a frame alone."""
    if not isinstance(one.media, Pixels):
        return one
    size = one.media.array.shape[1:3]

    def mask(geometry: Geometry) -> Geometry:
        if not isinstance(geometry, Polygon):
            return geometry
        code = run_length_code(geometry, size)
        return Mask(size, code["counts"])  # type: ignore[arg-type]  # COCO's

    regions = tuple(
        Region({frame: mask(geometry) for frame, geometry in region.prompts.items()}) for region in one.regions
    )
    return replace(one, regions=regions)


def their_inputs(theirs: Any, one: RegionSample) -> Any:
    """What the standalone processor makes of a sample."""
    regions = [
        {"prompts": {frame: as_told(geometry) for frame, geometry in region.prompts.items()}} for region in one.regions
    ]
    texts = [text for turn in one.conversation for text in (turn.question, turn.answer)][:-1]
    messages: list[Any] = [
        {"role": ("user", "assistant")[number % 2], "content": [{"type": "text", "text": text}]}
        for number, text in enumerate(texts)
    ]
    if isinstance(one.media, Pixels):
        messages[0]["content"].insert(0, {"type": "video", "video": one.media.array})
    return theirs.apply_chat_template(messages, regions=regions, name=one.id)


def assert_same_inputs(module: RegionModule, theirs: Any, one: RegionSample) -> None:
    ours: Processed = processor(module)(one)
    inputs = their_inputs(theirs, one)
    length = ours.rendered.prompt_length
    assert inputs["input_ids"][0].tolist() == ours.rendered.ids[:length]
    assert inputs["region_slots"][0].tolist() == ours.rendered.placeholder[:length]
    for name, value in module.vision.model_inputs(ours.visual.inputs).items():
        torch.testing.assert_close(inputs[name], value, rtol=0, atol=0)
    visual = module.backbone.base.is_visual(inputs["input_ids"])
    torch.testing.assert_close(
        inputs["region_coverage"][visual], torch.from_numpy(ours.weights.mark), rtol=0, atol=1e-6
    )
    assert not inputs["region_coverage"][~visual].any()


@torch.no_grad()
def assert_same_model(module: RegionModule, folder: Path, samples: Sequence[RegionSample], atol: float = 1e-5) -> None:
    """Logits of every token of the prompts, one by one, and answers."""
    model, theirs = opened(folder)
    for one in samples:
        assert_same_inputs(module, theirs, one)
        batch, inputs = make_batch(module, one), their_inputs(theirs, one)
        prompts, backbone = Prompts.of(batch), module.backbone
        with backbone.telling(batch, prompts.places):
            hidden = backbone.base.core(
                input_ids=prompts.ids, attention_mask=prompts.attention, **backbone.inputs(batch, prompts.ids)
            ).last_hidden_state
        found = model(**inputs).logits
        torch.testing.assert_close(found, backbone.base.logits(hidden), rtol=0, atol=atol)
        rows = model.generate(
            **inputs, tokenizer=theirs.tokenizer, max_new_tokens=module.max_new_tokens, do_sample=False
        )
        assert theirs.answers(rows, inputs) == [module.answer(batch).predictions[0].prediction]


# --- equal answers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[RegionModule, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    module = tiny_module(folder, max_new_tokens=10).eval()
    return module, exported(module, folder)


def test_drawn_samples_are_read_alike(tiny: tuple[RegionModule, Path]) -> None:
    """Images and clips, 0 to 8 regions on any frames, boxes and masks, mentions of all kinds, several turns."""
    module, folder = tiny
    draw, theirs = Random(0), TokenMarkProcessor.from_pretrained(folder)
    for _ in range(20):
        assert_same_inputs(module, theirs, without_polygons(drawn_sample(draw, "a", most_regions=8)))
    assert_same_inputs(module, theirs, text_alone(draw, "text"))


def test_logits_and_answers_are_ours(tiny: tuple[RegionModule, Path]) -> None:
    module, folder = tiny
    draw = Random(1)
    drawn = [without_polygons(drawn_sample(draw, name, most_regions=5)) for name in "abcd"]
    assert_same_model(module, folder, [*drawn, text_alone(draw, "text")])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name.startswith("llava, ") and "odd" not in name else ())
        for name in TINY
        if TINY[name].config["model_type"] in processing_token_mark.VISION and name != "llava"
    ],
)
def test_every_base_that_is_known(name: str, tmp_path: Path) -> None:
    """Towers and decoders put together, merged patches and leading tokens, pairs of frames; images, videos, text."""
    module = module_of(name, tokenizer_folder(tmp_path / "tokenizer"))
    clip = asked("five", (30, 70), frames=5)
    more = replace(clip, regions=(*clip.regions, Region({2: Box((3, 3, 20, 9.5)), 4: Box((40, 0, 70, 30))})))
    assert_same_model(module, exported(module, tmp_path), [*map(without_polygons, SAMPLES), without_polygons(more)])


def test_in_bfloat16(tmp_path: Path) -> None:
    """The base is of the type asked for; marks and their projection stay float32."""
    folder = exported(tiny_module(tmp_path, dtype="bfloat16"), tmp_path)
    model, _ = opened(folder)
    assert model.dtype == torch.bfloat16
    assert {weight.dtype for weight in model.region_encoder.parameters()} == {torch.float32}
    samples = [without_polygons(drawn_sample(Random(2), name, 3)) for name in "ab"]
    assert_same_model(load(tmp_path / "last.ckpt"), folder, samples)
    half = export(tmp_path / "last.ckpt", tmp_path / "half", dtype="float16")
    assert opened(half)[0].lm_head.weight.dtype == torch.float16


@torch.no_grad()
def test_a_batch_is_its_samples(tiny: tuple[RegionModule, Path]) -> None:
    """Rows are padded on the left; pictures, regions and lengths differ."""
    model, theirs = opened(tiny[1])
    noise = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)
    texts = ["what is <region>", "is <region1> on <region0>, so?", "hm"]
    regions: list[Any] = [[{"box": [1, 1, 5, 5]}], [{"box": [0, 0, 9, 9]}, {"mask": noise[0, :, :, 0] > 99}], []]
    images = [noise[0], noise[1], Image.fromarray(noise[0])]
    batch = theirs(images=images, text=texts, regions=regions)
    options = {"tokenizer": theirs.tokenizer, "max_new_tokens": 5, "do_sample": False}
    together = theirs.answers(model.generate(**batch, **options), batch)
    for row, (image, text, marked) in enumerate(zip(images, texts, regions, strict=True)):
        alone = theirs(images=image, text=text, regions=marked)
        length = alone["input_ids"].shape[1]
        found = model(**batch).logits[row, -length:]
        torch.testing.assert_close(found, model(**alone).logits[0], rtol=0, atol=1e-5)
        assert theirs.answers(model.generate(**alone, **options), alone) == [together[row]]


def test_a_question_from_python_is_the_same_question(tiny: tuple[RegionModule, Path]) -> None:
    """`ask` and the processor, by their usual arguments, over two turns."""
    module, folder = tiny
    model, theirs = opened(folder)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    turns = ask(module, picture, [Box((1, 2, 9, 9)), Box((3, 3, 30, 20))], ["<region0>?", "[1] or <region1>?"])
    regions = [{"box": [1, 2, 9, 9]}, {"box": [3, 3, 30, 20], "frame": 0}]
    messages: list[dict[str, Any]] = []
    for turn in turns.conversation:
        picture_part = [{"type": "image", "image": picture}] if not messages else []
        messages.append({"role": "user", "content": [*picture_part, {"type": "text", "text": turn.question}]})
        inputs = theirs.apply_chat_template(messages, regions=regions)
        rows = model.generate(**inputs, tokenizer=theirs.tokenizer, max_new_tokens=10, do_sample=False)
        [said] = theirs.answers(rows, inputs)
        assert module.renderer.as_mentions(said, 2) == turn.answer
        messages.append({"role": "assistant", "content": said})


class Scripted(nn.Module):
    """A head that says what it is told to, and then what its own hidden states say."""

    def __init__(self, head: nn.Module, script: Sequence[int]) -> None:
        super().__init__()
        self.head, self.weight = head, head.weight
        self.script = list(script)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(hidden)
        if hidden.dim() == 3 and self.script:  # generation alone asks for rows
            logits = logits.index_fill(-1, torch.tensor([self.script.pop(0)]), 1e4)
        return logits


@pytest.mark.parametrize("cached", [True, False])
def test_a_region_that_an_answer_names_is_shown_behind_its_index(tiny: tuple[RegionModule, Path], cached: bool) -> None:
    """The placeholder follows `[1]`, with the mark of region 1, on which all later tokens depend."""
    module, folder = tiny
    model, theirs = opened(folder)
    one = without_polygons(replace(asked("image"), conversation=(Turn("is <region1> on <region0>"),)))
    inputs = their_inputs(theirs, one)
    script = theirs.tokenizer("b[1]", add_special_tokens=False).input_ids
    head = module.backbone.model.lm_head
    module.backbone.model.lm_head = Scripted(head, script)
    try:
        wanted = module.answer(make_batch(module, one)).predictions[0].prediction
    finally:
        module.backbone.model.lm_head = head
    model.lm_head = Scripted(model.lm_head, script)
    rows = model.generate(**inputs, tokenizer=theirs.tokenizer, max_new_tokens=10, do_sample=False, use_cache=cached)
    assert wanted.startswith("b[1]") and len(wanted) > len("b[1]")
    assert theirs.answers(rows, inputs) == [wanted]
    assert rows[0, inputs["input_ids"].shape[1] :].tolist()[4] == module.renderer.region_id


@pytest.mark.parametrize("style", ["plain", "vicuna", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_of_every_kind(kind: str, style: PromptName) -> None:
    tokenizer = small_tokenizer(kind)
    ours = renderer(tokenizer, style)
    words = {**ours.described(), "placeholder": IMAGE}
    theirs = TokenMarkProcessor(tokenizer, words=words)
    pixels = Pixels(np.zeros((1, 4, 4, 3), np.uint8))
    whole = (Region.at(Box((0, 0, 4, 4))),) * 2
    talk = (
        ("Is <region1> it?  Or [0]\n", "[0], ([1])! [12]"),
        ("  and <region0>,<region1>? <s>", " 5 [1]"),
        ("so ", ""),
    )
    for regions in (2, 1, 0):
        turns = tuple(Turn(*(_named(text, regions) for text in turn)) for turn in talk)
        one = RegionSample("a", pixels, whole[:regions], turns)
        wanted = ours.render(one, (Run(IMAGE, 2),))
        texts = [text for turn in turns for text in (turn.question, turn.answer)][:-1]
        found = theirs._prompt(texts, regions, (processing_token_mark.Run(IMAGE, 2, kind=1),))
        assert found.ids == wanted.ids[: wanted.prompt_length]
        assert found.slots == wanted.placeholder[: wanted.prompt_length]
    for answer in ("[1], red", " [0]", "a [12]"):
        ids = ours.answer(answer, ()).ids
        assert theirs._said(ids) == ours.decode(ids).strip()


def _named(text: str, regions: int) -> str:
    """With mentions that there are."""
    one = text.replace("<region1>", "<region0>") if regions == 1 else text
    return one if regions else one.replace("<region0>", "it").replace("<region1>", "that")


# --- what cannot be -------------------------------------------------------------------------------------------------


class Own(VideoRegionModule):
    """It answers in its own way."""

    def answer(self, batch: RegionBatch) -> Answered:
        return super().answer(batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region_encoder": RoiFeature()}, r"TokenMark, not by lightning_modules\.RoiFeature; --framework_only"),
        ({"kind": Own}, r"Own has its own answer, which transformers has not; --framework_only"),
    ],
)
def test_what_the_files_do_not_know_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        check_standalone(tiny_module(tmp_path, **options))


def test_another_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="regions on llava, qwen3_vl, not on internvl; --framework_only"):
        check_standalone(module_of("internvl", tokenizer_folder(tmp_path)))


PICTURE = np.zeros((10, 20, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"regions": [{"box": [5, 5, 2, 9]}]}, "region 0 on frame 0: box .* is inverted"),
        ({"regions": [{"box": [0, 0, 30, 9]}]}, "lies outside the frame of width 20, height 10"),
        ({"regions": [{"box": [0, 0, 9]}]}, "not four finite numbers"),
        ({"regions": [{"mask": np.ones((20, 10))}]}, r"mask of shape \(20, 10\) on a frame of \(10, 20\)"),
        ({"regions": [{"mask": np.zeros((10, 20))}]}, "mask is empty"),
        ({"regions": [{"point": [1, 2]}]}, r"has \['point'\]: it takes 'box' or 'mask'"),
        ({"regions": [{"box": [0, 0, 9, 9], "frame": 1}]}, "on frame 1, but there are 1 frames"),
        ({"text": "<region2>"}, "<region2> has no region, there are 1"),
        ({"regions": [{"box": [0, 0, 9, 9]}] * 2}, "<region> needs a number, there are 2"),
        ({"regions": [{"box": [0, 0, 9, 9]}] * 9}, "9 regions, but the model has 8 marks"),
        ({"images": PICTURE.astype(float)}, "type float64"),
        ({"images": None}, "1 regions, but no picture"),
        ({"videos": PICTURE[None]}, "an image and a video"),
        ({"text": None}, "text is needed"),
        ({"return_tensors": "np"}, "return_tensors is 'np'"),
        ({"text": ["<region>"], "images": [PICTURE]}, "1 questions: regions are a list for each of them"),
    ],
)
def test_bad_input_is_one_error(tiny: tuple[RegionModule, Path], given: dict[str, Any], message: str) -> None:
    theirs = TokenMarkProcessor.from_pretrained(tiny[1])
    usual = {"images": PICTURE, "text": "<region>", "regions": [{"box": [0, 0, 9, 9]}]}
    with pytest.raises(ValueError, match=message):
        theirs(**{**usual, **given})


def test_generate_needs_the_tokenizer_where_there_are_regions(tiny: tuple[RegionModule, Path]) -> None:
    model, theirs = opened(tiny[1])
    inputs = theirs(images=PICTURE, text="<region>", regions=[{"box": [0, 0, 9, 9]}])
    with pytest.raises(ValueError, match=r"tokenizer=processor\.tokenizer"):
        model.generate(**inputs, max_new_tokens=2)


# --- without this framework -----------------------------------------------------------------------------------------

PROGRAM = """
import json, re, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"lightning_modules", "datamodules", "metrics", "experiments", "lightning", "shapely"}:
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import numpy as np, torch
from transformers import AutoModelForImageTextToText, AutoProcessor
place = sys.argv[1]
processor = AutoProcessor.from_pretrained(place, trust_remote_code=True)
model = AutoModelForImageTextToText.from_pretrained(place, trust_remote_code=True).eval()
model.save_pretrained("again"), processor.save_pretrained("again")
again = AutoModelForImageTextToText.from_pretrained("again", trust_remote_code=True).eval()
frames = np.random.default_rng(7).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)
inputs = AutoProcessor.from_pretrained("again", trust_remote_code=True)(
    videos=frames, text="is <region1> on <region0>", regions=[{"box": [1, 2, 9, 9]}, {"box": [3, 3, 30, 20]}])
options = {"tokenizer": processor.tokenizer, "max_new_tokens": 6, "do_sample": False}
said = [processor.answers(one.generate(**inputs, **options), inputs)[0] for one in (model, again)]
beams = model.generate(**inputs, **{**options, "num_beams": 2})
with torch.no_grad():
    logits = model(**inputs).logits
[program] = re.findall(r"```python\\n(.*?)```", open(f"{place}/README.md").read(), re.DOTALL)[:1]
exec(program, {"frames": np.zeros((6, 100, 100, 3), np.uint8)})
print(json.dumps({"said": said, "kind": type(model).__name__, "logits": logits[0, -1].tolist()}))
"""


@pytest.mark.slow
def test_transformers_alone_answers_alike(tiny: tuple[RegionModule, Path], tmp_path: Path) -> None:
    """In a process that cannot import this framework, after saving what it has opened, and as the card says."""
    module, folder = tiny
    write_card(folder, folder.parent / "last.ckpt")
    known = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder.name],
        cwd=folder.parent,
        env={**known, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    frames = np.random.default_rng(7).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)
    boxes = [Box((1, 2, 9, 9)), Box((3, 3, 30, 20))]
    with mock.patch.object(module, "max_new_tokens", 6):
        asked_for = ask(module, frames, boxes, "is <region1> on <region0>")
    ours = asked_for.conversation[-1].answer
    assert [module.renderer.as_mentions(said, 2) for said in told["said"]] == [ours, ours]
    assert told["kind"] == "TokenMarkLlava"
    model, theirs = opened(folder)
    inputs = theirs(videos=frames, text="is <region1> on <region0>", regions=[{"box": list(box.xyxy)} for box in boxes])
    with torch.no_grad():
        assert told["logits"] == pytest.approx(model(**inputs).logits[0, -1].tolist(), abs=1e-5)
