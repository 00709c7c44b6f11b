"""A region encoder and a module from a file outside of the repository: trained, loaded, asked, exported, loaded."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from test_region_module import SAMPLES, fresh, train

import cli
from datamodules.errors import DataError
from helpers import ARCHITECTURE, make_batch, marks, sample, tiny_module
from lightning_modules import BaseModel, RoiFeature, TokenMark, VideoRegionModule, export, load
from lightning_modules.class_spec import ClassSpec
from lightning_modules.planning.plan import assembled
from metrics import Prediction
from small_run import write_small

OWN = '''
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from datamodules import Box, Pixels, Region, RegionSample, RegionSource, Turn
from lightning_modules import EncodedRegions, RegionEncoder, TokenMark, VideoRegionModule
from metrics import Prediction, PredictionMetric, Score


class Area(RegionEncoder):
    """A region is told by how large it is on the visual tokens.

    Args:
        hidden: Width on the way.
        powers: Of the area.
    """

    def __init__(self, hidden: int = 4, powers: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.hidden = hidden
        self.powers = tuple(powers)

    def build(self, width: int) -> None:
        self.layers = nn.Sequential(nn.Linear(len(self.powers), self.hidden), nn.Linear(self.hidden, width))

    def forward(self, batch, visual):
        area = batch.mark_weights.new_zeros(len(batch), batch.mark_weights.shape[1])
        area = area.index_add(0, batch.token_owner, batch.mark_weights)
        return EncodedRegions(self.layers(torch.stack([area**power for power in self.powers], -1)), visual)


class FaintMark(TokenMark):
    """Marks of another strength.

    Args:
        strength: Theirs.
    """

    def __init__(self, strength: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.strength = strength

    def forward(self, batch, visual):
        encoded = super().forward(batch, visual)
        return EncodedRegions(self.strength * encoded.text, encoded.visual, encoded.marks)


class Unmarked(TokenMark):
    """Has marks and does not say which."""

    def forward(self, batch, visual):
        encoded = super().forward(batch, visual)
        return EncodedRegions(encoded.text, encoded.visual)


class Sized(RegionEncoder):
    """Keeps a list as it is."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, batch, visual):
        raise NotImplementedError


class Forgetful(RegionEncoder):
    """Does not keep its option."""

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()

    def forward(self, batch, visual):
        raise NotImplementedError


