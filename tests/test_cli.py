"""The command line: every configuration is parsed and run, every bad input is one line and exit code 2."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning import Trainer
from PIL import Image
from test_coco_instances import write_coco

import cli
from helpers import ARCHITECTURE, tokenizer_folder
from lightning_modules import FullySharded, TokenMark, TokenMarkBackbone
from lightning_modules.bases.llava import Llava, SquareVision
from lightning_modules.bases.loading import build

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in data set, four scenes of each kind and split."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    cli.main(["shapes", "--to", str(folder), "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    return folder


@pytest.fixture(scope="module")
def fragment(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What shrinks a configuration to the test's scale: two steps of two samples, and no second process."""
    files = {"root": str(shapes), "val_scenes": 4, "test_scenes": 4, "workers": 1}
    stage = {"trainer": {"max_steps": 2}, "run": {"pictures": 1}}
    stage["data"] = {"init_args": {"epoch_size": 4, "batch_size": 2, "num_workers": 0}}  # type: ignore[dict-item]  # a tree
    stage["model"] = {"init_args": {"base": {"tokenizer": f"{shapes}/tokenizer"}}}  # type: ignore[dict-item]  # a tree
    for split in ("val", "test"):
        stage["data"]["init_args"][split] = {"shapes": {"init_args": files}}  # type: ignore[index]  # a tree
    path = tmp_path_factory.mktemp("fragments") / "small.yaml"
    path.write_text(yaml.safe_dump(stage))
    return str(path)


def tiny_base(folder: Path) -> dict[str, Any]:
    return {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(folder / "tokenizer"), "checkpoint": None}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {item["metric"]: item for item in json.loads((folder / "results.json").read_text())["results"]}


