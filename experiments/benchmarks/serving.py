"""A server that answers in batches over one that answers one by one: `python -m experiments.benchmarks.serving`.

Both are whole: HTTP on the loopback, PNGs in data: URLs, regions, the queue, the same model. Each of 32 clients has a
connection of its own and asks again as soon as it has its answer; questions are of different lengths. Nothing may be
lost, and what every client hears has to be what `ask` answers to its question. The quickstart's model runs on one
thread, as its configuration has it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import torch

from datamodules.regvid.openai_model import data_url
from datamodules.types import Pixels, RegionSample
from experiments.benchmarks.generation import QUICKSTART, make_samples
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_module, yaml_architecture
from experiments.benchmarks.timing import in_turn
from experiments.serving.app import make_app
from experiments.serving.limits import Limits
from experiments.serving.listening import serving
from experiments.serving.service import Service
from lightning_modules.asking import ask
from lightning_modules.region_module import RegionModule

HEADER = ("model", "answers/s, batched / one by one", "95 %", "answered", "equal texts")
NAME = "benchmark"
MODELS: dict[str, Callable[[], dict[str, Any]]] = {
    "tiny": lambda: TINY,
    "quickstart": partial(yaml_architecture, QUICKSTART),
    "middle": lambda: MIDDLE,
}
"""Architectures: of a moment, to see that it runs; of the quickstart; of 120 million weights."""


def body_of(sample: RegionSample, new_tokens: int) -> bytes:
    """The request that asks a sample about one box."""
    assert isinstance(sample.media, Pixels)
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(sample.media.array[0], "png")}},
        {"type": "regions", "regions": [{"box": list(sample.regions[0].prompts[0].bounds.xyxy)}]},
        {"type": "text", "text": sample.conversation[-1].question},
    ]
    asked = {"model": NAME, "messages": [{"role": "user", "content": content}], "max_tokens": new_tokens}
    return json.dumps(asked).encode()


def load(url: str, bodies: Sequence[bytes], rounds: int) -> list[str]:
    """What each client hears, who asks the same `rounds` times; all clients at once."""

    def client(body: bytes) -> list[str]:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=600)
        heard = []
        for _ in range(rounds):
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answered = json.loads(connection.getresponse().read())
            heard.append(answered["choices"][0]["message"]["content"])
        connection.close()
        return heard

    with ThreadPoolExecutor(len(bodies)) as clients:
        return [text for heard in clients.map(client, bodies) for text in heard]


def compare(name: str, module: RegionModule, clients: int, rounds: int, new_tokens: int, repeats: int) -> list[str]:
    """A row of the table."""
    module.max_new_tokens = new_tokens
    samples = make_samples(module, clients)
    bodies = [body_of(sample, new_tokens) for sample in samples]
    wanted = [ask(module, one.media, one.regions, one.conversation[-1].question) for one in samples]
    texts = [one.conversation[-1].answer for one in wanted for _ in range(rounds)]
    limits = Limits(requests=clients, seconds=3600)
    services = [Service(module, NAME, limits, size) for size in (1, clients)]
    heard: list[list[str]] = []
    with ExitStack() as stack:
        alone, together = [stack.enter_context(serving(make_app(service))) for service in services]

        def run(url: str) -> None:
            heard.append(load(url, bodies, rounds))

        paired = in_turn(partial(run, alone), partial(run, together), repeats)
    low, high = paired.interval
    asked, answered = len(texts) * len(heard), sum(map(len, heard))
    same = sum(one == other for said in heard for one, other in zip(said, texts, strict=True))
    return [name, f"{paired.ratio:.2f}", f"{low:.2f} to {high:.2f}", f"{answered} of {asked}", f"{same} of {asked}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32, help="at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="questions of each in a run (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=20, help="of an answer (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["quickstart", "middle"], help="(both but tiny)")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    rows = []
    for name in asked.models:
        torch.set_num_threads(threads if name == "middle" else 1)
        module = make_module(MODELS[name](), asked.device).eval()
        rows.append(compare(name, module, asked.clients, asked.rounds, asked.new_tokens, asked.repeats))
    torch.set_num_threads(threads)
    sys.stdout.write(table(HEADER, rows))


if __name__ == "__main__":
    main()
