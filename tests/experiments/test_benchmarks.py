"""The benchmark scripts run, and both ways that each of them compares come to the same results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.errors import DataError
from experiments.benchmarks import (
    caption_scores,
    generation,
    gpu_7b,
    loader,
    option_scoring,
    region_cost,
    serving,
    startup,
    training_step,
)
from experiments.benchmarks.fresh_process import FailedProcessError, in_fresh_process
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_batch, make_module, training_loss
from experiments.benchmarks.peak_memory import PeakMemory
from experiments.benchmarks.timing import Paired, in_turn
from lightning_modules.bases.loading import build
from lightning_modules.planning.step import Step
from lightning_modules.region_module import RegionModule
from lightning_modules.training.losses import step_counts


@pytest.fixture(scope="module")
def module() -> RegionModule:
    return make_module(TINY, "cpu")


def test_option_scoring_compares_equal_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_scoring, "SIDE", 56)
    module = option_scoring.make_model(width=32, layers=2)
    together, apart = option_scoring.make_batches(module, option_scoring.OPTIONS)
    assert len(apart) == 5
    assert option_scoring.shared(module, together) == pytest.approx(option_scoring.in_full(module, apart), abs=1e-3)
    line = option_scoring.compare(module, 4, repeats=1)
    assert line.startswith("4 options, 32 visual tokens: in full takes ")


# --- what they share ------------------------------------------------------------------------------------------------


def test_ratio_is_that_of_the_medians_and_its_interval_draws_pairs() -> None:
    assert Paired((2, 40, 6), (1, 2, 4)).ratio == 3
    steady = Paired((2, 4, 6, 8), (1, 2, 3, 4))
    assert steady.interval == (2, 2)  # every pair has the same ratio, whatever slows the machine
    low, high = Paired((1.0, 1.2, 0.9, 1.1), (1.0, 1.0, 1.0, 1.0)).interval
    assert 0.9 <= low < 1.05 < high <= 1.2


def test_ways_are_run_in_turn_and_the_first_to_go_alternates() -> None:
    ran: list[str] = []

    def slow() -> None:
        time.sleep(0.02)
        ran.append("a")

    paired = in_turn(slow, partial(ran.append, "b"), repeats=3)
    assert "".join(ran) == "ab" + "ab" + "ba" + "ab"
    assert min(paired.first) > 0.02 > max(paired.second)


def test_table_is_markdown() -> None:
    assert table(("model", "ratio"), [["tiny", "1.5"]]) == "| model | ratio |\n| ----- | ----: |\n| tiny  |   1.5 |\n"
    with pytest.raises(ValueError, match="shorter"):
        table(("model", "ratio"), [["tiny"]])


def test_fresh_process_returns_a_value_or_says_why_there_is_none() -> None:
    assert in_fresh_process(partial(int, "7")) == 7
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(FailedProcessError, match=r"^ValueError: invalid literal"):
        in_fresh_process(partial(int, "seven"))
    with pytest.raises(FailedProcessError, match=r"^ended with exit code 3$"):
        in_fresh_process(partial(os._exit, 3))
    with pytest.raises(FailedProcessError, match=r"^over 0\.5 s$"):
        in_fresh_process(partial(time.sleep, 60), limit=0.5)


def test_peak_memory_remembers_what_is_gone() -> None:
    memory = PeakMemory("cpu")
    torch.ones(2**24)  # 64 MiB, freed at once
    assert memory.grown() > 2**26 * 0.9


def test_batch_has_as_many_tokens_as_the_step_says_whatever_its_regions(module: RegionModule) -> None:
    for regions in (0, 1, 4, 16):
        batch = make_batch(module, Step(2, frames=3, text_tokens=200, answer_tokens=60, regions=regions))
        assert batch.input_ids.shape == (2, 3 * 4 + 200)
        assert batch.attention_mask.all()
        assert (batch.supervised // batch.input_ids.shape[1]).bincount().tolist() == [60, 60]
        assert batch.region_counts.tolist() == [regions, regions]
        assert bool(batch.guide_known.all()) is (regions > 0)


def test_loss_is_that_of_the_training_step(module: RegionModule) -> None:
    batch = make_batch(module, Step(3, frames=2, text_tokens=120, answer_tokens=20, regions=2))
    assert torch.equal(training_loss(module, batch), module._shares(batch, step_counts([batch]))[0])


def test_the_fixed_shape_has_120_million_weights() -> None:
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in build(MIDDLE).parameters())
    assert weights == 121_512_192


# --- one script each ------------------------------------------------------------------------------------------------


def at_once(function: Callable[[], Any], limit: float | None = None) -> Any:
    """In place of a process of its own, which takes seconds to import what is needed."""
    return function()


def test_training_step_compares_equal_losses(
    module: RegionModule, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_step, "in_fresh_process", at_once)
    monkeypatch.setattr(training_step, "give_back_at_once", lambda: None)  # the tests' own process goes on
    training_step.main(["--tiny", "--frames", "2", "--repeats", "2", "--samples", "2"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    assert cells[1] == "8"
    assert float(cells[6]) < 1e-5  # after two steps of both optimisers


def test_peer_has_the_same_weights_that_learn() -> None:
    module = make_module(TINY, "meta")
    ours = {name for name, weight in module.backbone.model.named_parameters() if weight.requires_grad}
    theirs = {
        name for name, weight in training_step.make_peer(module, "meta").named_parameters() if weight.requires_grad
    }
    assert ours == theirs
    assert not any("vision_tower" in name for name in theirs)


@pytest.mark.parametrize("regions", [1, 4])
def test_region_cost_compares_equal_marks(regions: int) -> None:
    spatial = region_cost.SpatialMarks.random(regions, side=28, grid=2, width=8, device="cpu")
    (values, gradient), (canvas, of_canvas) = map(
        spatial.trained, (lambda: spatial.ours(spatial.weights()), spatial.canvas)
    )
    assert values.shape == (4, 8)
    torch.testing.assert_close(values, canvas)
    torch.testing.assert_close(gradient, of_canvas)


def test_region_cost_prints_a_row_for_each_count(capsys: pytest.CaptureFixture[str]) -> None:
    region_cost.main(["--tiny", "--regions", "1", "3", "--repeats", "1"])
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line]
    assert rows == ["regions", "-------", "1", "3", "regions", "-------", "1", "3"]


def test_region_cost_compares_equal_weights_of_many_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_cost, "FRAME", (36, 64))
    frames, masks, *_, differ = region_cost.compare_masks(2, 3, repeats=1)
    assert (frames, masks) == ("2", "3")
    assert float(differ) < 1e-6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    loader.write_clip(path, width=160, height=96, frames=70)
    return path


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_loader_decodes_the_same_pixels_as_the_data_path(clip: Path, backend: Any) -> None:
    if backend == "decord":
        pytest.importorskip("decord")
    loader.check_pixels(clip, (0, 23, 46, 69), backend)
    with pytest.raises(DataError, match=r"frames \[0, 23, 46, 69\] are not the pictures"):
        loader.check_pixels(clip, (0, 23, 46, 68), backend)


def test_loader_reads_every_kind_of_regions(clip: Path) -> None:
    rows = loader.compare(clip, "pyav", samples=1, repeats=1, workers=())
    assert [row[:2] for row in rows] == [[kind, "0"] for kind in loader.KINDS]
    none, boxes, masks = (loader.make_regions(kind, (96, 160), (0, 23, 46, 69)) for kind in loader.KINDS)
    assert (len(none), len(boxes), len(masks)) == (0, 4, 4)
    assert list(boxes[0].track) == [0]
    assert list(masks[3].track) == [0, 23, 46, 69]


@pytest.mark.slow
def test_loader_runs_with_workers(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    loader.main(["--video", str(clip), "--samples", "2", "--repeats", "1", "--workers", "1"])
    torch.set_num_threads(threads)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4


def test_generation_compares_equal_texts(capsys: pytest.CaptureFixture[str]) -> None:
    generation.main(["--tiny", "--batch", "3", "--new-tokens", "4", "--repeats", "1"])
    assert "3 of 3" in capsys.readouterr().out


@pytest.mark.slow
def test_serving_loses_nothing_and_compares_equal_texts(capsys: pytest.CaptureFixture[str]) -> None:
    serving.main(["--models", "tiny", "--clients", "3", "--rounds", "1", "--new-tokens", "4", "--repeats", "1"])
    assert capsys.readouterr().out.count("12 of 12") == 2  # of either way, and of a first run that warms up


def test_generation_takes_the_model_of_the_quickstart() -> None:
    assert generation.yaml_architecture(generation.QUICKSTART)["text_config"]["hidden_size"] == 128


@pytest.mark.slow
def test_caption_scores_compares_equal_values(capsys: pytest.CaptureFixture[str]) -> None:
    caption_scores.main(["--pairs", "30", "--repeats", "1"])
    assert capsys.readouterr().out.count("equal") == 2


def test_captions_share_words_and_differ() -> None:
    hypotheses, references = caption_scores.make_captions(50)
    assert hypotheses == caption_scores.make_captions(50)[0]
    assert all(hypotheses[key] != texts[0] for key, texts in references.items() if len(hypotheses[key].split()) > 12)


def test_help_imports_nothing_heavy() -> None:
    assert startup.heavy_imports(["--help"]) == []


@pytest.mark.slow
def test_startup_prints_a_row_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    startup.main(["--repeats", "1"])
    assert [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[2:]] == [
        "cli.py --help",
        "cli.py fit --help",
    ]


# --- the 7B ---------------------------------------------------------------------------------------------------------


def setting(method: gpu_7b.Method, **changed: Any) -> gpu_7b.Setting:
    values = {"batch": 1, "compiled": False, "checkpointed": False, "steps": 1, "device": "cpu", "tiny": True}
    return gpu_7b.Setting(method, **{**values, **changed})


def test_gpu_7b_is_the_7b() -> None:
    module = setting("full", tiny=False, batch=2).without_weights()
    assert sum(weight.numel() for weight in module.backbone.model.parameters()) == pytest.approx(7.06e9, rel=1e-3)
    assert module.backbone.model.dtype is torch.bfloat16
    assert module.backbone.model.lm_head.weight.dtype is torch.float32  # it learns


def test_gpu_7b_checkpoints_layers() -> None:
    calls = {}
    for checkpointed in (False, True):
        prepared = gpu_7b.Prepared(setting("full", checkpointed=checkpointed))
        prepared.configure_model()
        seen: list[int] = []
        layer = prepared.backbone.base.decoder_layers[0]
        layer.self_attn.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        batch = make_batch(prepared, prepared.setting.load)
        with torch.autocast("cpu", torch.bfloat16):  # as the Trainer has it
            loss = training_loss(prepared, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        calls[checkpointed] = len(seen)
    assert calls == {False: 1, True: 2}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_gpu_7b_trains(method: gpu_7b.Method) -> None:
    rate, used, tokens, memory = gpu_7b.train(setting(method))
    assert float(rate) > 0 and used == "0.0 %" and not tokens and float(memory) >= 0


def test_gpu_7b_writes_what_fails_as_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: Callable[[], Any], limit: float | None = None) -> Any:
        if limit is None:
            return function()
        raise FailedProcessError("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(gpu_7b, "in_fresh_process", fail)
    output = tmp_path / "table.md"
    gpu_7b.main(
        ["--output", str(output), "--device", "cpu", "--tiny", "--batches", "1", "2", "--methods", "lora", "nf4"]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.read_text().splitlines()[4:]]
    assert [row[:4] for row in rows] == [
        *(["lora", batch, compiled, again] for compiled in ("no", "yes") for again in ("no", "yes") for batch in "12"),
        ["nf4", "1", "no", "no"],
        ["nf4", "2", "no", "no"],
    ]
    assert {row[4] for row in rows} == {"out of memory"}


@pytest.mark.slow
def test_gpu_7b_runs_every_method_in_its_own_process(tmp_path: Path) -> None:
    output = tmp_path / "table.md"
    options = ["--batches", "1", "--compiled", "off", "--checkpointed", "on", "--steps", "1"]
    gpu_7b.main(["--output", str(output), "--device", "cpu", "--tiny", *options])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.read_text().splitlines()[4:]]
    assert [row[0] for row in rows] == ["full", "lora", "sharded", "nf4"]
    assert all(float(row[4] or row[6]) > 0 for row in rows)
