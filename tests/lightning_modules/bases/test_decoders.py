"""Bases that would load and be another model than their parts are refused; the tested decoders are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from datamodules.errors import DataError
from helpers import ARCHITECTURE, tokenizer_folder
from lightning_modules.bases.decoders import DECODERS, check_rope
from lightning_modules.bases.loading import BaseModel, build, load_base, load_tokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SCALED: list[tuple[str, dict[str, Any], str]] = [
    ("cohere", {}, "logit_scale 0.0625"),
    ("cohere2", {}, "logit_scale 0.0625"),
    ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22}, "logits_scaling 8"),
    ("gemma2", {"final_logit_softcapping": 0.5}, "final_logit_softcapping 0.5"),
    ("gemma3_text", {"final_logit_softcapping": 0.5}, "final_logit_softcapping 0.5"),
]


def decoder(kind: str, **options: Any) -> PreTrainedModel:
    """A small random one; its biases and norms are random, too."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**{**SMALL, **options}), dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return model.eval()  # type: ignore[no-any-return]  # transformers is untyped


def joined(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The decoder and a tiny CLIP as checkpoints, put together."""
    CLIPVisionModel(CLIPVisionConfig(**ARCHITECTURE["vision_config"])).save_pretrained(folder / "clip")
    model.save_pretrained(folder / "decoder")
    base = BaseModel(
        vision_tower=str(folder / "clip"),
        language_model=str(folder / "decoder"),
        tokenizer=tokenizer_folder(folder / "tokenizer"),
    )
    return load_base(base, load_tokenizer(base)).model


def logits(model: PreTrainedModel, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
    """As the backbone has them: the head on the last hidden states."""
    hidden = model.model.language_model(inputs_embeds=embeddings, **{"use_cache": False, **options}).last_hidden_state
    found: torch.Tensor = model.lm_head(hidden)
    return found


@torch.no_grad()
@pytest.mark.parametrize("kind", DECODERS)
def test_a_joined_decoder_says_what_it_says_alone(tmp_path: Path, kind: str) -> None:
    """From ids and from embeddings, beside a longer row, padded on either side, and behind a cache."""
    model = decoder(kind)
    both = joined(model, tmp_path)
    ids, padding = torch.randint(3, SMALL["vocab_size"], (1, 7)), torch.randn(1, 3, SMALL["hidden_size"])
    embeddings = both.get_input_embeddings()(ids)
    alone = model(inputs_embeds=embeddings).logits
    assert alone.std() > 0.1
    torch.testing.assert_close(logits(both, embeddings), alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, model(input_ids=ids).logits, rtol=0, atol=1e-5)

    seen, unseen = torch.ones(1, 7, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)
    right = logits(both, torch.cat([embeddings, padding], 1), attention_mask=torch.cat([seen, unseen], 1))
    torch.testing.assert_close(right[:, :7], alone, rtol=0, atol=1e-4)
    positions = torch.cat([unseen, torch.arange(7).unsqueeze(0)], 1)
    shifted = torch.cat([padding, embeddings], 1)
    left = logits(both, shifted, attention_mask=torch.cat([unseen, seen], 1), position_ids=positions)
    torch.testing.assert_close(left[:, 3:], alone, rtol=0, atol=1e-4)

    prefix = both.model.language_model(inputs_embeds=embeddings[:, :4], use_cache=True)
    rest = {"past_key_values": prefix.past_key_values, "position_ids": torch.arange(4, 7).unsqueeze(0)}
    behind = logits(both, embeddings[:, 4:], attention_mask=seen, use_cache=True, **rest)
    torch.testing.assert_close(behind, alone[:, 4:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_joined_decoder_is_built_again_from_its_configuration(kind: str) -> None:
    """A checkpoint holds weights and configuration alone: what one has, a model of the other must have a place for."""
    model = decoder(kind)
    with torch.device("meta"):
        built = build(ARCHITECTURE | {"text_config": model.config.to_dict()})
    shapes = {name: weight.shape for name, weight in built.model.language_model.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in model.model.state_dict().items()}
    heads = (built.lm_head.state_dict(), model.lm_head.state_dict())
    assert heads[0].keys() == heads[1].keys() == {"weight"}


@torch.no_grad()
@pytest.mark.parametrize(("kind", "options", "named"), SCALED)
def test_a_decoder_that_scales_is_refused_with_what_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], named: str
) -> None:
    """Regression: it was joined, and its logits were others than its own."""
    model = decoder(kind, **options)
    with pytest.raises(DataError, match=f"type '{kind}', whose {named} would be left out, cannot be joined"):
        joined(model, tmp_path)
    monkeypatch.setattr("lightning_modules.bases.llava.check_decoder", lambda config: None)
    both = joined(model, tmp_path)
    embeddings = both.get_input_embeddings()(torch.arange(3, 10).unsqueeze(0))
    assert (logits(both, embeddings) - model(inputs_embeds=embeddings).logits).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["gpt2", "opt", "bloom", "gpt_neox", "phi", "mixtral"])
def test_a_decoder_of_another_form_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """Regression: GPT-2 and OPT ended in an AttributeError, others in weights that no configuration builds."""
    options = {"num_key_value_heads": 1, "ffn_dim": 64, "word_embed_proj_dim": 32}
    with pytest.raises(DataError, match=rf"^a decoder of type '{kind}' cannot be joined in LLaVA's form; tested are "):
        joined(decoder(kind, **options), tmp_path)


def architecture(**options: Any) -> dict[str, Any]:
    text = {**ARCHITECTURE["text_config"], "vocab_size": 99, **options.pop("text_config", {})}
    return {**ARCHITECTURE, **options, "text_config": text}


@pytest.mark.parametrize("layer", [-9, -5, 4, 9])
def test_a_layer_that_the_tower_does_not_have_is_refused(layer: int) -> None:
    """Regression: layers were taken by a slice, -9 of 3 as none at all."""
    with pytest.raises(DataError, match=f"^vision_feature_layer is {layer}, but the vision tower has 3 layers$"):
        build(architecture(vision_feature_layer=layer))


ROPE = {"rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
LONG = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_frequencies_that_depend_on_the_batch_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Regression: a sample was answered otherwise beside a longer one."""
    rope = {"rope_type": kind, **ROPE, **(LONG if kind == "longrope" else {})}
    text = {"rope_parameters": rope, "max_position_embeddings": 8 if kind == "dynamic" else 64}
    with pytest.raises(DataError, match=f"^a decoder with rotary frequencies of type '{kind}'"):
        build(architecture(text_config=text))
    monkeypatch.setattr("lightning_modules.bases.loading.check_rope", lambda config: None)
    torch.manual_seed(0)
    model = build(architecture(text_config=text)).eval()
    row, longer = torch.randn(1, 7, 32), torch.randn(1, 20, 32)
    with torch.no_grad():
        together = logits(model, torch.cat([torch.cat([row, longer[:, 7:]], 1), longer]))
        assert (together[:1, :7] - logits(model, row)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["default", "linear", "yarn", "llama3"])
def test_rotary_frequencies_that_stay_are_taken(kind: str) -> None:
    more = {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if kind == "llama3" else {}
    text = {"rope_parameters": {"rope_type": kind, **ROPE, **more}, "max_position_embeddings": 64}
    model = build(architecture(text_config=text)).eval()
    row, longer = torch.randn(1, 7, 32), torch.randn(1, 20, 32)
    with torch.no_grad():
        together = logits(model, torch.cat([row, longer[:, 7:]], 1))
        torch.testing.assert_close(together[:, :7], logits(model, row), rtol=0, atol=1e-5)


def test_frequencies_of_each_type_of_layer_are_looked_at() -> None:
    config = CONFIG_MAPPING["olmo3"](**SMALL)
    config.rope_parameters["full_attention"] = {"rope_type": "dynamic", **ROPE}
    with pytest.raises(DataError, match="of type 'dynamic'"):
        check_rope(config)
