"""Whether the networks of a plan can be built, for a process that must not import torch.

Another process builds each, without memory for its weights, by the very code that would fail in a worker; only those
whose `build` raises anything are asked for. That it refuses nothing is kept for the user.

`python -m difgen_cli.engine.cost.buildable` reads {"plugins", "networks": {key: …}} on stdin and writes a
line of JSON for each, [key, sentence or nothing].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from difgen_cli.engine.cost import counting
from difgen_cli.engine.cost.counting import Network
from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.plan import Cell, Plan, Trajectory
from difgen_cli.engine.plugins import Library

KEPT = "networks.json"  # of the user's cache folder
PATIENCE_SECONDS = 120.0  # for all networks of a plan; what is not known by then is left to the workers


def check(plan: Plan, shapes: dict[str, tuple[int, ...]], library: Library) -> None:
    """GridError where a network of the plan cannot be built for its images, at the setting that its sentence names.

    shapes: (C, H, W) or (D,) by the key of a data set.
    """
    asked: dict[str, tuple[Network, Trajectory]] = {}
    for trajectory in plan.trajectories.values():
        head = trajectory.recipe.inputs["network"].head
        shape = shapes.get(trajectory.recipe.inputs["subset"].inputs["holdout"].inputs["pool"].key)
        if trajectory.batch and shape and library.signature("model", head.name).refuses:
            conditional = trajectory.recipe.inputs["labels"].head.name != "none"
            network = Network(head.name, head.version, head.settings, shape, conditional)
            asked.setdefault(network.key, (network, trajectory))
    refused: dict[str, str] = counting.asked(
        KEPT, [network for network, _ in asked.values()], library.user, __name__, PATIENCE_SECONDS,
        keeps=lambda sentence: sentence is None,  # code that refuses may be mended without another VERSION
    )  # fmt: skip
    for key, (_, trajectory) in asked.items():
        if sentence := refused.get(key):
            cell = next(cell for cell in plan.cells if cell.home == trajectory.key)
            settings = library.signature("model", trajectory.recipe.inputs["network"].head.name).settings
            path = "model." if sentence.partition(" ")[0] in settings else "model: "
            error = GridError(f"{path}{sentence}", _place(plan, cell, sentence))
            error.file = plan.grid.file
            raise error


def _place(plan: Plan, cell: Cell, sentence: str) -> Place | None:
    """Where the grid says the setting that a sentence names first, else where it names the model."""
    said = plan.grid.base | {path: given for stop in cell.axes for path, given in stop}
    named = {path.partition(".")[2]: given.place for path, given in said.items() if path.startswith("model.")}
    words = sentence.replace(":", " ").replace(",", " ").split()
    return next((named[word] for word in words if word in named), named.get("name"))


def main() -> None:
    """Answer stdin."""
    import torch

    said = json.load(sys.stdin)
    library = Library(Path(said["plugins"]) if said["plugins"] else None)
    for key, n in said["networks"].items():
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in n["settings"].items()}
        refused = None
        try:
            with torch.device("meta"):
                library.module("model", n["name"]).build(tuple(n["shape"]), 1 if n["conditional"] else 0, **settings)
        except ValueError as error:
            refused = str(error)
        except Exception:  # a plug-in that needs numbers to be built is no fault of its settings
            refused = None
        print(json.dumps([key, refused]), flush=True)


if __name__ == "__main__":
    main()
