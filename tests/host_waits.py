"""An accelerator that is not there, and a list of what the host would wait for.

Tensors on it hold their values on the CPU and say that they are on the meta device. So all that needs a value where the
host is (`item`, `tolist`, a mask as an index, a copy either way) passes through `Device`, which writes down who asked.
What it does not show are kernels that wait by themselves; those known to are in `WAITING`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from datamodules.batching.batch import RegionBatch
from lightning_modules.planning.weightless import changed, tensors

THERE = torch.device("meta")
ROOT = Path(__file__).parents[1]
WAITING = frozenset(
    f"aten::{name}"
    for name in (
        *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
    )
)
INDEXED = frozenset(
    {"aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
)
MAKING = frozenset({torch.tensor, torch.as_tensor, torch.Tensor.new_tensor})

READING = frozenset({torch.Tensor.tolist, torch.Tensor.numpy})


class OnDevice(torch.Tensor):
    """A tensor on the accelerator; `held` has its values."""

    held: torch.Tensor

    def __new__(cls, held: torch.Tensor) -> Self:
        made: Self = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]  # torch's
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=THERE
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch says

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carried_out(func, args, kwargs or {})


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, OnDevice) else tensor


def _carried_out(func: Any, args: Any, kwargs: Any) -> Any:
    """The operation on the values; what it makes is where its arguments are, or where it is told to be."""
    given = {id(_held(tensor)): tensor for tensor in tensors((args, kwargs))}
    there = any(isinstance(tensor, OnDevice) for tensor in given.values())
    device = kwargs.get("device")
    if device is not None:
        there = torch.device(device) == THERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    made = func(*changed(_held, args), **changed(_held, kwargs))

    def wrapped(tensor: torch.Tensor) -> torch.Tensor:
        return given.get(id(tensor)) if id(tensor) in given else OnDevice(tensor) if there else tensor  # type: ignore[return-value]  # it is in there

    return changed(wrapped, made)


class Device(TorchDispatchMode):
    """Within it tensors may be on the accelerator.

    Attributes:
        waits: For what the host has waited, and how often: file and function that asked, and the operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.waits: Counter[str] = Counter()
        self._makes = _Makes()

    def __enter__(self) -> Self:
        self._makes.__enter__()  # type: ignore[no-untyped-call]  # torch's
        return super().__enter__()  # type: ignore[no-any-return,no-untyped-call]  # torch's

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        self._makes.__exit__(*error)  # type: ignore[no-untyped-call]  # torch's

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._waits(func._schema.name, args, kwargs):
            self.waits[f"{_asking()}: {func._schema.name.removeprefix('aten::')}"] += 1
        return _carried_out(func, args, kwargs)

    def _waits(self, name: str, args: Any, kwargs: Any) -> bool:
        found = list(tensors((args, kwargs)))
        there, here = ([one for one in found if isinstance(one, OnDevice) is side] for side in (True, False))
        if name in ("aten::_to_copy", "aten::copy_"):
            target = kwargs.get("device", found[0].device) if name == "aten::_to_copy" else found[0].device
            return (target == THERE) != isinstance(found[-1], OnDevice)
        if not there:
            return False
        if name in INDEXED:
            masks = any(index.dtype == torch.bool for index in tensors(list(args[1])))
            return masks or bool(here)
        # a number may take part in an operation as it is, but for `where`, which copies it
        assert name == "aten::where" or not any(one.dim() for one in here), f"{name} of tensors in two places"
        return name in WAITING or (name == "aten::where" and bool(here))


class _Makes(TorchFunctionMode):
    """Numbers of the host become a tensor there, and are copied; torch makes none of them on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in READING and isinstance(args[0], OnDevice):
            return func(args[0].cpu())
        if func not in MAKING or isinstance(args[-1], OnDevice):
            return func(*args, **kwargs)
        device = kwargs.pop("device", args[0].device if func is torch.Tensor.new_tensor else None)
        made = torch.tensor(_read(args[-1]), dtype=kwargs.get("dtype", args[0].dtype if len(args) > 1 else None))
        return made if device is None else made.to(device)


def _read(values: Any) -> Any:
    """Numbers, and lists of them, of which those on the accelerator are copied one by one."""
    if isinstance(values, OnDevice):
        return values.item()
    return [_read(value) for value in values] if isinstance(values, list | tuple) else values


def _asking() -> str:
    """The innermost function that is not torch's, by file and name."""
    frame = sys._getframe(2)
    while "/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
        assert frame.f_back is not None
        frame = frame.f_back
    path = frame.f_code.co_filename.removeprefix(f"{ROOT}/").rpartition("site-packages/")[-1]
    return f"{path} {frame.f_code.co_name}"


def moved(module: nn.Module) -> None:
    """Puts weights and buffers on the accelerator; tied ones stay tied."""
    made: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                made.setdefault(id(weight), nn.Parameter(OnDevice(weight.data), weight.requires_grad))
                part._parameters[name] = made[id(weight)]
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else OnDevice(buffer)


def sent(batch: RegionBatch) -> RegionBatch:
    """A batch on the accelerator."""
    return batch._map(OnDevice)


def ours(waits: Iterable[str]) -> list[str]:
    """Those that our own code has asked for."""
    rooms = ("datamodules/", "metrics/", "lightning_modules/", "experiments/")
    return [wait for wait in waits if wait.startswith(rooms)]
