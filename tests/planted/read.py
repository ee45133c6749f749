"""A planted world through `difgen score`, and how its numbers and sentences differ from what they should be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from difgen_cli.cli import app
from planted.data import Data
from planted.worlds import World


@dataclass(frozen=True)
class Read:
    """What was read and said of a world, and what is wrong with it."""

    world: World
    row: dict[str, Any]
    sentences: list[str]
    faults: list[str]


def read(world: World, data: Data, count: int, folder: Path) -> Read:
    """Score the world's samples with what a user would type; results of its references are kept in `folder`."""
    place = folder / re.sub(r"[^a-z0-9]+", "-", world.name.lower()).strip("-")
    place.mkdir(parents=True, exist_ok=True)
    parts = {"train": world.train(data), "test": data.held_out, "made": world.samples(data, count)}
    for name, images in parts.items():
        np.savez(place / f"{name}.npz", images=images)
    words = ["score", place / "made.npz", "--against", place / "train.npz", "--held-out", place / "test.npz",
             "--metrics", "memorization,preference,aligned", "--out", place / "report", "--runs", folder / "scores",
             "--json", *world.options]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exit_code:
        return Read(world, {}, [], [f"exit code {done.exit_code}: {done.output[-500:]}"])
    found = json.loads(done.stdout)
    return judge(world, found["rows"]["model"], found["findings"])


def judge(world: World, row: dict[str, Any], sentences: list[str]) -> Read:
    """Hold what was found against what the world must read and say."""
    text = " ".join(sentences)
    faults = []
    for name, wanted in world.reads.items():
        value = row.get(name)
        if name not in row:
            faults.append(f"{name} is not there")
        elif wanted is None and value is not None:
            faults.append(f"{name} {value} should be null")
        elif wanted is not None and (value is None or not wanted[0] <= value <= wanted[1]):
            faults.append(f"{name} {value} not in {wanted}")
    faults += [f"does not say: {pattern}" for pattern in world.says if not re.search(pattern, text)]
    faults += [f"says: {found[0]}" for pattern in world.never if (found := re.search(pattern, text))]
    return Read(world, row, sentences, faults)
