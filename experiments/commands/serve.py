"""`python cli.py serve`: a trained model behind OpenAI's chat API."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser, add_generation, amount, count, generation_of, positive
from experiments.serving.limits import Limits

if TYPE_CHECKING:
    from lightning_modules import GenerationOptions
    from lightning_modules.region_module import RegionModule


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    usual = Limits()
    arguments = CommandParser(prog="python cli.py serve", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of a trained model, or an export")
    arguments.add_argument("--model_name", help="what clients call it; the checkpoint's name if left out")
    arguments.add_argument("--device", help="cuda where there is one, else cpu, if left out")
    arguments.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s: this machine alone)")
    arguments.add_argument("--port", type=count, default=8000, help="0 for any free one (%(default)s)")
    arguments.add_argument("--api_key_env", metavar="NAME", help="environment variable with the key that clients send")
    arguments.add_argument(
        "--image_host", action="append", default=[], metavar="HOST", help="host that images may be fetched from"
    )
    arguments.add_argument("--max_batch", type=positive, default=16, help="questions answered together (%(default)s)")
    add_generation(arguments)
    limits = arguments.add_argument_group("most of a request")
    for name, kind, purpose in (
        ("body", positive, "bytes"),
        ("images", positive, "images"),
        ("pixels", positive, "pixels of an image"),
        ("characters", positive, "characters of the conversation"),
        ("regions", positive, "regions"),
        ("new_tokens", positive, "tokens of an answer"),
        ("requests", positive, "requests at once"),
        ("seconds", amount, "seconds until the answer is whole"),
    ):
        limits.add_argument(f"--max_{name}", type=kind, default=getattr(usual, name), help=f"{purpose} (%(default)s)")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Serves until it is told to end."""
    options = parser().parse_args(arguments)
    try:
        from experiments.serving.app import make_app
        from experiments.serving.listening import is_loopback, listen, server_of, url_of
    except ModuleNotFoundError as error:
        raise DataError(f"serve needs the package {error.name}: pip install -e '.[serve]'") from None
    from datamodules.regvid.keys import key_in
    from experiments.serving.service import Service

    key = None if options.api_key_env is None else key_in(options.api_key_env)
    names = [limit.name for limit in fields(Limits)]
    with listen(options.host, options.port) as listener:
        service = Service(
            _load(options.ckpt_path, options.device, generation_of(options)),
            options.model_name or options.ckpt_path.stem,
            Limits(**{name: getattr(options, f"max_{name}") for name in names}),
            options.max_batch,
            key,
            frozenset(map(str.lower, options.image_host)),
        )
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
        if key is None and not is_loopback(listener):
            sys.stderr.write("warning: whoever reaches this machine may ask: --api_key_env names no key\n")
        sys.stdout.write(f"serving {service.name!r} at {url_of(listener)}/v1\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again at its end
            server_of(make_app(service)).run(sockets=[listener])


def _load(path: Path, device: str | None, generation: GenerationOptions) -> RegionModule:
    import torch

    from lightning_modules.checkpoints.loading import load

    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise DataError(f"--device {device}: {str(error).splitlines()[0]}") from None
    return load(path, generation).to(place)
