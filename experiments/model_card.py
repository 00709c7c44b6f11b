"""The card of an exported model, `README.md` in its folder: what it is of, written from its run, and how to ask it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from datamodules.files import write_text
from experiments.run_files import CONFIGURATION, RESULTS
from lightning_modules.checkpoints.files import EXPORTED
from lightning_modules.checkpoints.hub import REPOSITORY

CARD, PICTURE = "README.md", "picture.png"
TRANSFORMERS = """```python
from transformers import AutoModelForImageTextToText, AutoProcessor

place = "{place}"
processor = AutoProcessor.from_pretrained(place, trust_remote_code=True)
model = AutoModelForImageTextToText.from_pretrained(place, trust_remote_code=True)

regions = [{{"box": [10, 20, 80, 90]}}]  # or {{"mask": (height, width) bool}}; "frame" where it is not a video's first
inputs = processor({media}, text="What is <region>?", regions=regions).to(model.device)
rows = model.generate(**inputs, tokenizer=processor.tokenizer, max_new_tokens={tokens})
print(processor.answers(rows, inputs)[0])
```
"""
FRAMEWORK = """```python
from datamodules import Box
from lightning_modules import ask, load

asked = ask(load("{place}"), "{file}", [Box((10, 20, 80, 90))], "What is <region>?")
print(asked.conversation[-1].answer)
```
"""


def write_card(folder: Path, checkpoint: Path, name: str | None = None, license_id: str | None = None) -> Path:
    """Writes the card of an exported folder, and a picture beside it if the run has one.

    Args:
        folder: The export.
        checkpoint: What it was exported from; its run is the folder above `checkpoints/`.
        name: The repository of the hub that it goes to.
        license_id: The hub's name of the licence that the model is given.
    """
    run = checkpoint.resolve().parent.parent
    described = json.loads((folder / EXPORTED).read_text(encoding="utf-8"))
    configured = _read(run / CONFIGURATION, yaml.safe_load)
    base = ((configured.get("model") or {}).get("init_args") or {}).get("base") or {}
    results = _results(run, checkpoint)
    picture = _picture(run, bool(results))
    if picture:
        shutil.copyfile(picture, folder / PICTURE)
    of_base = [value for key in ("checkpoint", "vision_tower", "language_model") if (value := base.get(key))]
    parts = [
        _front_matter(
            [value for value in of_base if REPOSITORY.fullmatch(value) and not Path(value).exists()], license_id
        ),
        f"# {(name or folder.name).rpartition('/')[2]}\n",
        _what(described, of_base, folder),
        f"![Regions, questions and answers]({PICTURE})\n" if picture else "",
        _how(described, name or str(folder.name), alone=(folder / "processor_config.json").is_file()),
        _data(_read(run / "data.json", json.loads)),
        _numbers(results),
        _licence(license_id, of_base),
        _versions(_read(run / "environment.json", json.loads)),
    ]
    return write_text(folder / CARD, "\n".join(part for part in parts if part))


def _read(path: Path, read: Any) -> dict[str, Any]:
    return read(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}


def _results(run: Path, checkpoint: Path) -> dict[str, Any]:
    """What `test` has left, if it was this checkpoint's."""
    found = _read(run / RESULTS, json.loads)
    of = found.get("checkpoint")
    return found if of and Path(of).resolve() == checkpoint.resolve() else {}


def _picture(run: Path, tested: bool) -> Path | None:
    """The first picture of the test, else of the last validation in training."""
    pictures = sorted((run / "pictures/test").glob("*.png")) if tested else []
    validated = sorted((run / "pictures/val").glob("step-*"))
    pictures = pictures or sorted(validated[-1].glob("*.png") if validated else [])
    return next(iter(pictures), None)


