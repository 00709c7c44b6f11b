"""FSDP2 for the backbone: each layer of both towers is a unit; weights, gradients and optimiser state are sharded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch.strategies import ModelParallelStrategy

from datamodules.errors import DataError
from lightning_modules.checkpoints.files import WRITING, beside_place, bytes_of, move_into_place, room_for
from lightning_modules.checkpoints.sharded import sharded_names
from lightning_modules.checkpoints.weights import compare_names
from lightning_modules.training.layers import layers_of

if TYPE_CHECKING:
    from lightning_modules.backbone import TokenMarkBackbone


class FullySharded(ModelParallelStrategy):
    """Shards the model over all processes, or over groups of them that hold replicas of each other.

    Args:
        replicas: Copies of the model. 1 shards over all processes; the number of nodes shards within a node, so that
            weights travel over the fast links only and gradients alone between the nodes (hybrid sharding).
        compute_dtype: What layers compute in and weights travel in, while weights that learn, gradients' sums and
            optimiser state are float32; buffers keep their type. Each weight's own type if left out.
        save_distributed_checkpoint: Every process writes its shards; without it rank 0 gathers one file.
        timeout: Seconds to wait for another process.

    Raises:
        DataError: The number of processes is no multiple of `replicas`.
    """

    def __init__(
        self,
        replicas: int = 1,
        compute_dtype: Literal["bfloat16", "float16"] | None = None,
        save_distributed_checkpoint: bool = True,
        timeout: float = 1800.0,
    ) -> None:
        from datetime import timedelta

        super().__init__(
            data_parallel_size=1,  # set when the number of processes is known; "auto" would mean tensor parallelism
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
            timeout=timedelta(seconds=timeout),
        )
        self.replicas = replicas
        self.compute_dtype = compute_dtype

    def setup_environment(self) -> None:
        """Takes all processes for the data dimension."""
        self._data_parallel_size: int | Literal["auto"] = self.num_nodes * self.num_processes
        if self._data_parallel_size % self.replicas:
            raise DataError(f"{self._data_parallel_size} processes cannot hold {self.replicas} replicas of equal size")
        super().setup_environment()

    def shard(self, backbone: TokenMarkBackbone) -> None:
        """Shards the backbone's parameters in place; its layers first, then all that is left as one unit."""
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        options: dict[str, Any] = {"mesh": self._mesh()}
        if self.compute_dtype is not None:
            dtype = getattr(torch, self.compute_dtype)
            options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for layer in layers_of(backbone):
            fully_shard(layer, **options)
        fully_shard(backbone, **options)

    @staticmethod
    def reshard(backbone: TokenMarkBackbone) -> None:
        """Lays down the weights that a forward pass alone has gathered: what is changed of them now, lasts."""
        from torch.distributed.fsdp import FSDPModule

        assert isinstance(backbone, FSDPModule), "it has been sharded"
        backbone.reshard()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Every process writes beside the place; the first one moves the whole there when all are done.

        Raises:
            DataError: The disk is full.
        """
        path = Path(self.broadcast(filepath))
        if self.is_global_zero:
            beside_place(path)
        self.barrier()
        with room_for(self._needed(checkpoint), path):
            super().save_checkpoint(checkpoint, path.with_name(path.name + WRITING), storage_options)
        self.barrier()
        if self.is_global_zero:
            move_into_place(path)
        self.barrier()

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
        assert self.lightning_module is not None
        if path.is_dir():
            compare_names(self.lightning_module.state_dict().keys(), sharded_names(path), str(path))
        return super().load_checkpoint(path, weights_only)

    def _mesh(self) -> Any:
        from torch.distributed.device_mesh import init_device_mesh

        assert self.device_mesh is not None
        if self.replicas == 1:
            return self.device_mesh["data_parallel"]
        shape = (self.replicas, self.world_size // self.replicas)
        return init_device_mesh(self.device_mesh.device_type, shape, mesh_dim_names=("replicate", "shard"))
