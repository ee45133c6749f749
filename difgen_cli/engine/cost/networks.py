"""What must be known of a plan's networks before they run, for a process that must not import torch.

Another process builds each on the meta device, without memory for its weights: whether it can be built, by the very
code that would fail in a worker; and the FLOPs of a training image. Its answers are kept for the user.

`python -m difgen_cli.engine.cost.networks` reads {"question", "plugins", "networks"} on stdin and writes a
line of JSON for each of them, [key, answer], until it is stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from difgen_cli.engine.cost import cache
from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.plan import Cell, Plan, Trajectory, operations
from difgen_cli.engine.plan.points import assignments
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store.files import StoreError, read_json, replace_json

Question = Literal["buildable", "weights", "flops"]
# files of the user's cache folder
KEPT = {"buildable": "networks.json", "weights": "weights.json", "flops": "flops.json"}
BUILD_SECONDS = 120.0  # for all networks of a plan; what is not known by then is left to the workers
COUNT_SECONDS = 30.0  # likewise; the next plan goes on
BATCH = 128  # at which FLOPs are counted: those of an image do not depend on it


@dataclass(frozen=True)
class Network:
    """What decides the work of an image: plug-in, version, settings, shape (C, H, W) or (D,), labels or none."""

    name: str
    version: int | str
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    conditional: bool

    @cached_property
    def key(self) -> str:
        """The hash of it all, under which an answer is kept."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()[:16]


def of_recipe(trajectory: Recipe, shape: tuple[int, ...]) -> Network:
    """The network that a trajectory trains on images of this shape."""
    network, labels = trajectory.inputs["network"].operation, trajectory.inputs["labels"]
    return Network(network.name, network.version, network.settings, shape, labels.name != "none")


def is_network(trajectory: Recipe) -> bool:
    """Whether a network is what a model computes, trained here or by somebody else; and not a closed form."""
    return "network" in trajectory.inputs and trajectory.name != operations.CLOSED_FORM


def pool_of(trajectory: Recipe) -> str:
    """The key of the data set that a trajectory is trained on."""
    return trajectory.inputs["subset"].inputs["holdout"].inputs["pool"].key


def check(plan: Plan, shapes: Mapping[str, tuple[int, ...]], library: Library) -> None:
    """GridError where a network of the plan cannot be built for its images, at the setting that its sentence names.

    shapes: (C, H, W) or (D,) by the key of a data set. Only plug-ins whose `build` raises anything are asked about.
    """
    asked: dict[str, tuple[Network, Trajectory]] = {}
    for trajectory in plan.trajectories.values():
        shape = shapes.get(pool_of(trajectory.recipe))
        if trajectory.batch and shape and library.signature("model", trajectory.recipe.inputs["network"].name).refuses:
            network = of_recipe(trajectory.recipe, shape)
            asked.setdefault(network.key, (network, trajectory))
    networks = [network for network, _ in asked.values()]
    refusals = _ask("buildable", networks, library.user, BUILD_SECONDS)
    for key, sentence in refusals.items():
        network, trajectory = asked[key]
        cell = next(cell for cell in plan.cells if cell.run_key == trajectory.key)
        settings = library.signature("model", network.name).settings
        path = "model." if sentence.partition(" ")[0] in settings else "model: "
        error = GridError(f"{path}{sentence}", _place(plan, cell, sentence))
        error.file = plan.grid.file
        raise error
    _check_starts(plan, shapes, library)


def _check_starts(plan: Plan, shapes: Mapping[str, tuple[int, ...]], library: Library) -> None:
    """GridError where a training is to begin with the weights of a network that has others.

    What is not known here, such as the number of labels, is left to the worker.
    """
    pairs: list[tuple[Trajectory, Network, Network]] = []
    for trajectory in plan.trajectories.values():
        if start := trajectory.recipe.inputs.get("start"):
            both = [(recipe, shapes.get(pool_of(recipe))) for recipe in (trajectory.recipe, start.inputs["trajectory"])]
            networks = [of_recipe(recipe, shape) for recipe, shape in both if shape]
            if len({network.key for network in networks}) == 2:
                pairs.append((trajectory, networks[0], networks[1]))
    asked = [network for _, own, other in pairs for network in (own, other)]
    answers = _ask("weights", asked, library.user, BUILD_SECONDS) if pairs else {}
    for trajectory, own, other in pairs:
        if own.key in answers and other.key in answers and answers[own.key] != answers[other.key]:
            given = [g for path, g in assignments(plan.grid, plan.grid.axes) if path.startswith("train.start.")]
            raise GridError(
                f"train.start: the weights that {trajectory.slug} is to begin with are those of another network "
                f"({other.name} for {_words(other.shape)}); begin with a network and images of the same shape",
                next((g.place for g in given), None),
            )