def _front_matter(bases: list[str], license_id: str | None) -> str:
    fields = {
        "license": license_id or "unknown",
        "base_model": bases or None,
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["custom_code", "region-understanding", "token-mark"],
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return f"---\n{yaml.safe_dump(given, sort_keys=False)}---\n"


def _what(described: Mapping[str, Any], bases: list[str], folder: Path) -> str:
    encoder, config = described["options"]["region_encoder"], json.loads((folder / "config.json").read_text())
    told = ", ".join(f"{name} {value}" for name, value in (encoder.get("init_args") or {}).items())
    named = " and ".join(f"`{Path(base).name if Path(base).is_absolute() else base}`" for base in bases)
    return (
        "A vision-language model that answers about marked regions of images and videos, with Token Marks as in "
        "[Omni-RGPT](https://arxiv.org/abs/2501.08326).\n\n"
        f"- Base: {named or 'random weights'}, of type `{config['model_type']}`, weights in {config['dtype']}.\n"
        f"- Regions: `{encoder['class_path']}`{f' ({told})' if told else ''}.\n"
    )


def _how(described: Mapping[str, Any], place: str, alone: bool) -> str:
    video = described["class"].endswith("VideoRegionModule")
    media, file = ("videos=frames", "clip.mp4") if video else ('images="photo.jpg"', "photo.jpg")
    tokens = described["options"]["max_new_tokens"]
    parts = ["## How to ask\n"]
    if alone:
        frames = "`frames` is (T, H, W, 3) uint8, or a list of pictures; " if video else ""
        parts += [
            TRANSFORMERS.format(place=place, media=media, tokens=tokens),
            f"{frames}boxes are `x0, y0, x1, y1` in pixels, half-open. Several regions are `<region0>`, `<region1>` "
            "and so on; a conversation goes through `processor.apply_chat_template(messages, regions=regions)`. The "
            "code that `trust_remote_code` runs are the two Python files of this folder.\n",
        ]
    return "\n".join([*parts, "With the framework that it was trained by:\n", FRAMEWORK.format(place=place, file=file)])


def _data(data: Mapping[str, Any]) -> str:
    sources = data.get("sources") or {}
    if not sources:
        return "## Data\n\nNo record of the training's data stood beside the checkpoint.\n"
    rows = "".join(
        f"| {name} | `{source['class']}` | {', '.join(_options(source['options'])) or '-'} |\n"
        for name, source in sources.items()
    )
    return (
        f"## Data\n\nFingerprint of sources and annotation files: `{data['fingerprint']}`.\n\n"
        f"| split and name | source | options |\n|---|---|---|\n{rows}"
    )


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    """Those that say something of the data; where they lie on a machine is nobody's business."""
    for name, value in options.items():
        if isinstance(value, bool | int | float) or (isinstance(value, str) and not {"/", "\\"} & set(value)):
            yield f"{name} {value}"


def _numbers(results: Mapping[str, Any]) -> str:
    if not results:
        return "## Results\n\nNo test of this checkpoint stood beside it.\n"
    protocols = list(dict.fromkeys(row["protocol"] for row in results["results"]))
    rows = "".join(
        f"| {row['metric']} | {row['value']:.4f} | {row['n']} | ({protocols.index(row['protocol']) + 1}) |\n"
        for row in results["results"]
    )
    below = "".join(f"({number}) {protocol}  \n" for number, protocol in enumerate(protocols, 1))
    return (
        f"## Results\n\nOf the split `{results['split']}`.\n\n| metric | value | n | protocol |\n|---|---|---|---|\n"
        f"{rows}\n{below}"
    )


def _licence(license_id: str | None, bases: list[str]) -> str:
    said = f"This model: `{license_id}`." if license_id else "None was stated with the export."
    return f"## Licence\n\n{said}{' Those of its base and of its data hold beside it.' if bases else ''}\n"


def _versions(environment: Mapping[str, Any]) -> str:
    named = [f"{name} {environment[name]}" for name in ("torch", "lightning", "transformers") if name in environment]
    commit = (environment.get("git") or {}).get("commit")
    told = [*named, *([f"framework at commit {commit}"] if commit else [])]
    return f"## Trained with\n\n{', '.join(told)}.\n" if told else ""
