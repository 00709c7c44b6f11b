"""A model without its weights that runs all the same: what it computes has shapes, types and sizes, but no values.

What decides the shapes in a vision-language model are whole numbers: ids, masks, grids of patches. These stay real, so
that models look things up, count and branch as ever. Fractions are on torch's meta device, where they take no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FEW = 4096  # answers of a question about values
LARGEST_REAL = 2**29  # bytes; what is larger is a mask over pairs of tokens
META = torch.device("meta")
INDEXED = frozenset(
    {"aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
)
DENIED = frozenset({"aten::eq", "aten::isnan", "aten::isinf"})
"""Questions about values that are not there, which are answered with no; all others are with yes."""


def without_values(like: torch.Tensor) -> torch.Tensor:
    """A tensor as `like`, on the meta device."""
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=META)


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """All tensors of an operation's arguments or results; torch's own walk takes several times as long."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(list(values.values()))


def changed(change: Callable[[torch.Tensor], torch.Tensor], values: Any) -> Any:
    """The same arguments or results with other tensors."""
    if isinstance(values, torch.Tensor):
        return change(values)
    if type(values) in (tuple, list):
        return type(values)(changed(change, value) for value in values)
    if isinstance(values, dict):
        return {name: changed(change, value) for name, value in values.items()}
    return values


def prepare(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Gives the weights of a model on the meta device gradients to add to, and the type they are computed with."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype or weight.dtype)
        if weight.requires_grad:
            weight.grad = torch.empty_like(weight)


class Weightless(TorchDispatchMode):
    """Within it a model on the meta device runs forward and backward on a batch whose whole numbers are real.

    What a model asks of values that are not there is answered so that nothing is left out: no value is zero or missing.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and telling the compiler so takes as long as the operation

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._attention = FusedAttention()
        self._made: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        self._attention.__enter__()  # type: ignore[no-untyped-call]  # torch's
        entered: Self = super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return entered

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        self._attention.__exit__(*error)  # type: ignore[no-untyped-call]  # torch's

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(tensor.is_meta for tensor in tensors((args, kwargs))):
            return self._of_real(func, args, kwargs)
        if func is torch.ops.aten.masked_scatter_backward.default:  # as many as are asked for
            return args[0].new_empty(args[2])
        if func._schema.name in INDEXED:
            args = (args[0], _places(args[1], args[0].is_meta), *args[2:])
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": META}
        args, kwargs = changed(_on_meta, (args, kwargs))
        output = self._result(func, args, kwargs)
        if isinstance(output, torch.Tensor) and output.dtype == torch.bool and output.numel() <= FEW:
            return torch.full(output.shape, func._schema.name not in DENIED)
        return output

    def _result(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the operation makes; one that the layer before has asked for, too, is not worked out again."""
        if not _makes_anew(func):
            return func(*args, **kwargs)
        asked = (func, _forms(args), _forms(tuple(kwargs.items())))
        if asked in self._made:
            return changed(without_values, self._made[asked])
        output = func(*args, **kwargs)
        # `_unsafe_view` says that it makes anew what it shares
        if _storages(output).isdisjoint(_storages((args, kwargs))):
            self._made[asked] = changed(without_values, output)
        return output

    def _of_real(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Whole numbers stay real where the model would move them to its own device, or make them there."""
        if kwargs.get("device") == META:
            made = func(*changed(_on_meta, args), **kwargs)
            if made.is_floating_point() or made.untyped_storage().nbytes() > LARGEST_REAL:
                return made
            kwargs = {**kwargs, "device": torch.device("cpu")}
        return changed(_without_large, func(*args, **kwargs))


@cache
def _makes_anew(func: Any) -> bool:
    """Whether an operation says that what it makes shares nothing with what it is given."""
    schema = func._schema
    return not schema.is_mutable and all(made.alias_info is None for made in schema.returns)


def _storages(values: Any) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in tensors(values)}


def _forms(values: Any) -> Any:
    """What decides the form of an operation's results."""
    if isinstance(values, torch.Tensor):
        return values.shape, values.stride(), values.dtype
    if isinstance(values, tuple | list):
        return tuple(map(_forms, values))
    return type(values), values


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_meta else without_values(tensor)


def _without_large(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.untyped_storage().nbytes() <= LARGEST_REAL else without_values(tensor)


def _places(indices: Sequence[torch.Tensor | None], on_meta: bool) -> list[torch.Tensor | None]:
    """Indices whose number is known: of a mask as many as it has ones, whichever they are."""
    places: list[torch.Tensor | None] = []
    for index in indices:
        if index is None or index.dtype != torch.bool or index.is_meta or not on_meta:
            places.append(index)
        else:
            places += [torch.zeros(int(index.sum()), dtype=torch.int64)] * index.dim()
    return places


class FusedAttention(TorchFunctionMode):
    """Attention as one kernel, as on a GPU; on the meta device torch would take it apart and keep all scores."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_empty(attn_mask.shape)  # what is added to scores
    attended: torch.Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
    return attended


PRODUCTS = frozenset(
    {F.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.mm, torch.einsum}
    | {torch.addmm, torch.baddbmm, F.conv1d, F.conv2d, F.conv3d, F.scaled_dot_product_attention}
)
"""What autocast computes in fewer bits."""


class Autocast(TorchFunctionMode):
    """What torch's autocast does to the types of products, on the meta device, where torch's does nothing.

    A copy of each weight that learns is kept until it ends, if they are cached. Arguments: as torch's.
    """

    def __init__(
        self, device_type: str = "meta", dtype: torch.dtype = torch.bfloat16, cache_enabled: bool = True
    ) -> None:
        super().__init__()
        self._dtype = dtype
        self._cached = cache_enabled
        self._copies: dict[torch.Tensor, torch.Tensor] = {}

    def __exit__(self, *error: Any) -> None:
        self._copies.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in PRODUCTS:
            args, kwargs = changed(self._cast, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.dtype == self._dtype:
            return tensor
        if not (self._cached and tensor.requires_grad and tensor.is_leaf):
            return tensor.to(self._dtype)
        if tensor not in self._copies:
            self._copies[tensor] = tensor.to(self._dtype)
        return self._copies[tensor]
