"""Further processes, forked from one that has imported everything: by itself each would take ten seconds to do so."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any
from unittest import mock

from lightning.fabric.plugins.environments.lightning import find_free_network_port

IMPORTED = [
    *("cli", "experiments.lightning_cli", "experiments.config.parts", "experiments.commands.regvid"),
    *("lightning_modules.planning.plan", "lightning_modules.checkpoints.export", "metrics.evaluation"),
    *("datamodules.regvid.run", "datamodules.regvid.openai_model", "datamodules.shapes", "openai", "peft", "mlflow"),
    *("mlflow.store.tracking.sqlalchemy_store", "rich.table", "torch.distributed.fsdp", "torch.distributed.checkpoint"),
    *("transformers.models.llava.modeling_llava", "transformers.models.clip.modeling_clip", "frozen"),
]


def forking() -> ForkServerContext:
    """The context whose processes are forked from the one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    return context


def start(target: Callable[..., object], *arguments: Any) -> BaseProcess:
    """A process that has begun to call `target`; the environment is this one's."""
    process = forking().Process(target=_call, args=(dict(os.environ), target, arguments))
    process.start()
    return process


def start_ranks(ranks: int, target: Callable[..., object], *arguments: Any) -> list[BaseProcess]:
    """The processes of one run, told who they are as a cluster does; each of them calls `target`."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "NODE_RANK": "0"}
    started = []
    for rank in range(ranks):
        with mock.patch.dict(os.environ, {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}):
            started.append(start(target, *arguments))
    return started


def finish(*processes: BaseProcess, seconds: float = 300) -> None:
    """Waits for processes, none of which may fail."""
    for process in processes:
        process.join(seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * len(processes)


def _call(environment: dict[str, str], target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)
