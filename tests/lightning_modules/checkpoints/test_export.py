"""Checkpoints as folders that transformers opens: equal logits, strict names, and sharded ones among them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sharded_run import train as train_alone
from sharded_run import train_as_rank
from test_region_module import SAMPLES, fresh, train
from transformers import AutoTokenizer, LlavaConfig, LlavaForConditionalGeneration

import cli
from datamodules.errors import DataError
from helpers import ARCHITECTURE, character_tokenizer, make_batch, marks, pixels_of, sample, tokenizer_folder
from lightning_modules import BaseModel, LoraOptions, VideoRegionModule, export, load
from lightning_modules.checkpoints.files import ON_THE_BASE
from lightning_modules.checkpoints.sharded import read_sharded, sharded_names
from lightning_modules.region_module import RegionModule
from lightning_modules.training.sharding import FullySharded
from processes import finish, start_ranks

BATCH = 4  # samples of a step in the sharded runs
UNITS = 3  # that learn in them: two layers of the language model, and what is outside of layers
PLAIN = (sample("a", boxes=(), question="what is it"), sample("bb", boxes=(), question="hm", frames=3))

pytestmark = pytest.mark.long  # the module, so that one process makes what its tests share


def logits(module: RegionModule) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module.eval().backbone(make_batch(module, *SAMPLES)).logits
    return found


def plain_logits(llava: LlavaForConditionalGeneration, module: RegionModule) -> torch.Tensor:
    """What transformers alone says to a picture and a clip without regions, where there is a label."""
    batch = make_batch(module, *PLAIN)
    with torch.no_grad():
        found = llava(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, pixel_values=pixels_of(module, batch)
        ).logits
    return found.flatten(0, 1)[batch.supervised]  # type: ignore[no-any-return]  # transformers is untyped


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RegionModule, Path]:
    """A model and its checkpoint after three steps."""
    folder = tmp_path_factory.mktemp("trained")
    module = fresh(folder)
    train(module, folder, 3, SAMPLES)
    return module, next((folder / "checkpoints").glob("*.ckpt"))


@pytest.fixture
def exported(trained: tuple[RegionModule, Path], tmp_path: Path) -> Path:
    return export(trained[1], tmp_path / "exported")


def test_an_exported_model_is_the_same_model(trained: tuple[RegionModule, Path], exported: Path) -> None:
    again = load(exported)
    assert type(again) is type(trained[0])
    assert torch.equal(logits(again), logits(trained[0]))
    assert again.options == trained[0].options
    batch = make_batch(again, *SAMPLES)
    assert again.answer(batch).predictions == trained[0].answer(batch).predictions


def test_an_export_is_read_by_whom_other_files_are(exported: Path, tmp_path: Path) -> None:
    """Weights had the mode 0600, so that nobody else could load them."""
    other = tmp_path / "other"
    other.touch()
    assert {file.stat().st_mode for file in exported.iterdir()} == {other.stat().st_mode}


def test_transformers_alone_opens_the_llava_part(trained: tuple[RegionModule, Path], exported: Path) -> None:
    """Without regions its logits are ours, which the test of the backbone proves for weights that never left memory."""
    module = trained[0].eval()
    llava = LlavaForConditionalGeneration.from_pretrained(exported).eval()
    theirs = LlavaForConditionalGeneration(llava.config).eval()
    theirs.load_state_dict(module.backbone.model.state_dict())
    assert torch.equal(plain_logits(llava, module), plain_logits(theirs, module))
    with torch.no_grad():
        ours = module.backbone(make_batch(module, *PLAIN)).logits
    torch.testing.assert_close(plain_logits(llava, module), ours, rtol=0, atol=1e-5)
    assert json.loads((exported / "config.json").read_text())["architectures"] == ["LlavaForConditionalGeneration"]
    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = "a cat <image> <region>"
    assert tokenizer(text).input_ids == module.renderer.tokenizer(text).input_ids


def test_weights_have_the_names_of_published_checkpoints(exported: Path) -> None:
    """Whatever reads a LLaVA checkpoint of the hub reads this one; what is put on the base has names of its own."""
    weights = load_file(exported / "model.safetensors")
    ours = {name for name in weights if name.startswith(ON_THE_BASE)}
    names = {name.split(".")[0] for name in weights.keys() - ours}
    assert names == {"language_model", "multi_modal_projector", "vision_tower"}
    assert ours == {
        "guide.classifier.bias",
        "guide.classifier.weight",
        "region_encoder.marks",
        "region_encoder.projection.weight",
    }


def test_a_checkpoint_that_transformers_wrote_is_a_base(tmp_path: Path) -> None:
    """Regression: transformers did not know a subclass by the names that its own class writes."""
    torch.manual_seed(0)
    vocabulary = {"vocab_size": len(character_tokenizer())}
    config = LlavaConfig(
        **ARCHITECTURE
        | {"text_config": {"model_type": "llama", **ARCHITECTURE["text_config"], **vocabulary}}
        | {"vision_config": {"model_type": "clip_vision_model", **ARCHITECTURE["vision_config"]}}
    )
    llava = LlavaForConditionalGeneration(config)
    llava.save_pretrained(tmp_path / "llava")
    base = BaseModel(checkpoint=str(tmp_path / "llava"), tokenizer=tokenizer_folder(tmp_path / "tokenizer"))
    module = VideoRegionModule(base=base, prompt="plain")
    module.configure_model()
    for name, weight in llava.state_dict().items():
        assert torch.equal(module.backbone.model.state_dict()[name], weight)


def test_an_exported_folder_is_a_base_and_a_start(trained: tuple[RegionModule, Path], exported: Path) -> None:
    """As `base.checkpoint` it gives LLaVA and tokenizer, as `init_from` the marks and the guide head too."""
    base = BaseModel(checkpoint=str(exported))
    anew = VideoRegionModule(base=base, region_encoder=marks(), prompt="plain")
    anew.configure_model()
    ours = trained[0].state_dict()
    same = {name for name, weight in anew.state_dict().items() if torch.equal(weight, ours[name])}
    assert same == {name for name in ours if ".model." in name}
    on = VideoRegionModule(base=base, init_from=exported, region_encoder=marks(), prompt="plain")
    on.configure_model()
    assert all(torch.equal(weight, ours[name]) for name, weight in on.state_dict().items())


def test_a_base_alone_is_a_base_and_nothing_else(
    trained: tuple[RegionModule, Path], exported: Path, tmp_path: Path
) -> None:
    """Without what was put on it: transformers' own files, the same as of the whole export."""
    folder = tmp_path / "base"
    cli.main(["export", "--ckpt_path", str(trained[1]), "--to", str(folder), "--base_only"])
    names = {file.name for file in folder.iterdir()}
    of_regions = {"regions.json", "processor_config.json", "modeling_token_mark.py", "processing_token_mark.py"}
    assert names == {file.name for file in exported.iterdir()} - of_regions
    assert "preprocessor_config.json" in names
    assert not {"auto_map", "token_mark"} & json.loads((folder / "config.json").read_text()).keys()
    whole, alone = (load_file(place / "model.safetensors") for place in (exported, folder))
    assert alone.keys() == {name for name in whole if not name.startswith(ON_THE_BASE)}
    assert all(torch.equal(weight, whole[name]) for name, weight in alone.items())
    anew = VideoRegionModule(base=BaseModel(checkpoint=str(folder)), region_encoder=marks(), prompt="plain")
    anew.configure_model()
    with pytest.raises(DataError):
        load(folder)
    half = export(trained[1], tmp_path / "half", base_only=True, dtype="float16")
    weights, exact = (load_file(place / "model.safetensors") for place in (half, folder))
    assert all(torch.equal(weight, exact[name].half()) for name, weight in weights.items())
    with pytest.raises(DataError, match="dtype is 'half'"):
        export(trained[1], tmp_path / "other", dtype="half")


