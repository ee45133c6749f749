"""Worlds of training preference, and of shares where samples come in groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from drawing import Arrays, Ends, blurred_digits, ends, unshared

from difgen_cli.metrics import preference
from difgen_cli.metrics._groups import share_interval


@dataclass(frozen=True)
class Preferring:
    """1,000 samples, each a near copy with probability `share`, else as unseen as the 900 held-out digits.

    A copy is nearer to T always, another sample half of the time, as T, H and it are alike: the excess is share/2.
    """

    size: int
    share: float
    held_out: int = 900

    def __str__(self) -> str:
        of = "" if self.held_out == 900 else f", {self.held_out} held out"
        return f"N = {self.size}{of}, share of copies {self.share:g}"

    @property
    def may_be_null(self) -> bool:
        return self.held_out < self.size  # the copycat's excess is then not always surely above 0

    def truth(self) -> Arrays:
        """Of N images so many take part as H leaves without its control."""
        images = min(self.size, self.held_out - self.held_out // preference.CONTROL)
        excess = self.share / 2 * images / self.size
        return {"train_pref_excess": np.array(excess), "train_pref_share": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H, samples = (blurred_digits(n, chance) for n in (self.size, self.held_out, 1000))
        copied = chance.random(len(samples)) < self.share
        samples[copied] = T[chance.integers(len(T), size=copied.sum())] + np.float32(1e-2)
        values = preference.measure(samples, T, H, unshared).values
        return ends(values, "train_pref_excess", "train_pref_share", null=self.may_be_null)


@dataclass(frozen=True)
class Modes:
    """300 samples that are few images, each with a little noise and as unseen as the 400 held-out digits.

    Each image of the few is a copy of a training image with probability `copied`; the first of them has the share
    `most` of the samples, and `grey` of them are of one colour. There is no interval where ten of them or fewer decide.
    """

    modes: int
    size: int = 64
    copied: float = 0.0
    most: float = 0.0
    grey: float = 0.0

    def __str__(self) -> str:
        more = [f"one is {self.most:.0%}"] * (self.most > 0) + [f"{self.copied:.0%} copied"] * (self.copied > 0)
        more += [f"{self.grey:.0%} grey"] * (self.grey > 0)
        return ", ".join([f"N = {self.size}, {self.modes} images as samples", *more])

    @property
    def may_be_null(self) -> bool:
        """Certain for few modes; in a few draws of modes that are copies less than ten images decide."""
        return self.modes <= 10 or self.copied > 0 or self.size <= 16 or self.most > preference.LARGEST

    def truth(self) -> Arrays:
        return {"train_pref_excess": np.array(self.copied / 2)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H, modes = (blurred_digits(n, chance) for n in (self.size, 400, self.modes))
        copied = chance.random(len(modes)) < self.copied
        modes[copied] = T[chance.integers(len(T), size=copied.sum())]
        which = chance.integers(self.modes, size=300)
        which[chance.random(300) < self.most] = 0
        samples = modes[which] + np.float32(2e-3) * chance.standard_normal((300, 8, 8, 1)).astype(np.float32)
        samples[chance.random(300) < self.grey] = np.float32(0.1)
        values = preference.measure(samples, T, H, unshared).values
        return ends(values, "train_pref_excess", null=self.may_be_null)


@dataclass(frozen=True)
class Prompts:
    """20 groups of 50 samples: those of a group are near one image (`alike`), or copies with one group in two.

    Alike: within noise of this deviation of an image as unseen as the held-out ones, which is what decides for most.
    """

    alike: float | None
    size: int = 64

    def __str__(self) -> str:
        how = "a group in two copies" if self.alike is None else f"alike but for noise of {self.alike:g}"
        return f"N = {self.size}, 20 groups of 50, {how}"

    @property
    def may_be_null(self) -> bool:
        return self.alike is not None  # where two or three groups are nearest to one image

    def truth(self) -> Arrays:
        return {"train_pref_excess": np.array(0.25 if self.alike is None else 0.0)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H, samples = (blurred_digits(n, chance) for n in (self.size, 400, 1000))
        groups = np.repeat(np.arange(20), 50)
        if self.alike is None:
            copied = (chance.random(20) < 0.5)[groups]
            samples[copied] = T[chance.integers(len(T), size=copied.sum())] + np.float32(1e-2)
        else:
            noise = np.float32(self.alike) * chance.standard_normal(samples.shape).astype(np.float32)
            samples = samples[:20][groups] + noise
        values = preference.measure(samples, T, H, unshared, groups=groups).values
        return ends(values, "train_pref_excess", null=self.may_be_null)


@dataclass(frozen=True)
class Grouped:
    """Groups of 50 samples, each with a share of hits of its own: beta-distributed with mean `share`.

    correlation: of two samples of a group; 0: they are independent, 1: all of a group hit or none.
    """

    share: float
    correlation: float
    groups: int = 20

    def __str__(self) -> str:
        return f"p = {self.share:g}, {self.groups} groups of 50, correlation {self.correlation:g}"

    def truth(self) -> Arrays:
        return {"share_interval": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        chance, p = np.random.default_rng(draw), self.share
        own = np.full(self.groups, p)
        if self.correlation == 1:
            own = (chance.random(self.groups) < p).astype(float)
        elif self.correlation:
            scale = 1 / self.correlation - 1
            own = chance.beta(p * scale, (1 - p) * scale, self.groups)
        hits = chance.random(50 * self.groups) < np.repeat(own, 50)
        lower, upper = share_interval(hits, np.repeat(np.arange(self.groups), 50))
        return {"share_interval": (np.array(lower), np.array(upper))}
