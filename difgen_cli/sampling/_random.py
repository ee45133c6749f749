"""Random numbers for samplers that add noise on their way: the same for sample i, whatever the count."""

import numpy as np
import torch
from torch import Tensor

CHUNK = 16  # samples that share a stream; blocks of samples are whole multiples of it


class Randomness:
    """One stream for each (seed, draw, chunk of 16 samples), for the samples start, start + 1, … of a block."""

    def __init__(self, seed: int, start: int, count: int) -> None:
        if start % CHUNK or count % CHUNK:
            raise ValueError(f"blocks must be whole multiples of {CHUNK} samples, not {count} from {start} on")
        self.seed, self.start, self.count = seed, start, count
        self.draws = 0

    def normal(self, x: Tensor) -> Tensor:
        """Unit Gaussian noise like `x` (B, ...), which holds all samples of the block; other noise at each call."""
        if len(x) != self.count:
            raise ValueError(f"rng.normal draws for all {self.count} samples of a block at once, not for {len(x)}")
        self.draws += 1
        drawn = np.empty(tuple(x.shape), dtype=np.float32)
        for place in range(0, self.count, CHUNK):
            # The last word of the counter tells draws apart; that of the starting points is 0.
            key, counter = [self.seed, (self.start + place) // CHUNK], [0, 0, 0, self.draws]
            generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
            generator.standard_normal(dtype=np.float32, out=drawn[place : place + CHUNK])
        host = torch.from_numpy(drawn)
        host = host.pin_memory() if x.is_cuda else host  # else a card is waited for
        return host.to(device=x.device, dtype=x.dtype, non_blocking=True)