@pytest.mark.long
def test_quickstart_runs_fit_validate_test_predict_and_ask(
    fragment: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both stages through every command, `--ckpt_path last` included."""
    image = ["--config", "experiments/quickstart.yaml"]
    video = [*image, "--config", "experiments/quickstart_video.yaml"]
    root = f"--run.root={tmp_path}"
    start = f"--model.init_from={tmp_path}/quickstart/image/checkpoints/last.ckpt"
    cli.main(["fit", *image, "--config", fragment, root])
    cli.main(["fit", *video, "--config", fragment, root, start])
    for command in ("validate", "test", "predict"):
        cli.main([command, *video, "--config", fragment, root, start, "--ckpt_path=last"])
    folder = tmp_path / "quickstart" / "video"
    printed = capsys.readouterr().out
    assert "likelihood" in printed
    cli.main(["test", *video, "--config", fragment, root, start, "--ckpt_path=last"])
    scored = results(folder)
    assert scored["answer/moves/accuracy"]["n"] == 4
    assert scored["refer/accuracy"]["protocol"]
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["id"] for line in lines}) == 4 * 9
    assert len({line["cluster"] for line in lines}) == 4  # scenes
    picture = sorted((shapes / "image" / "test").glob("*.jpg"))[0]
    drawn = tmp_path / "asked.png"
    boxes = ["--box", "2,2,12,12", "--box", "14,2,30,12"]
    questions = ["--question", "what is <region0>", "--question", "and <region1> ?"]
    checkpoint = f"--ckpt_path={folder}/checkpoints/last.ckpt"
    cli.main(["ask", checkpoint, "--image", str(picture), *boxes, *questions, "--draw", str(drawn)])
    asked = capsys.readouterr().out
    assert "what is <region0>\n" in asked and "and <region1> ?\n" in asked
    assert Image.open(drawn).size > (100, 100)


@pytest.mark.long
def test_quickstart_sets_the_control_beside_it(
    fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both stages twice, four tests, one table; where the pictures and MLflow's page are."""
    cli.main(["quickstart", "--root", str(tmp_path), "--seed", "3", "--config", fragment])
    printed = capsys.readouterr().out
    table = printed[printed.index("What was learnt, seed 3") :]
    assert "no region" in table and "direction of motion" in table and "mlflow" in table
    for name in ("image-seed3", "image-control-seed3", "video-seed3", "video-control-seed3"):
        assert (tmp_path / "quickstart" / name / "results.json").is_file()
    assert "guide/accuracy" not in results(tmp_path / "quickstart" / "video-control-seed3")


SMALL = ["--trainer.max_steps=2", "--data.num_workers=0", "--data.batch_size=2", "--data.epoch_size=4"]


def test_coco_regions_runs(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco")
    options = ["--config=experiments/coco_regions.yaml", f"--vars.root={tmp_path}/coco", f"--run.root={tmp_path}"]
    cli.main(["fit", *options, *SMALL])
    cli.main(["test", *options, "--data.num_workers=0", "--ckpt_path=last"])
    scored = results(tmp_path / "coco_regions" / "token_mark")
    assert {f"classify/{name}" for name in ("accuracy", "balanced_accuracy", "map")} <= set(scored)
    assert scored["classify/accuracy"]["n"] == 8


def test_own_images_and_videos_run(shapes: Path, tmp_path: Path) -> None:
    """One file of both; what it trains answers."""
    records = []
    for kind, name in (("image", "image"), ("video", "video")):
        for line in (shapes / kind / "test.jsonl").read_text().splitlines()[:2]:
            record = json.loads(line)
            records.append({**record, name: str(shapes / kind / record[name])})
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    options = ["--config=experiments/region_jsonl.yaml", f"--vars.train={file}", f"--vars.val={file}"]
    options.append(f"--run.root={tmp_path}")
    cli.main(["fit", *options, *SMALL])
    cli.main(["test", *options, "--data.num_workers=0", "--ckpt_path=last"])
    folder = tmp_path / "region_jsonl" / "token_mark"
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == len(records)


@pytest.mark.parametrize("size", ["7b", "13b"])
def test_the_stages_of_the_paper_run_with_a_small_model(size: str, shapes: Path, tmp_path: Path) -> None:
    """pretrain and finetune with a model fragment of the paper, whose base alone is exchanged."""
    model = ["--config", f"experiments/models/llava-1.5-{size}.yaml", "--model.base.dtype=float32"]
    model += [f"--model.base={json.dumps(tiny_base(tmp_path))}", "--trainer.accelerator=cpu"]
    common = [f"--run.root={tmp_path}", "--trainer.limit_val_batches=1", "--model.max_new_tokens=3", *SMALL]
    images, videos = (str(shapes / kind / "test.jsonl") for kind in ("image", "video"))
    common += ["--trainer.val_check_interval=1.0"]
    first = [f"--vars.train={images}", f"--vars.val={images}"]
    cli.main(["fit", "--config=experiments/pretrain.yaml", *model, *common, *first])
    second = [f"--vars.images={images}", f"--vars.videos={videos}", f"--vars.val={videos}"]
    second += [f"--model.init_from={tmp_path}/omni_rgpt/pretrain/checkpoints/last.ckpt"]
    cli.main(["fit", "--config=experiments/finetune.yaml", *model, *common, *second])
    assert (tmp_path / "omni_rgpt" / "finetune" / "checkpoints" / "last.ckpt").is_file()


def test_every_configuration_is_run_by_a_test() -> None:
    """A new file has to be added to a test that runs it."""
    run = {"quickstart.yaml", "quickstart_video.yaml", "coco_regions.yaml", "pretrain.yaml", "finetune.yaml"}
    run |= {path.name for path in (EXPERIMENTS / "models").glob("*.yaml")}  # tests/experiments/test_models.py
    run |= {path.name for path in (EXPERIMENTS / "tables").glob("*.yaml")}  # tests/experiments/test_tables.py
    run |= {path.name for path in (EXPERIMENTS / "strategies").glob("*.yaml")}  # tests/test_strategies.py
    run |= {path.name for path in (EXPERIMENTS / "regvid").glob("*.yaml")}  # tests/datamodules/regvid
    run |= {path.name for path in (EXPERIMENTS / "ablations").rglob("*.yaml")}  # tests/experiments/test_ablations.py
    run |= {"region_jsonl.yaml"}
    run |= {path.name for path in (EXPERIMENTS / "judged").glob("*.yaml")}  # tests/experiments/test_judged.py
    run |= {"shapes_base.yaml"}  # tests/experiments/test_shapes_base.py
    run |= {"real_language.yaml", "real_language_tower.yaml"}  # tests/experiments/test_real_language.py
    others = EXPERIMENTS / "lmms_eval"  # tasks of another program, tests/experiments/test_lmms_eval.py
    found = {path for path in EXPERIMENTS.rglob("*.yaml") if "stand_ins" not in path.parts}  # prompts
    assert {path.name for path in found if not path.is_relative_to(others)} == run


def test_hybrid_sharding_needs_equal_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = yaml.safe_load((EXPERIMENTS / "strategies" / "hybrid.yaml").read_text())["trainer"]
    strategy = FullySharded(**options["strategy"]["init_args"])
    assert (strategy.replicas, options["num_nodes"]) == (8, 8)
    with pytest.raises(ValueError, match="1 processes cannot hold 8 replicas"):
        Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False).strategy.setup_environment()


COMMANDS = [
    " ".join(command.split())
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    for command in block.replace("\\\n", " ").splitlines()
    if " cli.py fit " in command and "..." not in command
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_readme_are_parsed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that train, up to the configuration that they make."""
    arguments = shlex.split(command[command.index(" cli.py ") :], comments=True)[1:]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]


@pytest.mark.parametrize(("size", "parameters"), [("7b", 7_063_427_072), ("13b", 13_351_494_656)])
def test_the_papers_models_have_the_right_number_of_parameters(size: str, parameters: int) -> None:
    """LLaVA-1.5's published counts, on the meta device; marks, projection and guide head on top by hand."""
    options = yaml.safe_load((EXPERIMENTS / "models" / f"llava-1.5-{size}.yaml").read_text())["model"]["init_args"]
    with torch.device("meta"):
        base = Llava(build(options["base"]["architecture"], dtype="bfloat16"))
        model = TokenMarkBackbone(base, SquareVision(336, 14), TokenMark())
    assert sum(weight.numel() for weight in base.model.parameters()) == parameters
    added = 100 * 256 + 256 * base.width + (base.width + 1) * 101
    assert sum(weight.numel() for weight in model.parameters()) == parameters + added


def test_print_config_keeps_what_is_overridden(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(
            ["fit", "--config=experiments/quickstart.yaml", "--model.region_encoder.num_marks=7", "--print_config"]
        )
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["region_encoder"]["init_args"]["num_marks"] == 7


def test_a_key_deep_within_a_dictionary_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """All else of `text_config` was gone without a word: a model of 7B was trained in place of the small one."""
    written = yaml.safe_load((EXPERIMENTS / "shapes_base.yaml").read_text())["model"]["init_args"]["base"]
    expected = written["architecture"]
    expected["text_config"]["num_hidden_layers"] = 2
    expected["text_config"]["rope_parameters"]["rope_theta"] = 50.0
    text = "--model.base.architecture.text_config"
    changed = [f"{text}.num_hidden_layers=2", f"{text}.rope_parameters.rope_theta", "50.0"]
    with pytest.raises(SystemExit):
        cli.main(["fit", "--config=experiments/shapes_base.yaml", *changed, "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["base"]["architecture"] == expected


def test_help_imports_nothing_heavy() -> None:
    """`--help`, of a command of Lightning's too, and the list of commands need neither torch nor lightning."""
    heavy = {"torch", "lightning", "transformers"}
    program = "import sys, cli; [cli.main(asked) for asked in (['--help'], ['fit', '--help'])]"
    program += f"; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "usage: python cli.py COMMAND" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_the_help_of_a_training_says_where_the_options_of_model_and_data_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It had 577 lines, none of them about either; what Lightning lists is still there."""
    cli.main(["validate", "--help"])
    page = capsys.readouterr().out
    assert page.count("\n") < 40
    with pytest.raises(SystemExit) as stop:
        cli.main(["validate", "--help", "all"])
    assert stop.value.code == 0
    whole = capsys.readouterr().out
    for option in ("--model.help", "--data.help"):
        assert option in "\n".join(page.splitlines()[:20]) and option in whole
    of_page, of_lightning = (set(re.findall(r"^  (--run[\w.]+)", text, re.MULTILINE)) for text in (page, whole))
    assert of_page == of_lightning


def one_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def write_region_jsonl(path: Path, **change: Any) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path.with_name("a.png"))
    record = {
        "id": "first",
        "image": "a.png",
        "regions": [{"box": [1, 2, 10, 12]}],
        "conversation": [{"question": "what is <region>", "answer": "a cat"}],
    }
    path.write_text(json.dumps(record | change) + "\n")


BAD = [
    ({"image": "b.png"}, ["first", "b.png"]),
    ({"regions": [{"box": [1, 2, 40, 12]}]}, ["first", "[1.0, 2.0, 40.0, 12.0]", "width 30 and height 20"]),
    ({"regions": [{"box": [10, 2, 1, 12]}]}, ["first", "box"]),
    (
        {"regions": [{"box": [1, 2, 10, 12]}] * 9, "conversation": [{"question": "<region8>", "answer": "x"}]},
        ["9", "8"],
    ),
    ({"conversation": [{"question": "what is <region1>", "answer": "x"}]}, ["first", "<region1>", "1"]),
    ({"colour": "red"}, ["colour"]),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_bad_records_are_one_line(
    change: dict[str, Any], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, sample and both numbers; the model has 8 marks."""
    path = tmp_path / "bad.jsonl"
    write_region_jsonl(path, **change)
    base = f"--model.base={json.dumps(tiny_base(tmp_path) | {'dtype': 'float32'})}"
    line = one_line(
        capsys, "fit", "--config=experiments/pretrain.yaml", base, f"--vars.train={path}", f"--vars.val={path}",
        f"--run.root={tmp_path}", "--data.batch_size=1", "--data.num_workers=0", "--trainer.accelerator=cpu",
        "--model.region_encoder.num_marks=8", "--model.prompt=plain", "--trainer.val_check_interval=1.0",
    )  # fmt: skip
    assert line.startswith("error: ")
    assert "bad.jsonl" in line
    for words in said:
        assert words in line


@pytest.mark.long
def test_an_error_in_a_worker_is_one_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    write_region_jsonl(path, image="gone.png")
    base = f"--model.base={json.dumps(tiny_base(tmp_path) | {'dtype': 'float32'})}"
    line = one_line(
        capsys, "fit", "--config=experiments/pretrain.yaml", base, f"--vars.train={path}", f"--vars.val={path}",
        f"--run.root={tmp_path}", "--data.batch_size=1", "--data.num_workers=1", "--trainer.accelerator=cpu",
        "--model.prompt=plain", "--trainer.val_check_interval=1.0",
    )  # fmt: skip
    assert line.startswith("error: ") and "gone.png" in line and "Traceback" not in line


def test_wrong_json_names_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    write_region_jsonl(path)
    path.write_text(path.read_text() + "{not json\n")
    base = f"--model.base={json.dumps(tiny_base(tmp_path) | {'dtype': 'float32'})}"
    line = one_line(
        capsys, "validate", "--config=experiments/pretrain.yaml", base, f"--vars.train={path}", f"--vars.val={path}",
        f"--run.root={tmp_path}", "--data.num_workers=0", "--trainer.accelerator=cpu", "--model.prompt=plain",
    )  # fmt: skip
    assert "bad.jsonl:2" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "--config=experiments/quickstart.yaml", "--model.num_mark=3"], "num_mark"),
        (["train"], "shapes"),
        (["ask", "--ckpt_path=nowhere.ckpt", "--image=README.md", "--question=what"], "nowhere.ckpt"),
        (["ask", "--ckpt_path=x", "--image=x.png", "--box=1,2,3", "--question=what"], "--box 1,2,3: four numbers"),
        (["ask", "--ckpt_path=x", "--image=x.png", "--mask=y.png", "--question=what"], "y.png"),
        (
            ["ask", "--ckpt_path=x", "--image=x.png", "--question=what", "--draw=nowhere/a.png"],
            "no such folder: nowhere",
        ),
        (["ask", "--ckpt_path=x", "--image=x.png", "--question=what", "--draw=a.txt"], "--draw a.txt"),
    ],
)
def test_bad_arguments_exit_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.token_budget=10"], "micro_batch_size 1 and token_budget 10: a step is split by one"),
        (["--model.base.dtype=foo"], "base.dtype is 'foo'; it takes float32, bfloat16, float16"),
    ],
)
def test_what_a_constructor_refuses_is_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parser says it again as an error of its own, which was a traceback of a hundred lines."""
    variables = [f"--vars.{name}=x.jsonl" for name in ("images", "videos", "val")]
    assert one_line(capsys, "fit", "--config=experiments/finetune.yaml", *variables, *options) == f"error: {said}"


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.ckpt"):
        cli.main(["ask", "--ckpt_path=nowhere.ckpt", "--image=README.md", "--question=what", "--debug"])