class Polite(VideoRegionModule):
    """Says something first.

    Args:
        greeting: What it says.
        remarks: And what else.
        log: Where it is noted, in a training.
    """

    not_described = VideoRegionModule.not_described | {"log"}

    def __init__(
        self, *arguments: Any, greeting: str = "hello", remarks: Any = None, log: Any = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.log_to = log
        self.greeting = greeting
        self.remarks = remarks


class Stranger:
    pass


class Counted(RegionSource):
    """Asks how many regions there are, which is a task of its own.

    Args:
        count: Of samples.
    """

    def __init__(self, count: int = 2) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RegionSample:
        regions = tuple(Region.at(Box((0, 0, 4 + 4 * number, 8))) for number in range(index + 1))
        named = " ".join(f"<region{number}>" for number in range(index + 1))
        pixels = Pixels(np.zeros((1, 16, 16, 3), np.uint8))
        turn = Turn(f"How many are {named}?", str(index + 1))
        return RegionSample(f"{index}", pixels, regions, (turn,), task="count", meta={"right": index + 1})


class Distance(PredictionMetric):
    """How far the number that is said is from the right one.

    Args:
        unsaid: What counts where none is said.
    """

    def __init__(self, unsaid: float = 10.0) -> None:
        super().__init__()
        self.unsaid = unsaid

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        said = [(item.prediction, item.need("right")) for item in predictions]
        far = [abs(int(text) - right) if text.isdigit() else self.unsaid for text, right in said]
        return {"distance": Score.of(sum(far) / len(far), predictions, f"mean distance, {self.unsaid:g} where unsaid")}
'''


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder on the path with `own_regions.py`; the repository stays where it was."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "own_regions.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(Path(__file__).parents[2])
    yield
    sys.modules.pop("own_regions", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of our own classes."""
    folder = tmp_path_factory.mktemp("trained")
    train(fresh(folder), folder, 1, SAMPLES)
    return checkpoint_of(folder)


def checkpoint_of(folder: Path) -> Path:
    [path] = (folder / "checkpoints").glob("*.ckpt")
    return path


def test_fit_ask_and_export_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--config=experiments/quickstart.yaml", f"--config={write_small(tmp_path)}"]
    own = ["--model=own_regions.Polite", "--model.greeting=good day", "--model.region_encoder=own_regions.Area"]
    place = [f"--run.root={tmp_path}", "--run.experiment=e", "--run.name=n", "--trainer.logger=false"]
    cli.main(["fit", *files, *own, "--model.region_encoder.hidden=3", "--model.region_encoder.powers=[1,3]", *place])
    checkpoint = tmp_path / "e" / "n" / "checkpoints" / "last.ckpt"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "black.png")
    asked = [f"--image={tmp_path}/black.png", "--box=0,0,9,9", "--question=what is <region>"]
    cli.main(["export", f"--ckpt_path={checkpoint}", f"--to={tmp_path}/exported", "--framework_only"])
    capsys.readouterr()
    for path in (checkpoint, tmp_path / "exported"):
        cli.main(["ask", f"--ckpt_path={path}", *asked])
        module = load(path)
        assert type(module).__qualname__ == "Polite" and module.greeting == "good day"
        assert module.region_encoder.plain() == {
            "class_path": "own_regions.Area",
            "init_args": {"hidden": 3, "powers": [1, 3]},
        }
    first, second = capsys.readouterr().out.split("what is <region>\n")[1:]
    assert first == second


@pytest.mark.slow
def test_a_task_of_ones_own_from_fit_to_score(tmp_path: Path) -> None:
    """Regression: its name was refused wherever one is read, and its metric took the place of all others."""
    source = {"class_path": "own_regions.Counted", "init_args": {"count": 3}}
    metric = {"class_path": "own_regions.Distance", "init_args": {"unsaid": 7.0}}
    evaluation = {"class_path": "metrics.Evaluation", "init_args": {"metrics": {"count": metric}}}
    model = {"base": {"architecture": ARCHITECTURE, "tokenizer": "bytes"}, "prompt": "plain", "max_new_tokens": 1}
    splits = {split: {"own": source} for split in ("train", "val", "test", "predict")}
    document = {
        "model": {
            "class_path": "lightning_modules.VideoRegionModule",
            "init_args": {**model, "region_encoder": "own_regions.Area", "evaluation": evaluation},
        },
        "data": {
            "class_path": "datamodules.VideoRegionDataModule",
            "init_args": {**splits, "num_workers": 0, "batch_size": 2},
        },
        "trainer": {"max_steps": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        "run": {"root": str(tmp_path), "experiment": "e", "name": "n", "pictures": 0},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))
    run = [f"--config={tmp_path}/run.yaml"]
    cli.main(["fit", *run, "--trainer.val_check_interval=1"])
    folder = tmp_path / "e" / "n"
    for command in ("validate", "test", "predict"):
        cli.main([command, *run, "--ckpt_path=last"])
    results = json.loads((folder / "results.json").read_text())
    [scored] = results["results"]
    assert results["split"] == "test"
    assert (scored["metric"], scored["n"], scored["protocol"]) == ("count/distance", 3, "mean distance, 7 where unsaid")
    assert (folder / "predictions-predict.jsonl").read_text().count('"task": "count"') == 3
    saved = f"--predictions={folder}/predictions.jsonl"
    own = "{class_path: own_regions.Distance, init_args: {unsaid: 7}}"
    cli.main(["score", saved, f"--metric=count={own}", f"--output={tmp_path}/again.json"])
    assert json.loads((tmp_path / "again.json").read_text())["results"] == [scored]


def test_a_task_of_ones_own_in_saved_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [Prediction(text, "count", "", "", text, ("2",), meta={"right": 2}) for text in ("2", "5", "many")]
    said.append(Prediction("a", "answer", "", "", "yes", ("yes",)))
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(f"{prediction.to_json()}\n" for prediction in said))
    cli.main(
        ["score", f"--predictions={path}", "--metric=count=own_regions.Distance", f"--output={tmp_path}/scores.json"]
    )
    scored = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert {item["metric"]: item["value"] for item in scored} == {
        "answer/accuracy": 1.0,
        "count/distance": pytest.approx(13 / 3),
    }
    for options, said_of in (
        ([], "sample '2': no metric for task 'count'; there are ['answer'"),
        (["--benchmark=pope", "--metric=count=own_regions.Distance"], "metrics of count beside the benchmark pope"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["score", f"--predictions={path}", *options])
        assert said_of in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("count", "--metric count: a task, '=' and a class path are needed"),
        ("count={", "--metric count={: not YAML behind the task"),
        ("count=own_regions.Gone", "there is no class own_regions.Gone"),
        ("count=own_regions.Stranger", "own_regions.Stranger is no PredictionMetric"),
        ("count={class_path: own_regions.Distance, init_args: {x: 1}}", "own_regions.Distance cannot be made"),
        ("count={class: own_regions.Distance}", "a PredictionMetric is class_path and init_args, not"),
    ],
)
def test_a_metric_that_cannot_score(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["score", "--predictions=gone.jsonl", f"--metric={given}"])
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_it_answers_the_same_after_export_and_again(tmp_path: Path) -> None:
    """A checkpoint, its export, and the export's export; with marks of one's own, which the guide head follows."""
    from own_regions import FaintMark, Polite

    module = fresh(
        tmp_path,
        kind=Polite,
        region_encoder=FaintMark(0.25, num_marks=8, mark_dim=8),
        remarks={"a": (1,)},
        log=tmp_path,
    )
    train(module, tmp_path, 2, SAMPLES)
    module.eval()
    batch = make_batch(module, *SAMPLES)
    assert module.backbone.guide is not None
    once = export(checkpoint_of(tmp_path), tmp_path / "once", framework_only=True)
    twice = export(once, tmp_path / "twice", framework_only=True)
    for path in (checkpoint_of(tmp_path), once, twice):
        again = load(path)
        assert again.options == module.options
        assert again.options["remarks"] == {"a": [1]}
        assert again.answer(batch).predictions == module.answer(batch).predictions
    description = json.loads((twice / "regions.json").read_text())
    assert description["class"] == "own_regions.Polite"
    assert description["options"]["region_encoder"] == {
        "class_path": "own_regions.FaintMark",
        "init_args": {"strength": 0.25, "num_marks": 8, "mark_dim": 8, "scale": None},
    }


def test_our_own_classes_are_named_as_configurations_name_them(tmp_path: Path) -> None:
    """So files of this repository may move, and a checkpoint is loaded all the same."""
    described = tiny_module(tmp_path).describe()
    assert described["class"] == "lightning_modules.VideoRegionModule"
    assert described["options"]["region_encoder"]["class_path"] == "lightning_modules.TokenMark"


def test_what_a_training_alone_needs_is_not_carried(tmp_path: Path) -> None:
    described = tiny_module(tmp_path).options
    assert set(described) == {
        *("region_encoder", "guide_weight", "prompt", "max_length", "quantise", "lora", "max_new_tokens")
    }


def test_one_encoder_serves_two_modules(tmp_path: Path) -> None:
    """Regression in the making: a default is one object for all modules, and none may find another's weights in it."""
    encoder = marks()
    one, two = (tiny_module(tmp_path, seed=seed, region_encoder=encoder) for seed in (0, 1))
    assert not list(encoder.parameters())
    weights = [dict(module.backbone.region_encoder.named_parameters()) for module in (one, two)]
    assert all(not torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    base = BaseModel(architecture=ARCHITECTURE)
    defaults = [VideoRegionModule(base).region_encoder for _ in range(2)]
    assert defaults[0] == defaults[1] == ClassSpec(TokenMark, {"num_marks": 100, "mark_dim": 256, "scale": None})
    assert defaults[0].make() is not defaults[0].make()


def test_lists_among_the_options_are_not_shared_either() -> None:
    from own_regions import Sized

    sizes = [1, 2]
    spec = ClassSpec.of(Sized(sizes))
    sizes.append(3)
    spec.make().sizes.append(4)
    assert spec.make().sizes == [1, 2]


def test_a_copy_of_a_module_makes_weights_of_its_own() -> None:
    """As planning does: on the meta device, and once more."""
    base = BaseModel(architecture={**ARCHITECTURE, "text_config": {**ARCHITECTURE["text_config"], "vocab_size": 300}})
    module = VideoRegionModule(base, RoiFeature("frame"))
    one, two = (assembled(copy.deepcopy(module)).backbone.region_encoder for _ in range(2))
    assert one is not two
    assert {weight.device.type for weight in one.parameters()} == {"meta"}
    assert [weight.shape for weight in one.parameters()] == [(32, 32), (32,)]


# --- refused --------------------------------------------------------------------------------------------------------


def test_more_regions_than_an_encoder_of_ones_own_has_marks(tmp_path: Path) -> None:
    from own_regions import FaintMark

    module = tiny_module(tmp_path, region_encoder=FaintMark(num_marks=2, mark_dim=8))
    boxes = ((0, 0, 4, 4), (4, 4, 8, 8), (8, 8, 12, 12))
    with pytest.raises(DataError, match="'busy': 3 regions, but the model has 2 marks"):
        module.backbone(make_batch(module, sample(name="busy", boxes=boxes, question="<region0>")))


def test_a_guide_head_needs_to_know_the_marks(tmp_path: Path) -> None:
    """It would learn nothing, in silence."""
    from own_regions import Unmarked

    module = tiny_module(tmp_path, region_encoder=Unmarked(8, 8))
    with pytest.raises(DataError, match="Unmarked has 8 marks for the guide head, but does not say which it has drawn"):
        module.backbone(make_batch(module, sample()))


def test_an_option_that_is_not_kept(tmp_path: Path) -> None:
    from own_regions import Forgetful

    with pytest.raises(DataError, match=r"own_regions.Forgetful has to keep the argument 'hidden' of its constructor"):
        VideoRegionModule(BaseModel(architecture=ARCHITECTURE), Forgetful())


def test_an_option_that_no_checkpoint_can_carry_is_refused_before_training(tmp_path: Path) -> None:
    from own_regions import Polite

    with pytest.raises(DataError, match=r"own_regions.Polite: remarks is PosixPath, but a checkpoint keeps text"):
        tiny_module(tmp_path, Polite, remarks=[tmp_path])


def test_a_class_that_nobody_can_import(tmp_path: Path) -> None:
    class Hidden(TokenMark):
        pass

    with pytest.raises(DataError, match=r"<locals>\.Hidden cannot be imported: a class has to be defined in a module"):
        VideoRegionModule(BaseModel(architecture=ARCHITECTURE), Hidden())


@pytest.mark.parametrize("value", [np.float64(0.5), {1: 2}, torch.tensor(1.0), {"a": object()}])
def test_what_is_nearly_plain(value: object) -> None:
    """Regression in the making: numpy's floats are floats to Python, and `torch.load` refuses them."""
    from own_regions import Area

    with pytest.raises(DataError, match=r"own_regions.Area: hidden is \w+, but a checkpoint keeps text, numbers"):
        ClassSpec.of(Area(hidden=value))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone_regions.Area", "there is no class gone_regions.Area: No module named 'gone_regions'"),
        ("own_regions.Volume", "there is no class own_regions.Volume: module 'own_regions' has no attribute 'Volume'"),
        ("own_regions.Stranger", "own_regions.Stranger is no RegionEncoder"),
        ("os.getcwd", "os.getcwd is no RegionEncoder"),
        ("own_regions.Forgetful", r"own_regions.Forgetful cannot be made: .*unexpected keyword argument 'num_marks'"),
    ],
)
def test_a_description_of_another_class(trained: Path, tmp_path: Path, path: str, message: str) -> None:
    """One line that names the file, whatever is wrong with what stands there."""
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["region_model"]["options"]["region_encoder"]["class_path"] = path
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path / "changed.ckpt")
    assert "changed.ckpt" in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "VideoRegionModule"}, "there is no class VideoRegionModule"),
        ({"class": "lightning_modules.TokenMark"}, "lightning_modules.TokenMark is no RegionModule"),
        (
            {"options": {"region_encoder": "token_mark"}},
            "a RegionEncoder is class_path and init_args, not 'token_mark'",
        ),
    ],
)
def test_a_description_in_another_form(trained: Path, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    """As checkpoints had it before classes were named by what they are imported by."""
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["region_model"] |= changes
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "changed.ckpt")
