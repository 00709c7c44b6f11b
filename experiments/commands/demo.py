"""`python cli.py demo`: a web page to mark regions on, ask about them, and see where the model looks."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser, positive

TRAINED = (
    "runs/quickstart/video-seed0/checkpoints/last.ckpt",
    "runs/quickstart/image-seed0/checkpoints/last.ckpt",
)
"""What is opened when nothing is named: the quickstart's."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(prog="python cli.py demo", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, help="checkpoint of a trained model (the quickstart's)")
    arguments.add_argument("--examples", type=Path, metavar="DIR", help="folder of images and videos to begin with")
    arguments.add_argument(
        "--segmenter", metavar="SAM2", help="hub id or folder of a SAM 2, which makes masks of clicks"
    )
    arguments.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all (%(default)s)")
    arguments.add_argument("--port", type=positive, default=7860, help="(%(default)s)")
    arguments.add_argument("--most-megabytes", type=positive, default=200, help="of an upload (%(default)s)")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Serves the page until it is stopped."""
    options = parser().parse_args(arguments)
    if find_spec("gradio") is None:
        raise DataError("the page needs Gradio: pip install -e '.[demo]'")
    checkpoint = options.ckpt_path or _trained()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing is told to anybody
    from gradio.themes import Default

    from datamodules.regvid.masklets import Sam2Masklets
    from experiments.demo.page import build
    from lightning_modules.checkpoints.loading import load

    warnings.filterwarnings("ignore", "perhaps a mistake")  # the page says it itself
    module = load(checkpoint)
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads end with the page
        examples = _examples(options.examples, Path(folder))
        page = build(module, str(checkpoint), examples, Sam2Masklets(options.segmenter) if options.segmenter else None)
        sys.stdout.write(f"http://{options.host}:{options.port}\n")
        sys.stdout.flush()
        page.launch(
            server_name=options.host,
            server_port=options.port,
            quiet=True,
            max_file_size=options.most_megabytes * 2**20,
            allowed_paths=[str(path.parent) for path in examples],
            footer_links=[],
            theme=Default(primary_hue="indigo"),
        )


def _trained() -> Path:
    for path in map(Path, TRAINED):
        if path.exists():
            return path
    raise DataError(f"no {TRAINED[0]}: `make quickstart` trains it, or name another with --ckpt_path")


def _examples(folder: Path | None, made: Path) -> list[Path]:
    """Those of a folder, or built-in scenes that no training has seen."""
    from datamodules.media.pictures import SUFFIXES
    from datamodules.shapes.encode import SceneKey, write_media
    from datamodules.shapes.scene import KINDS

    if folder is None:
        keys = [SceneKey(kind, "test", index) for kind in KINDS for index in range(2)]
        for key in keys:
            (made / key.path).parent.mkdir(parents=True, exist_ok=True)
            write_media(made, 0, key)
        return [made / key.path for key in keys]
    kinds = SUFFIXES | {".mp4", ".mov", ".mkv", ".webm", ".avi"}
    found = sorted(path.resolve() for path in folder.glob("*") if path.suffix.lower() in kinds)
    if not found:
        raise DataError(f"--examples {folder}: no image and no video there")
    return found