def _words(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _place(plan: Plan, cell: Cell, sentence: str) -> Place | None:
    """Where the grid says the setting that a sentence names first, else where it names the model."""
    settings = plan.grid.base | {path: given for stop in cell.axes for path, given in stop}
    named = {path.partition(".")[2]: given.place for path, given in settings.items() if path.startswith("model.")}
    words = sentence.replace(":", " ").replace(",", " ").split()
    return next((named[word] for word in words if word in named), named.get("name"))


def count_flops(networks: Sequence[Network], plugins: Path | None) -> dict[str, float]:
    """FLOPs of one training image by the network's key, as far as they could be counted; nothing here is an error."""
    return _ask("flops", networks, plugins, COUNT_SECONDS)


def _ask(
    question: Question, networks: Sequence[Network], plugins: Path | None, patience_seconds: float
) -> dict[str, Any]:
    """Answers that are something, by key: those kept, else those of the other process."""
    folder = cache.folder()
    file = folder / KEPT[question] if folder else None
    answers: dict[str, Any] = (file and read_json(file)) or {}
    lacking = {n.key: asdict(n) for n in networks if n.key not in answers}
    if lacking:
        answers |= _answers_of_process(question, lacking, plugins, patience_seconds)
        # A refusal is not kept: code that refuses may be mended without another VERSION.
        kept = {key: answer for key, answer in answers.items() if question != "buildable" or answer is None}
        if file:
            with suppress(StoreError):  # else it is asked again next time
                replace_json(file, kept)
    return {n.key: answers[n.key] for n in networks if answers.get(n.key)}


def _answers_of_process(
    question: Question, networks: Mapping[str, Any], plugins: Path | None, patience_seconds: float
) -> dict[str, Any]:
    """The answers of a process of its own: it may be as slow as torch is to import, or fail."""
    request = json.dumps({"question": question, "plugins": plugins, "networks": networks}, default=str)
    try:
        with subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(request, patience_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
    except OSError:
        return {}
    return dict(json.loads(line) for line in output.splitlines() if line.endswith("]"))


def main() -> None:
    """Answer stdin; null stands for what is not known, or not refused."""
    request = json.load(sys.stdin)
    answer = {"buildable": _refusal, "weights": _weights, "flops": _flops}[request["question"]]
    library = Library(Path(request["plugins"]) if request["plugins"] else None)
    for key, n in request["networks"].items():
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in n["settings"].items()}
        network = Network(n["name"], n["version"], settings, tuple(n["shape"]), n["conditional"])
        print(json.dumps([key, answer(network, library)]), flush=True)


def _build(network: Network, library: Library) -> Any:
    import torch

    with torch.device("meta"):
        classes = 1 if network.conditional else 0
        return library.module("model", network.name).build(network.shape, classes, **network.settings)


def _refusal(network: Network, library: Library) -> str | None:
    try:
        _build(network, library)
    except ValueError as error:
        return str(error)
    except Exception:  # a plug-in that needs numbers to be built is no fault of its settings
        return None
    return None


def _weights(network: Network, library: Library) -> str | None:
    """A hash of the names and shapes of all weights; networks of the same can exchange them."""
    try:
        state = _build(network, library).state_dict()
    except Exception:  # as above; a worker will tell
        return None
    names = sorted((name, *tensor.shape) for name, tensor in state.items())
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def _flops(network: Network, library: Library) -> float | None:
    from difgen_cli.engine.cost import flops

    try:
        work = flops.training(_build(network, library), network.shape, BATCH)
    except Exception:  # a plug-in may be anything; not to know its work harms nothing
        return None
    return work.flops if work else None


if __name__ == "__main__":
    main()