def test_a_base_sees_pictures_as_it_was_trained_to(tmp_path: Path) -> None:
    """Its exported weights were read with its family's normalisation, whatever they had been trained with."""
    seen = {"image_mean": (0.2, 0.2, 0.2), "image_std": (2.0, 2.0, 2.0)}
    base = BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer_folder(tmp_path / "tokenizer"), vision=seen)
    module = VideoRegionModule(base=base, region_encoder=marks(), prompt="plain", frozen=())
    train(module, tmp_path, 1, SAMPLES)
    path = next((tmp_path / "checkpoints").glob("*.ckpt"))
    for only in (True, False):
        folder = export(path, tmp_path / f"base-{only}", base_only=only)
        anew = VideoRegionModule(base=BaseModel(checkpoint=str(folder)), region_encoder=marks(), prompt="plain")
        anew.configure_model()
        assert anew.vision == module.vision
        assert anew.vision.image_std == seen["image_std"]


def test_adapters_are_merged_and_weights_made_whole(tmp_path: Path) -> None:
    """QLoRA exported: 32-bit files whose logits are those of the adapted model, in transformers too."""
    module = fresh(tmp_path, quantise="nf4", lora=LoraOptions(rank=4), frozen=("vision_tower", "language_model"))
    train(module, tmp_path, 4, SAMPLES)
    folder = export(next((tmp_path / "checkpoints").glob("*.ckpt")), tmp_path / "exported")
    assert {weight.dtype for weight in load_file(folder / "model.safetensors").values()} == {torch.float32}
    again = load(folder)
    torch.testing.assert_close(logits(again), logits(module), rtol=0, atol=1e-4)
    llava = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        ours = module.backbone(make_batch(module, *PLAIN)).logits
    torch.testing.assert_close(plain_logits(llava, module), ours, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["guide.classifier.bias", "language_model.lm_head.weight"])
