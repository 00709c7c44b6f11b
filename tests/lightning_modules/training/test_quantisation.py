"""Language models in 4 and 8 bits and adapters beside them: arithmetic, training, checkpoints, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy
from test_region_module import SAMPLES, fresh, train
from torch import nn

from datamodules.errors import DataError
from helpers import ARCHITECTURE, make_batch, tokenizer_folder
from lightning_modules import BaseModel, LoraOptions, TokenMark, VideoRegionModule, load
from lightning_modules.checkpoints.loading import load_plain
from lightning_modules.training.combinations import check_options, check_strategy
from lightning_modules.training.lora import add_lora, merged
from lightning_modules.training.quantisation import Quantisation, dequantised, quantise
from lightning_modules.training.quantised_linear import Int8Linear, NF4Linear
from lightning_modules.training.sharding import FullySharded

LORA = LoraOptions(rank=64, alpha=64)  # its largest matrices have 4,096 weights, from which on AdamW8bit uses 8 bits
FROZEN = ("vision_tower", "language_model")
KINDS = [("nf4", NF4Linear), ("int8", Int8Linear)]
FORMS: list[dict[str, Any]] = [
    {"quantise": "nf4", "lora": LORA, "frozen": FROZEN, "optimizer": "adamw8bit"},
    {"quantise": "int8", "lora": LORA},
    {"quantise": "nf4", "frozen": FROZEN},
    {"lora": LORA, "frozen": FROZEN},
]


def name_of(options: dict[str, Any]) -> str:
    return "-".join(str(options[key]) for key in ("quantise", "optimizer") if key in options) + "-lora" * (
        "lora" in options
    )


def linear(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 96, bias=bias)


# the widest gap between two neighbours of nf4's 16 values is 0.304, between two of int8's 255 it is 1 / 127
@pytest.mark.parametrize(("kind", "layer", "gap"), [("nf4", NF4Linear, 0.304), ("int8", Int8Linear, 1 / 127)])
def test_a_quantised_weight_is_the_nearest_value(kind: str, layer: type[nn.Module], gap: float) -> None:
    """nf4 scales by the largest of 64 weights, here one row; int8 by the largest of a row, rounded to float16."""
    plain = linear()
    found = dequantised(layer(plain).state_dict(), torch.float32)["weight"]
    largest = plain.weight.abs().amax(1, keepdim=True)
    assert ((found - plain.weight).abs() <= gap / 2 * largest + 1e-4).all()
    assert ((found - plain.weight).abs() > gap / 8 * largest).any()


@pytest.mark.parametrize(("kind", "layer"), KINDS)
def test_a_quantised_layer_multiplies_by_what_its_weights_stand_for(kind: str, layer: type[nn.Module]) -> None:
    """Output and gradient of the input; the layer's own weights get none."""
    quantised, plain = layer(linear()), linear()
    plain.load_state_dict(dequantised(quantised.state_dict(), torch.float32))
    x = torch.randn(2, 5, 64, requires_grad=True)
    (theirs,) = torch.autograd.grad(plain(x).square().sum(), x)
    (ours,) = torch.autograd.grad(quantised(x).square().sum(), x)
    torch.testing.assert_close(quantised(x), plain(x))
    torch.testing.assert_close(ours, theirs)
    assert not quantised.weight.requires_grad


@pytest.mark.parametrize(("kind", "layer"), KINDS)
def test_a_quantised_layer_loads_another_ones_state(kind: str, layer: type[nn.Module]) -> None:
    """After a pass too, in which bitsandbytes keeps references of its own."""
    first, second = layer(linear()), layer(nn.Linear(64, 96))
    x = torch.randn(3, 64)
    second.eval()(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(x), first.eval()(x))


@pytest.mark.parametrize(("kind", "layer"), KINDS)
def test_a_change_of_type_leaves_quantised_weights_alone(kind: str, layer: type[nn.Module]) -> None:
    """The bias alone changes."""
    quantised = layer(linear())
    before = dequantised(quantised.state_dict(), torch.float32)["weight"]
    quantised.to(torch.bfloat16)
    assert torch.equal(dequantised(quantised.state_dict(), torch.float32)["weight"], before)
    assert quantised.bias.dtype == quantised(torch.randn(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "layer"), KINDS)
