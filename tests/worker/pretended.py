"""A card that is not there: tensors that say they are on one, with numbers that the CPU computes.

What a card refuses is refused: an operation on tensors of both. What makes the CPU wait for a card is noted: reading a
number, copying to the CPU, or from it what is not pinned, choosing by a mask, whose length the CPU has to know. The
card is torch's own backend for devices that others make, with no code behind it. It is a process of its own, since such
devices are named once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CARD = "card"
aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default, aten._foreach_copy_.default)
# The length of what they give is in their numbers; the CPU waits for it.
LENGTHS = (
    aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.unique_dim.default,
    aten.unique_consecutive.default, aten.bincount.default, aten.repeat_interleave.Tensor,
)  # fmt: skip
READS = (aten._local_scalar_dense.default, aten.equal.default, *LENGTHS)
BY_INDEX = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class OnCard(Tensor):
    """A tensor on the card; `numbers` is the same on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> OnCard:
        tensor: OnCard = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype, device=torch.device(CARD, 0),
        )  # fmt: skip
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})

    def tolist(self) -> Any:
        waited("tolist")
        return self.numbers.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.numbers})"


class Seeds(torch.Generator):
    """A generator of the CPU that says it is of the card."""

    def __new__(cls, device: Any = "cpu") -> Seeds:
        seeds = super().__new__(cls)
        seeds.named = torch.device(device)
        return seeds

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.named


class Card(TorchDispatchMode):
    """Within, tensors can be made on the card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


_watched = 0  # how many `without_waiting` are around


@contextmanager
def without_waiting() -> Iterator[None]:
    """RuntimeError where the CPU waits for the card within."""
    global _watched
    _watched += 1
    try:
        yield
    finally:
        _watched -= 1


def waited(func: Any) -> None:
    """The CPU waits here: RuntimeError where it must not."""
    if _watched:
        raise RuntimeError(f"the CPU waits for the card: {func}")


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives: on the card where it is asked for, or where what it is given is there."""
    leaves, _ = tree_flatten((args, kwargs))
    on_card = [leaf for leaf in leaves if isinstance(leaf, OnCard)]
    elsewhere = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnCard)]
    device = kwargs.get("device")
    to_card = bool(on_card) if device is None else torch.device(device).type == CARD
    if func in COPIES:
        if on_card and (not to_card if device is not None else not isinstance(_first(args), OnCard)):
            waited(func)
        to_card = to_card if func is aten._to_copy.default else isinstance(_first(args), OnCard)
        if to_card and elsewhere and not _behind(args, kwargs):
            waited(func)
    elif on_card and any(leaf.dim() > 0 for leaf in elsewhere):
        raise RuntimeError(f"{func}: expected all tensors on one device, but found at least two devices, card and cpu")
    if on_card and (func in READS or (func in BY_INDEX and _masks(args[1]))):
        waited(func)
    named = {id(leaf.numbers): leaf for leaf in on_card}
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    if device is not None:
        plain_kwargs["device"] = torch.device("cpu")
    result = func(*plain_args, **plain_kwargs)
    if not to_card:
        return result
    given, spec = tree_flatten(result)
    return tree_unflatten([_named(leaf, named) for leaf in given], spec)


def _first(args: Any) -> Any:
    return args[0][0] if isinstance(args[0], list | tuple) else args[0]


def _behind(args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a copy is asked not to be waited for."""
    return bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))


def _masks(indices: Any) -> bool:
    return any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)


def _plain(leaf: Any) -> Any:
    return leaf.numbers if isinstance(leaf, OnCard) else leaf


def _named(leaf: Any, named: dict[int, OnCard]) -> Any:
    """What was changed in place is what it was."""
    if not isinstance(leaf, Tensor):
        return leaf
    return named[id(leaf)] if id(leaf) in named else OnCard(leaf)


def plug_in() -> None:
    """From now on there is a card in this process."""
    backend_registration._setup_privateuseone_for_python_backend(CARD)
    torch.Generator = Seeds  # type: ignore[misc]
    # torch fills these before its own dispatch begins: made on the CPU, and copied, as it does for a real card.
    plain = torch.tensor

    def tensor(data: Any, *, device: Any = None, **settings: Any) -> Tensor:
        return plain(data, **settings).to(device or "cpu")

    def new_tensor(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return plain(data, dtype=dtype or self.dtype).to(device or self.device)

    torch.tensor = tensor  # type: ignore[assignment]
    Tensor.new_tensor = new_tensor  # type: ignore[method-assign,assignment]
