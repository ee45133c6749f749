"""Large products of the host's arrays on a worker's card, where it has one: who may be nearest, and triangular factors.

The host has the last word: it tells neighbours apart by distances in float64, so that they are those of a search
without a card, to the bit; a factor, in float64 too, differs by rounding. Where the card has no memory left, the host
computes as it does without one. What is small stays on the host, as a copy would take longer. Not run on a GPU.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from difgen_cli.diffusion.precision import products

COLUMNS = 8192  # references of a tile
WORTH = 1 << 36  # multiplications, from which on a card repays what is copied to it

Given = TypeVar("Given")
_cards: list[str] = []  # the one that is used, if any


def use(device: str | None) -> None:
    """From now on this device computes what is large in this process; None: the host."""
    _cards[:] = [device] if device else []


def lowest(
    queries: np.ndarray, references: np.ndarray, half_norms: np.ndarray, count: int, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """The `count` smallest scores ‖r‖²/2 − q·r (b, count) float32, ascending, of queries (b, d), and their positions.

    references (m, d) and half_norms (m,), all float32; own: the position of each query (b,), which is left out, −1 for
    none. None where the host is to compute: without a card, or without room on it.
    """
    return _on_card(lambda device: _lowest(device, queries, references, half_norms, count, own))


def triangular(rows: np.ndarray) -> np.ndarray:
    """R (min(n, d), d) of rows (n, d) float64 = Q R; a card's differs by rounding and in signs of its rows."""
    of_card = None
    if 2 * len(rows) * rows.shape[1] ** 2 >= WORTH:
        of_card = _on_card(lambda device: torch.linalg.qr(torch.from_numpy(rows).to(device), mode="r").R.cpu().numpy())
    return np.asarray(np.linalg.qr(rows, mode="r")) if of_card is None else of_card


def _on_card(compute: Callable[[str], Given]) -> Given | None:
    for device in _cards:
        with suppress(torch.OutOfMemoryError), torch.no_grad(), products("fp32"):  # bounds are of float32 in full
            return compute(device)
        torch.cuda.empty_cache()  # what the error held is let go by now
    return None


def _lowest(
    device: str, queries: np.ndarray, references: np.ndarray, half_norms: np.ndarray, count: int, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    def moved(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    asked = moved(queries)
    best = torch.full((len(queries), count), torch.inf, device=device)
    positions = torch.full((len(queries), count), -1, dtype=torch.int64, device=device)
    for start in range(0, len(references), COLUMNS):
        part = slice(start, start + COLUMNS)
        scores = moved(half_norms[part]) - asked @ moved(references[part]).T
        if own is not None:
            rows = np.flatnonzero((own >= start) & (own < start + scores.shape[1]))
            scores[moved(rows), moved(own[rows] - start)] = torch.inf
        values, columns = scores.topk(min(count, scores.shape[1]), largest=False)
        best, order = torch.cat([best, values], dim=1).topk(count, largest=False)
        positions = torch.cat([positions, columns + start], dim=1).gather(1, order)
    return best.cpu().numpy(), positions.cpu().numpy()