def test_the_shape_of_a_quantised_layer_costs_nothing(kind: Quantisation, layer: type[nn.Module]) -> None:
    """On the meta device, as a plan counts it: a byte for two weights, or for one."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(64, 96, bias=False))
    quantise(model, kind)
    assert model[0].weight.numel() * model[0].weight.itemsize == 64 * 96 // (2 if kind == "nf4" else 1)
    assert model[0].weight.is_meta


def test_a_row_that_does_not_fill_its_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="two weights of a row into a byte, but a layer's rows have 63"):
        NF4Linear(nn.Linear(63, 64))


@pytest.mark.parametrize(("kind", "dtype"), [("nf4", torch.uint8), ("int8", torch.int8)])
def test_only_the_language_models_layers_are_quantised(tmp_path: Path, kind: Quantisation, dtype: torch.dtype) -> None:
    """All seven of each block; not its head, the projector, the vision tower, marks or guide head."""
    module = fresh(tmp_path, quantise=kind, frozen=FROZEN)
    small = {name for name, weight in module.named_parameters() if weight.dtype == dtype}
    language = module.backbone.model.model.language_model
    layers = {name for name, layer in language.named_modules() if isinstance(layer, nn.Linear)}
    assert len(layers) == 2 * 7
    assert small == {f"backbone.model.model.language_model.{name}.weight" for name in layers}


def test_a_bfloat16_base_learns_in_float32(tmp_path: Path) -> None:
    """Adapters and what stands beside the language model; answers and losses come through the mixed types."""
    base = BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer_folder(tmp_path), dtype="bfloat16")
    module = VideoRegionModule(base=base, region_encoder=TokenMark(8), prompt="plain", max_new_tokens=3, **FORMS[0])
    module.configure_model()
    batch = make_batch(module, *SAMPLES)
    output = module.backbone(batch)
    assert output.guide_logits is not None
    (output.logits.float().square().sum() + output.guide_logits.square().sum()).backward()
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in learning} == {torch.float32}
    assert all(weight.grad is not None for weight in learning)
    assert module.backbone.model.dtype == torch.bfloat16
    assert len(module.eval().answer(batch).predictions) == len(SAMPLES)


@pytest.mark.parametrize("options", FORMS, ids=name_of)
def test_fit_answer_save_and_resume(tmp_path: Path, options: dict[str, Any]) -> None:
    """Losses fall; a checkpoint answers alike on its own; resumed after 4 of 9 steps, losses are equal bit for bit."""
    saved = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=4, save_top_k=-1, filename="{step}")
    module = fresh(tmp_path / "a", **options)
    whole = train(module, tmp_path / "first", 9, SAMPLES, callbacks=[saved])
    assert min(whole[-3:]) < whole[0] - 1
    again = load(tmp_path / "saved" / "step=8.ckpt")
    resumed = fresh(tmp_path / "b", seed=5, **options)
    losses = train(resumed, tmp_path / "second", 9, SAMPLES, ckpt_path=tmp_path / "saved" / "step=4.ckpt")
    assert losses == whole[4:]
    assert all(torch.equal(weight, resumed.state_dict()[name]) for name, weight in module.state_dict().items())
    assert again.state_dict().keys() == module.state_dict().keys()
    answered = load(next((tmp_path / "second" / "checkpoints").glob("*.ckpt")))
    batch = make_batch(module, *SAMPLES)
    assert answered.answer(batch).predictions == module.eval().answer(batch).predictions
    assert module.answer(batch).predictions[2].option_scores


def test_the_optimisers_state_is_in_8_bits(tmp_path: Path) -> None:
    module = fresh(tmp_path, **FORMS[0])
    train(module, tmp_path, 2, SAMPLES)
    state = torch.load(next((tmp_path / "checkpoints").glob("*.ckpt")), weights_only=True)["optimizer_states"][0]
    moments = [value for kept in state["state"].values() for value in kept["__bnb_optimizer_quant_state__"].values()]
    assert {moment.dtype for moment in moments if moment.numel() >= 4096} == {torch.uint8}


@pytest.mark.parametrize("options", FORMS, ids=name_of)
def test_only_adapters_and_what_stands_beside_learn(tmp_path: Path, options: dict[str, Any]) -> None:
    """With lora the language model and its head stay as they are, whatever `frozen` says."""
    module = fresh(tmp_path, **options)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    train(module, tmp_path, 3, SAMPLES, enable_checkpointing=False)
    changed = {name for name, weight in module.state_dict().items() if not torch.equal(weight, before[name])}
    language = {name for name in changed if ".language_model." in name or ".lm_head." in name}
    assert language == {name for name in before if ".lora_" in name}
    assert any("multi_modal_projector" in name for name in changed)
    assert any("region_encoder.marks" in name for name in changed)


def test_merging_equals_pefts_own() -> None:
    """Independent reference: peft merges its own layers one by one."""
    from peft.tuners.lora import LoraLayer

    torch.manual_seed(0)
    model = nn.ModuleDict({"q_proj": nn.Linear(8, 6), "v_proj": nn.Linear(8, 6, bias=False), "norm": nn.LayerNorm(6)})
    options = LoraOptions(rank=3, alpha=7, targets=("q_proj", "v_proj"))
    add_lora(model, options)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    ours = merged(model.state_dict(), options)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.merge()
    theirs = {name.replace("base_layer.", ""): weight for name, weight in model.state_dict().items()}
    assert ours.keys() == {name for name in theirs if "lora_" not in name}
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", FORMS, ids=name_of)
def test_merged_logits_are_those_of_the_adapted_model(tmp_path: Path, options: dict[str, Any]) -> None:
    """nf4 to rounding; int8 against training mode, as evaluation rounds activations too."""
    module = fresh(tmp_path, **options)
    train(module, tmp_path, 6, SAMPLES)
    batch = make_batch(module, *SAMPLES)
    plain = load_plain(next((tmp_path / "checkpoints").glob("*.ckpt")))
    assert plain.options["quantise"] is None and plain.options["lora"] is None
    with torch.no_grad():
        torch.testing.assert_close(plain.backbone(batch).logits, module.backbone(batch).logits, rtol=0, atol=1e-4)


def test_a_stage_of_the_same_form_keeps_its_adapters(tmp_path: Path) -> None:
    train(fresh(tmp_path, **FORMS[0]), tmp_path, 3, SAMPLES)
    checkpoint = next((tmp_path / "checkpoints").glob("*.ckpt"))
    second = fresh(tmp_path / "second", seed=9, init_from=checkpoint, **FORMS[0])
    for name, weight in load(checkpoint).state_dict().items():
        assert torch.equal(second.state_dict()[name], weight)


def test_a_stage_of_another_form_starts_from_merged_weights(tmp_path: Path) -> None:
    """LoRA first, then QLoRA: new adapters change nothing yet, and quantisation is of what the first stage learnt."""
    train(fresh(tmp_path, **FORMS[3]), tmp_path, 3, SAMPLES)
    checkpoint = next((tmp_path / "checkpoints").glob("*.ckpt"))
    reference = load_plain(checkpoint)
    second = fresh(tmp_path / "second", seed=9, init_from=checkpoint, **FORMS[1])
    quantise(reference.backbone.model.model.language_model, "int8")
    batch = make_batch(second, *SAMPLES)
    with torch.no_grad():
        torch.testing.assert_close(second.eval().backbone(batch).logits, reference.backbone(batch).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantise": "nf4"}, "quantise: nf4 leaves a language model that cannot learn: add language_model to frozen"),
        ({"quantise": "int8", "frozen": ("vision_tower",)}, "quantise: int8 leaves"),
        ({"lora": LoraOptions(targets=("q_proj", "query"))}, r"lora.targets \['query'\] are no layers .*'q_proj'"),
    ],
)
def test_what_cannot_learn_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fresh(tmp_path, **options)


@pytest.mark.parametrize("options", [{"rank": 0}, {"dropout": 1.0}, {"targets": ()}])
def test_impossible_adapters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="lora needs a rank of at least 1"):
        check_options(None, LoraOptions(**options), ())


def test_what_cannot_be_sharded_is_refused() -> None:
    check_strategy(FullySharded(), None, "adamw")
    with pytest.raises(DataError, match="quantise: nf4: take lora with FullySharded, or quantise and lora with ddp"):
        check_strategy(FullySharded(), "nf4", "adamw")
    with pytest.raises(DataError, match="FullySharded cannot shard the state of optimizer: adamw8bit"):
        check_strategy(FullySharded(), None, "adamw8bit")
    with pytest.raises(DataError, match=r"FSDPStrategy: the model is sharded by lightning_modules\.FullySharded"):
        check_strategy(FSDPStrategy(), None, "adamw")
