"""What an exported folder carries so that transformers alone opens it with `trust_remote_code=True`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import DataError
from datamodules.installation import PREFIX
from lightning_modules.bases.loading import vision_settings
from lightning_modules.bases.standalone import modeling_token_mark, processing_token_mark
from lightning_modules.bases.standalone.processing_token_mark import VISION, TokenMarkProcessor
from lightning_modules.class_spec import class_path
from lightning_modules.region_encoders import TokenMark

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

SETTINGS = ("auto_map", "token_mark")
"""What the configuration of such a folder has beside its base's."""

ANSWERING = ("assemble", "processor", "answer", "_answer")


def check_standalone(module: RegionModule) -> None:
    """Refuses a model that the two files cannot answer as.

    Raises:
        DataError: Of another base, region encoder or module than they know.
    """
    encoder, base = module.region_encoder.kind, module.backbone.model.config.model_type
    alone = "--framework_only writes a folder for this framework alone"
    if encoder is not TokenMark:
        raise DataError(f"transformers alone is told of regions by TokenMark, not by {class_path(encoder)}; {alone}")
    if base not in VISION:
        raise DataError(f"transformers alone is told of regions on {', '.join(VISION)}, not on {base}; {alone}")
    ours = f"{PREFIX}lightning_modules."
    changed = [name for name in ANSWERING if not getattr(type(module), name).__module__.startswith(ours)]
    if changed:
        raise DataError(f"{class_path(type(module))} has its own {changed[0]}, which transformers has not; {alone}")


def settings(module: RegionModule) -> dict[str, Any]:
    """What the model's configuration says of the marks, and where transformers finds the class."""
    encoder, described = module.backbone.region_encoder, module.renderer.described()
    assert isinstance(encoder, TokenMark)
    marks = {
        "num_marks": encoder.num_marks,
        "mark_dim": encoder.mark_dim,
        "region_token_id": module.renderer.region_id,
        "index": described["index"],
    }
    kind = f"{Path(modeling_token_mark.__file__).stem}.{_class_name(module)}"
    return {"auto_map": {"AutoModelForImageTextToText": kind}, "token_mark": marks}


def _class_name(module: RegionModule) -> str:
    kind = type(module.backbone.model)
    wanted = [found for found in modeling_token_mark.TokenMarkMixin.__subclasses__() if kind in found.__bases__]
    assert len(wanted) == 1, f"{len(wanted)} classes put marks on {kind}"
    return wanted[0].__name__


def write_standalone(module: RegionModule, folder: Path) -> None:
    """Writes the two files, and what the processor is made with."""
    for file in (modeling_token_mark.__file__, processing_token_mark.__file__):
        shutil.copyfile(file, folder / Path(file).name)
    encoder = module.backbone.region_encoder
    processor = {
        "auto_map": {"AutoProcessor": f"{Path(processing_token_mark.__file__).stem}.{TokenMarkProcessor.__name__}"},
        "processor_class": TokenMarkProcessor.__name__,
        "model_type": module.backbone.model.config.model_type,
        "vision": vision_settings(module.vision),
        "words": {**module.renderer.described(), "placeholder": module.vision.placeholder},
        "num_marks": encoder.num_marks,
        "num_frames": module.default_num_frames,
    }
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
