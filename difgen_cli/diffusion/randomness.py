"""All that is random in training: initial weights, data order, noise and dropout, each a function of (seed, step)."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from difgen_cli.diffusion import per_item

ORDER_CHUNK = 1 << 14  # places of the data order that are drawn together, in whole epochs


def stream(seed: int, purpose: str, place: int) -> int:
    """The seed of an independent random stream, 63 bits: of its three names alone, on every machine."""
    digest = hashlib.blake2b(f"{seed} {purpose} {place}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def initialise(build: Callable[[], nn.Module], seed: int, purpose: str = "weights") -> nn.Module:
    """`build()` with initial weights of `seed` and purpose alone; the random state around it stays as it was."""
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(stream(seed, purpose, 0))
        return build()
    finally:
        torch.default_generator.set_state(before)


def batches(count: int, batch: int, seed: int, start: int, device: str | torch.device = "cpu") -> Iterator[Tensor]:
    """Endless batches of places in [0, count), from batch number `start` on: (batch,) int64 on `device`.

    Batch t holds places t·batch … (t+1)·batch − 1 of a stream of permutations, one an epoch, so that any run uses every
    image equally often to within one.
    """
    epochs = max(1, ORDER_CHUNK // count)
    chunk, place = divmod(start * batch, epochs * count)
    order = permutations(count, epochs, seed, chunk).to(device)[place:]
    while True:
        while len(order) < batch:
            chunk += 1
            order = torch.cat([order, permutations(count, epochs, seed, chunk).to(device)])
        yield order[:batch]
        order = order[batch:]


def permutations(count: int, epochs: int, seed: int, chunk: int) -> Tensor:
    """`epochs` permutations of [0, count) one after the other, (epochs · count,) int64: of (seed, chunk) alone."""
    generator = torch.Generator().manual_seed(stream(seed, "order", chunk))
    keys = torch.rand(epochs, count, generator=generator, dtype=torch.float64)
    return keys.argsort(dim=1).flatten()


def replaced(values: Tensor, others: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`values` with each item of the batch replaced by that of `others` with probability `share`."""
    chosen = torch.rand(len(values), device=values.device, generator=generator) < share
    return torch.where(per_item(chosen, values), others, values)


def has_dropout(network: nn.Module) -> bool:
    """Whether a forward pass in training draws from torch's own random state."""
    return any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in network.modules())


@contextlib.contextmanager
def seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """torch's own random state is that of (seed, step) within, and what it was before after."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        generator_of(device).manual_seed(stream(seed, "dropout", step))
        yield


def generator_of(device: torch.device) -> torch.Generator:
    """The generator from which a device draws when none is named; of another card, another one."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def unseeded(seed: int, step: int, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Nothing: the network draws no random numbers."""
    return contextlib.nullcontext()
