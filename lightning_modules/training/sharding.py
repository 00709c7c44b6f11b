"""FSDP2 for the backbone: each layer of both towers is a unit; weights, gradients and optimiser state are sharded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from datamodules.errors import DataError
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.files import WRITING, beside_place, bytes_of, move_into_place, room_for
from lightning_modules.checkpoints.sharded import REST, WEIGHTS, read_rest, sharded_names
from lightning_modules.checkpoints.weights import compare_names
from lightning_modules.training.layers import layers_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from lightning_modules.backbone import TokenMarkBackbone


class FullySharded(ModelParallelStrategy):
    """Shards the model over all processes, or over groups of them that hold replicas of each other.

    Args:
        replicas: Copies of the model. 1 shards over all processes; the number of nodes shards within a node, so that
            weights travel over the fast links only and gradients alone between the nodes (hybrid sharding).
        compute_dtype: What layers compute in and weights travel in, while weights that learn, gradients' sums and
            optimiser state are float32; buffers keep their type. Each weight's own type if left out.
        sync_gradients: When the processes add up their gradients. Once a `step` each of them holds the gradients of all
            that learns whole while the passes of its step go on; after every `pass` they travel as often as a step has
            passes, and each holds its shard of them. Between replicas they travel once a step either way.
        keep_gathered: Whether an evaluation puts each layer together once a batch, and all of them lie there while it
            answers; without it every generated token gathers every layer again.
        save_distributed_checkpoint: Every process writes its shards; without it rank 0 gathers one file.
        save_in_background: Whether training goes on while a checkpoint is written, from a copy in the host's memory. It
            is in its place when it is whole; what goes wrong is told when the next one is saved, or at the end.
        timeout: Seconds to wait for another process.

    Raises:
        DataError: The number of processes is no multiple of `replicas`, or one file shall be written in the background.
    """

    def __init__(
        self,
        replicas: int = 1,
        compute_dtype: Literal["bfloat16", "float16"] | None = None,
        sync_gradients: Literal["step", "pass"] = "step",
        keep_gathered: bool = False,
        save_distributed_checkpoint: bool = True,
        save_in_background: bool = False,
        timeout: float = 1800.0,
    ) -> None:
        from datetime import timedelta

        if save_in_background and not save_distributed_checkpoint:
            raise DataError("save_in_background writes shards: it needs save_distributed_checkpoint")
        super().__init__(
            data_parallel_size=1,  # set when the number of processes is known; "auto" would mean tensor parallelism
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
            timeout=timedelta(seconds=timeout),
        )
        self.replicas = replicas
        self.compute_dtype = compute_dtype
        self.sync_gradients = sync_gradients
        self.keep_gathered = keep_gathered
        self.save_in_background = save_in_background
        self._saving: Future[None] | None = None
        self._apart: ProcessGroup | None = None

    def setup_environment(self) -> None:
        """Takes all processes for the data dimension."""
        self._data_parallel_size: int | Literal["auto"] = self.num_nodes * self.num_processes
        if self._data_parallel_size % self.replicas:
            raise DataError(f"{self._data_parallel_size} processes cannot hold {self.replicas} replicas of equal size")
        super().setup_environment()

    def shard(self, backbone: TokenMarkBackbone) -> None:
        """Shards the backbone's parameters in place; its layers first, then all that is left as one unit.

        Their values are those of rank 0: on the other ranks the backbone comes without.
        """
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        whole = {name: weight.detach() for name, weight in backbone.named_parameters()} if self.world_size > 1 else {}

        options: dict[str, Any] = {"mesh": self._mesh()}
        if self.compute_dtype is not None:
            dtype = getattr(torch, self.compute_dtype)
            options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for layer in layers_of(backbone):
            fully_shard(layer, **options)
        fully_shard(backbone, **options)
        if whole:
            self._hand_out(backbone, whole)

    @torch.no_grad()
    def _hand_out(self, backbone: TokenMarkBackbone, whole: dict[str, torch.Tensor]) -> None:
        """Sends rank 0's weights and buffers, one after the other; each rank keeps its shard.

        Args:
            backbone: Sharded, on the meta device but for rank 0.
            whole: Its weights by name before they were sharded; left empty.
        """
        from torch import distributed
        from torch.distributed.tensor import distribute_tensor

        if not self.is_global_zero:
            backbone.to_empty(device=self.root_device)
        for name, weight in backbone.named_parameters():
            assert isinstance(weight, DTensor), "all of them are sharded"
            value = whole.pop(name)
            if self.is_global_zero:
                distributed.broadcast(value.to(self.root_device).contiguous(), 0)
                continue
            value = torch.empty(value.shape, dtype=value.dtype, device=self.root_device)
            distributed.broadcast(value, 0)
            weight.copy_(distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None))
        for buffer in backbone.buffers():
            value = buffer.to(self.root_device).contiguous()
            distributed.broadcast(value, 0)
            if not self.is_global_zero:
                buffer.copy_(value)

    def gradients_travel(self, backbone: TokenMarkBackbone, now: bool) -> None:
        """Says whether the last pass of a step is next, after which at the latest the processes add up gradients."""
        from torch.distributed.fsdp import FSDPModule

        assert isinstance(backbone, FSDPModule), "it has been sharded"
        backbone.set_requires_gradient_sync(now or self.sync_gradients == "pass")
        backbone.set_requires_all_reduce(now)

    @contextmanager
    def answering(self, backbone: TokenMarkBackbone) -> Iterator[None]:
        """Within it layers that a pass has gathered stay so, if they are to; afterwards they are shards again."""
        from torch.distributed.fsdp import FSDPModule

        layers = [layer for layer in layers_of(backbone) if isinstance(layer, FSDPModule) and self.keep_gathered]
        for layer in layers:
            layer.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.set_reshard_after_forward(True, recurse=False)
                layer.reshard()

    @staticmethod
    def reshard(backbone: TokenMarkBackbone) -> None:
        """Lays down the weights that a forward pass alone has gathered: what is changed of them now, lasts."""
        from torch.distributed.fsdp import FSDPModule

        assert isinstance(backbone, FSDPModule), "it has been sharded"
        backbone.reshard()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Every process writes beside the place; the first one moves the whole there when all are done.

        Raises:
            DataError: The disk is full, now or when the one before was written.
        """
        self.settle()
        path = Path(self.broadcast(filepath))
        if self.is_global_zero:
            beside_place(path)
        self.barrier()
        needed = self._needed(checkpoint)
        with room_for(needed, path):
            if self.save_in_background:
                self._begin_saving(checkpoint, path, needed)
                return
            super().save_checkpoint(checkpoint, path.with_name(path.name + WRITING), storage_options)
        self.barrier()
        if self.is_global_zero:
            move_into_place(path)
        self.barrier()

    def settle(self) -> None:
        """Waits for a checkpoint that is being written; all processes have to call this together.

        Raises:
            DataError: The disk was full.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def teardown(self) -> None:
        """Waits for the last checkpoint."""
        self.settle()
        super().teardown()

    def _begin_saving(self, checkpoint: dict[str, Any], path: Path, needed: int) -> None:
        """Copies what is to be written, and has threads do the rest, which speak to each other apart from training."""
        from torch import distributed
        from torch.distributed.checkpoint import async_save

        if self._apart is None:
            self._apart = distributed.new_group(backend="gloo")
        beside = path.with_name(path.name + WRITING)
        optimizers = enumerate(checkpoint.pop("optimizer_states", []))
        state = {
            WEIGHTS.removesuffix("."): checkpoint.pop("state_dict"),
            **{f"optimizer_{number}": values for number, values in optimizers},
        }
        if self.is_global_zero:
            beside.mkdir()
            torch.save(checkpoint, beside / REST)
        written = cast("Future[Any]", async_save(state, checkpoint_id=beside, process_group=self._apart))

        def finish() -> None:
            with room_for(needed, path, begun=True):
                written.result()
            if self.is_global_zero:  # who is told by all others that they are done before it is
                move_into_place(path)

        thread = ThreadPoolExecutor(1)
        self._saving = thread.submit(finish)
        thread.shutdown(wait=False)

    def _needed(self, checkpoint: dict[str, Any]) -> int:
        """Bytes of a checkpoint, all processes together; what replicas share is written once."""
        held = self.reduce(torch.tensor(bytes_of(checkpoint), device=self.root_device), reduce_op="sum")
        return int(held) // (self.replicas if self._save_distributed_checkpoint else 1)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads each process's share, whatever the number of processes was that wrote it.

        Raises:
            DataError: The checkpoint is another model's; the message lists what is missing or unexpected.
        """
        path = Path(self.broadcast(checkpoint_path))
        if not path.is_dir():
            return super().load_checkpoint(path, weights_only)
        module: Any = self.lightning_module  # a RegionModule, which imports this one
        held, rest = sharded_names(path), read_rest(path)
        left_out = module.left_out_of(rest[DESCRIPTION], held, str(path))
        compare_names(module.state_dict().keys() - left_out, held, str(path))
        self._load_shards(path, left_out)
        return rest

    def _load_shards(self, path: Path, left_out: Collection[str]) -> None:
        """What Lightning does, but for weights that are there already."""
        from torch.distributed.checkpoint import load
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_optimizer_state_dict,
            set_optimizer_state_dict,
        )

        module = self.lightning_module
        assert module is not None
        weights = {name: weight for name, weight in module.state_dict().items() if name not in left_out}
        load({WEIGHTS.removesuffix("."): weights}, checkpoint_id=path)  # in place
        for number, optimizer in enumerate(self.optimizers):
            state = {f"optimizer_{number}": get_optimizer_state_dict(module, optimizer)}
            load(state, checkpoint_id=path)
            set_optimizer_state_dict(
                module,
                optimizer,
                optim_state_dict=state[f"optimizer_{number}"],
                options=StateDictOptions(cpu_offload=True),
            )

    def _mesh(self) -> Any:
        from torch.distributed.device_mesh import init_device_mesh

        assert self.device_mesh is not None
        if self.replicas == 1:
            return self.device_mesh["data_parallel"]
        shape = (self.replicas, self.world_size // self.replicas)
        return init_device_mesh(self.device_mesh.device_type, shape, mesh_dim_names=("replicate", "shard"))