@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_names_are_compared(exported: Path, name: str, change: str) -> None:
    weights = load_file(exported / "model.safetensors")
    if change == "missing":
        weights.pop(name)
    else:
        weights[f"{name.split('.', maxsplit=1)[0]}.stranger"] = torch.zeros(1)
    save_file(weights, exported / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=change) as error:
        load(exported)
    assert (name.removeprefix("language_model.") if change == "missing" else "stranger") in str(error.value)


def test_a_weight_of_another_shape_is_refused(exported: Path) -> None:
    weights = load_file(exported / "model.safetensors")
    weights["region_encoder.marks"] = torch.zeros(9, 8)
    save_file(weights, exported / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 weights misfit, region_encoder.marks is \(9, 8\), not \(8, 8\)"):
        load(exported)


def test_opening_an_export_is_silent(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """transformers listed marks and guide head as weights that it has no place for."""
    load(exported)
    assert "UNEXPECTED" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("{}", r"regions.json lacks \['class', 'options', 'vision'\]")]
)
def test_a_damaged_description_is_refused(exported: Path, text: str, message: str) -> None:
    (exported / "regions.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load(exported)


def test_files_are_not_written_over(
    trained: tuple[RegionModule, Path], exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", "--ckpt_path", str(trained[1]), "--to", str(exported)])
    assert stop.value.code == 2
    assert "is there already: an export needs a new or empty folder" in capsys.readouterr().err


def test_the_command_lists_what_it_wrote(
    trained: tuple[RegionModule, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "to").mkdir()
    cli.main(["export", "--ckpt_path", str(trained[1]), "--to", str(tmp_path / "to")])
    printed = [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()]
    assert printed == sorted(path.name for path in (tmp_path / "to").iterdir())
    assert {"README.md", "model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= set(printed)


# --- sharded ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of eight steps of LoRA under FSDP2 in two processes, with a checkpoint after four."""
    folder = tmp_path_factory.mktemp("two")
    train_sharded(folder, 2, 8, BATCH)
    return folder


def train_sharded(folder: Path, ranks: int, *options: int) -> None:
    finish(*start_ranks(ranks, train_as_rank, folder, ranks, *options))


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in one process, unsharded."""
    folder = tmp_path_factory.mktemp("one")
    train_alone(folder, 1, 8, batch=BATCH)
    return folder


def losses(folder: Path) -> list[float]:
    found: list[float] = json.loads((folder / "losses.json").read_text())
    return found


def travels(folder: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((folder / "travels.json").read_text())
    return found


def test_lora_under_fsdp2_trains_as_one_process(two_ranks: Path, one_rank: Path) -> None:
    """In two passes a step, after which gradients travel once; they did so after each.

    Only one process has the weights of the base at all: it reads them and hands them out, where each read them all.
    """
    assert losses(two_ranks) == pytest.approx(losses(one_rank), abs=1e-5)
    assert len(losses(two_ranks)) == 8
    assert travels(two_ranks) == {"scattered": 8 * UNITS, "added up": 0}


@pytest.mark.slow
def test_two_groups_of_two_train_as_one_process(tmp_path: Path) -> None:
    """Hybrid sharding: weights lie in shards within a group, and each group holds a replica of the other's."""
    for name in ("four", "one"):
        (tmp_path / name).mkdir()
    train_sharded(tmp_path / "four", 4, 3, 8, 2)
    train_alone(tmp_path / "one", 1, 3, batch=8)
    assert json.loads((tmp_path / "four" / "mesh.json").read_text()) == [[2, 2]]
    assert losses(tmp_path / "four") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert len(losses(tmp_path / "four")) == 3
    assert travels(tmp_path / "four") == {"scattered": 3 * UNITS, "added up": 3 * UNITS}


def test_a_sharded_checkpoint_is_exported(two_ranks: Path, one_rank: Path, tmp_path: Path) -> None:
    """Against one process's file of the same step; both have the same adapters, merged in the export."""
    checkpoint = two_ranks / "step=4.ckpt"
    assert checkpoint.is_dir()
    assert not {name for name in sharded_names(checkpoint) if "vision_tower" in name or ".base_layer." in name}
    one, two = load(one_rank / "step=4.ckpt"), load(checkpoint)
    torch.testing.assert_close(logits(two), logits(one), rtol=0, atol=1e-4)
    folder = export(checkpoint, tmp_path / "exported")
    torch.testing.assert_close(logits(load(folder)), logits(two), rtol=0, atol=1e-5)
    assert not [name for name in load_file(folder / "model.safetensors") if "lora" in name]


def test_a_sharded_run_goes_on_with_fewer_processes(two_ranks: Path, tmp_path: Path) -> None:
    """Written by two, resumed by one: the losses are those of the uninterrupted run."""
    resumed = train_alone(tmp_path, 1, 8, str(two_ranks / "step=4.ckpt"), BATCH, strategy=FullySharded())
    assert resumed == pytest.approx(losses(two_ranks)[4:], abs=1e-5)


@pytest.mark.parametrize("damage", ["shard", "meta"])
def test_an_incomplete_sharded_checkpoint_is_refused(two_ranks: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(two_ranks / "step=4.ckpt", tmp_path / "damaged")
    (tmp_path / "damaged" / {"shard": "__1_0.distcp", "meta": "meta.pt"}[damage]).unlink()
    with pytest.raises(DataError, match=r"damaged is not a readable sharded checkpoint: .*No such file"):
        load(tmp_path / "damaged")


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_table_of_contents_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torch reads it with pickle, which would call whatever a stranger's checkpoint names."""
    (tmp_path / ".metadata").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(DataError, match=r"table of contents would call builtins\.print"):
        read_sharded(tmp_path)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["empty", "gone"])
def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no checkpoint at|not a readable sharded checkpoint"):
        load(tmp_path / path)
