"""What one unit takes, part by part: planned work held against what like work has cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from difgen_cli.engine.cost import estimate
from difgen_cli.engine.cost.counting import MOST, Machine, Network, Numbers, counted
from difgen_cli.engine.cost.estimate import UNKNOWN, Seconds
from difgen_cli.engine.cost.history import History, HistoryLabels
from difgen_cli.engine.plan import Cell, Plan, recipes
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.work import Scoring, Training
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.files import read_json

NOMINAL_FLOPS_PER_SECOND = 1e11
UNKNOWN_FLOPS = 1e7  # of a training image
TYPICAL_SHARE = 0.4  # of a roofline that a training reaches; 0.1 to 1 have been seen
TYPICAL_FACTOR = 4.0
FORWARD = 1 / 3  # of a training's operations: an evaluation


@dataclass
class Prices:
    """Predictions for the units of a plan, each distinct one made once."""

    plan: Plan
    store: Store
    labels: HistoryLabels
    history: History
    plugins: Path | None
    machine: Machine | None = None  # that will do the work; None where it is another than this one
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # pool -> (H, W, C), or (D,)
    count: Callable[[Sequence[Network | Machine], Path | None], Numbers] = counted
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    # Units -----------------------------------------------------------------------------------------------------------

    def training(self, unit: Training) -> dict[str, Seconds]:
        """A training from where it goes on; its start-up, and then so much an image."""
        settings = self.plan.trajectories[unit.home].settings
        like = self._once(("training", unit.home), lambda: self.labels.training(settings))
        images = (max(unit.steps) - unit.first) * unit.batch
        rate: Seconds = self._once(("rate", *like), lambda: self._rate(like))
        return {"training": replace(rate, value=self.history.start_seconds + images * rate.value)}

    def _rate(self, like: tuple[str, ...]) -> Seconds:
        """Seconds of training an image."""
        if self.history.rates:
            return estimate.predict(self.history.rates, 1.0, like, like[2], self.count_flops)
        return self._guess(like[2]) or replace(UNKNOWN, value=self._nominal(like[2]))

    def _nominal(self, network: str) -> float:
        """Seconds of nowhere: by them trainings are ordered where their device is not known."""
        alone = len(self._planned) < 2
        return (UNKNOWN_FLOPS if alone else self.count_flops().get(network, UNKNOWN_FLOPS)) / NOMINAL_FLOPS_PER_SECOND

    def _guess(self, network: str) -> Seconds | None:
        """The same from the roofline of this machine, where nothing was ever trained on it; None on others."""
        work, limits = self.work.get(network), self._limits
        if work is None or limits is None:
            return None
        shortest = max(amount / speed for amount, speed in zip(work, limits, strict=True))  # FLOPs, bytes
        return Seconds(shortest / TYPICAL_SHARE, TYPICAL_FACTOR, "guess")

    def scoring(self, unit: Scoring) -> dict[str, Seconds]:
        """Sampling, where samples are asked for and not there, and each metric. Units that are alike share one."""
        cell, metrics = self._cells[unit.home, unit.samples], tuple(m.metric for m in unit.metrics.values())
        drawn = self._draws(unit, metrics)
        of_cell = (id(cell.sampler), id(cell.guidance), id(cell.scoring))
        at = ("scoring", unit.home, drawn, metrics, *of_cell)
        if at not in self._made:
            alike = ("alike", drawn, metrics, *self._where(cell), *of_cell)
            self._made[at] = self._once(alike, lambda: self._scoring(cell, metrics, drawn))
        found: dict[str, Seconds] = self._made[at]
        return found

    def _scoring(self, cell: Cell, metrics: Sequence[str], drawn: bool) -> dict[str, Seconds]:
        settings, kind = cell.settings(), cell.kind
        costs: dict[str, Seconds] = {}
        if drawn:
            like = self.labels.sampling(kind, settings)
            evaluations = self.labels.evaluations(kind, settings)
            one = estimate.predict(self.history.sampling, evaluations, like, like[-1], self.count_flops)
            image = self._guess(like[-1]) if one.how == "unknown" else None
            costs["sampling"] = image.times(evaluations * FORWARD) if image else one
        for metric in metrics:
            like, size = self.labels.metric(metric, kind, settings), self.labels.size(metric, settings)
            network = like[-1] if self.labels.evaluates(metric) else ""
            one = estimate.predict(self.history.metrics.get(metric, []), size, like, network, self.count_flops)
            costs[metric] = one if metric not in costs else estimate.total([costs[metric], one])
        return costs

    def _draws(self, unit: Scoring, metrics: tuple[str, ...]) -> bool:
        """Whether samples are asked for that are not there."""
        asked = self._once(("asked", metrics), lambda: any("samples" in self.labels.inputs(m) for m in metrics))
        if not asked or unit.kind not in ("model", "ideal"):
            return False
        home = partial(self.store.home, unit.home, unit.slug, reference=unit.reference)
        return unit.samples not in self._once(("sampled", unit.home), lambda: home().sampled())

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {(cell.home, cell.samples): cell for cell in self.plan.cells}

    def _where(self, cell: Cell) -> tuple[Any, ...]:
        """What the cells of one home share, and others may share with them: network, data and size."""
        settings = cell.settings()
        return cell.kind, self.labels.network(settings), settings["data.size"], settings["data.held_out"]

    def _once(self, at: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if at not in self._made:
            self._made[at] = make()
        return self._made[at]

    # FLOPs -----------------------------------------------------------------------------------------------------------

    def count_flops(self) -> dict[str, float]:
        """FLOPs of a training image by network, as far as they are known."""
        return {label: work[0] for label, work in self.work.items()}

    @cached_property
    def work(self) -> Numbers:
        """FLOPs and bytes by network, of those planned and those measured; counted where first asked for."""
        networks = self._planned | self._finished()
        distinct = list({n.key: n for n in networks.values()}.values())
        asked = distinct[:: -(-len(distinct) // MOST)] if distinct else []
        found = self.count([*asked, *self._machines], self.plugins)
        return {label: near for label, n in networks.items() if (near := _nearest(n, asked, found))}

    @cached_property
    def _limits(self) -> tuple[float, float] | None:
        found = self.count(self._machines, self.plugins)
        return next(iter(found.values()), None)

    @property
    def _machines(self) -> list[Machine]:
        """This one, where its limits are asked for: not where something was trained on it."""
        return [self.machine] if self.machine and not self.history.rates else []

    @cached_property
    def _planned(self) -> dict[str, Network]:
        found: dict[str, Network] = {}
        for trajectory in self.plan.trajectories.values():
            label = self.labels.network(trajectory.settings)
            network = self._network(trajectory.recipe) if trajectory.batch and label not in found else None
            if network:
                found[label] = network
        return found

    def _finished(self) -> dict[str, Network]:
        found = {}
        for label, key in self.history.homes.items():
            spec = read_json(self.store.home(key, "").path / "spec.json")
            network = self._network(recipes.load(spec["recipe"])[key]) if spec else None
            if network:
                found[label] = network
        return found

    def _network(self, trajectory: Recipe) -> Network | None:
        """The network of a trajectory; None where the shape of its images is not known."""
        pool = trajectory.inputs["subset"].inputs["holdout"].inputs["pool"].key
        shape = self.shapes.get(pool) or self.store.pool_shape(pool)
        if shape is None:
            return None
        head = trajectory.inputs["network"].head
        channels_first = shape if len(shape) == 1 else (shape[2], shape[0], shape[1])
        conditional = trajectory.inputs["labels"].head.name != "none"
        return Network(head.name, head.version, head.settings, channels_first, conditional)


def _nearest(network: Network, asked: Sequence[Network], found: Numbers) -> tuple[float, float] | None:
    """A network's own work, or that of the one with the most similar settings where there were too many to count."""
    if network.key in found:
        return found[network.key]
    alike = [n for n in asked if (n.name, n.shape) == (network.name, network.shape) and n.key in found]
    nearest = min(alike, key=lambda n: _apart(n.settings, network.settings), default=None)
    return found[nearest.key] if nearest else None


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How far settings are from each other: by the logs of positive numbers, else 1 where they differ."""

    def distance(a: Any, b: Any) -> float:
        numbers = all(isinstance(v, int | float) and v > 0 for v in (a, b))
        return abs(math.log(a / b)) if numbers else float(a != b)

    return sum(distance(one.get(name), other.get(name)) for name in one.keys() | other.keys())
