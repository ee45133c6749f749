"""What work will take, from what finished work has taken.

The time of a training is the median seconds of an image over finished trainings of the same network on the same device;
sampling is estimated likewise by its evaluations and each metric by its images, from work of about the same size.
Where the network has not run there, it is the median of the networks nearest in FLOPs, scaled by the root of the ratio
of FLOPs: halfway between no growth, where overhead limits a device, and growth in proportion, where arithmetic does.
The range holds what was measured and is a factor of 1.35 at least; for another network it reaches from no growth to
growth in proportion, and it doubles where batch, precision, sampler or a metric's settings differ, and again where the
plug-in does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

from difgen_cli.engine.cost.history import History, Measured, Workload, Workloads
from difgen_cli.engine.cost.networks import Machine, Network, count_work, of_recipe, pool_of
from difgen_cli.engine.plan import Cell, Plan, recipes
from difgen_cli.engine.plan.work import Scoring, Training
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.files import read_json

How = Literal["measured", "scaled", "guess", "unknown"]

NOISE_FACTOR = 1.35  # of the range at least: machines are shared, and others come and go
TAIL = 0.05  # of what was measured that lies outside the range at each end, where there is much of it
ALIKE = math.log(2)  # sizes and FLOPs this near to the nearest count as near
SIZE_POWER = 0.25  # of the ratio of sizes, by which the range widens: a start-up does not grow with the size
SETTINGS_FACTOR = 2.0  # of doubt where batch, precision, sampler or a metric's settings are others
MODEL_FACTOR = 2.0  # of doubt where the network is another plug-in's
NO_FLOPS_FACTOR = 4.0  # of doubt where the FLOPs of a network could not be counted

NOMINAL_FLOPS_PER_SECOND = 1e11  # by which trainings are ordered where their device is not known
UNKNOWN_FLOPS = 1e7  # of a training image
ROOFLINE_SHARE = 0.4  # that a training reaches where none was measured; 0.1 to 1 have been seen
ROOFLINE_FACTOR = 4.0
FORWARD = 1 / 3  # of a training's operations: an evaluation


@dataclass(frozen=True)
class Seconds:
    """A prediction: with about 95 % certainty between value / factor and value · factor, and how it was obtained."""

    value: float
    factor: float = 1.0
    how: How = "measured"
    source: str = ""  # of a scaled one: the nearest work that was measured

    @property
    def low(self) -> float:
        return self.value / self.factor

    @property
    def high(self) -> float:
        return self.value * self.factor

    def times(self, factor: float) -> Seconds:
        """So many times as much."""
        return replace(self, value=self.value * factor)


NOTHING = Seconds(0.0)
UNKNOWN = Seconds(0.0, how="unknown")


def total(parts: Sequence[Seconds]) -> Seconds:
    """The sum, called as its largest part; errors are taken to agree, as those of one device do.

    Unknown where a part is.
    """
    value = sum(p.value for p in parts)
    largest = next((p for p in parts if p.how == "unknown"), max(parts, key=lambda p: p.value, default=NOTHING))
    if not value:
        return largest
    factor = max(sum(p.high for p in parts) / value, value / sum(p.low for p in parts))
    return replace(largest, value=value, factor=factor)


@dataclass(frozen=True)
class _Scaled:
    """A measurement as it stands for another workload."""

    measured: Measured
    size_ratio: float
    flops_ratio: float

    @property
    def distance(self) -> float:
        return abs(math.log(self.size_ratio)) + abs(math.log(self.flops_ratio))

    @property
    def seconds(self) -> float:
        return self.measured.seconds * self.size_ratio * math.sqrt(self.flops_ratio)


def predict(measured: Sequence[Measured], asked: Workload, flops: Callable[[], Mapping[str, float]] = dict) -> Seconds:
    """What a workload will take, by the measurements most like it; UNKNOWN where there are none.

    `flops`: of an image by network, asked for only where the network is not one of those measured.
    "measured" is the very same workload; all else is "scaled".
    """
    if not measured:
        return UNKNOWN
    agreement = max(m.workload.agreement(asked) for m in measured)
    candidates = [m for m in measured if m.workload.agreement(asked) == agreement]
    same_network, same_model, same_settings = agreement
    counts = {} if same_network else flops()
    counted = [m for m in candidates if m.workload.network in counts] if asked.network in counts else []
    scaled = [
        _Scaled(m, asked.size / m.workload.size, counts[asked.network] / counts[m.workload.network] if counted else 1.0)
        for m in counted or candidates
    ]
    nearest = min(scaled, key=lambda s: s.distance)
    seconds = sorted(s.seconds for s in scaled if s.distance <= nearest.distance + ALIKE)
    factor = _spread(seconds) * math.exp(
        SIZE_POWER * abs(math.log(nearest.size_ratio)) + abs(math.log(nearest.flops_ratio)) / 2
    )
    factor *= 1.0 if same_network or counted else NO_FLOPS_FACTOR
    factor *= (1.0 if same_settings else SETTINGS_FACTOR) * (1.0 if same_model else MODEL_FACTOR)
    how: How = "measured" if all(agreement) and not nearest.distance else "scaled"
    return Seconds(median(seconds), factor, how, nearest.measured.name)


def _spread(seconds: Sequence[float]) -> float:
    """How far ascending times reach from their median, as a factor; a few at each end of many are left out."""
    tail, middle = int(TAIL * len(seconds)), median(seconds)
    return max(NOISE_FACTOR, seconds[-1 - tail] / middle, middle / seconds[tail])


@dataclass(frozen=True, eq=False)
class UnitCost:
    """What a unit will take, part by part: training, sampling, or a metric by its name."""

    parts: dict[str, Seconds]

    @cached_property
    def total(self) -> Seconds:
        return total(list(self.parts.values()))


@dataclass
class Estimator:
    """Predicts the units of a plan; each distinct prediction is made once."""

    plan: Plan
    store: Store
    workloads: Workloads
    history: History
    plugins: Path | None
    machine: Machine | None = None  # that will do the work; None where it is another than this one
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # (C, H, W) or (D,) by the key of a data set
    _memo: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def training(self, unit: Training) -> UnitCost:
        """A training from where it goes on: its start-up, and then so much an image."""
        workload = self._training(unit.home)
        image = self._once(("image", workload), lambda: self._image(workload))
        images = (max(unit.steps) - unit.first) * unit.batch
        return UnitCost({"training": replace(image, value=self.history.start_seconds + images * image.value)})

    def _training(self, home: str) -> Workload:
        settings = self.plan.trajectories[home].settings
        workload: Workload = self._once(("training", home), lambda: self.workloads.training(settings))
        return workload

    def _image(self, workload: Workload) -> Seconds:
        """Training on one image; where nothing is known of it, the value orders trainings and is no time."""
        if self.history.trainings:
            return predict(self.history.trainings, workload, self._flops)
        flops = self._flops().get(workload.network, UNKNOWN_FLOPS) if len(self._networks) > 1 else UNKNOWN_FLOPS
        return self._guess(workload.network) or replace(UNKNOWN, value=flops / NOMINAL_FLOPS_PER_SECOND)

    def _guess(self, network: str) -> Seconds | None:
        """A training image by the roofline of this machine, where nothing was trained on it; None on others."""
        if self.history.trainings or not self.machine or network not in self._networks:
            return None
        amounts, limits = self._counts.get(self._networks[network].key), self._counts.get(self.machine.key)
        if not amounts or not limits:
            return None
        shortest = max(amount / limit for amount, limit in zip(amounts, limits, strict=True))
        return Seconds(shortest / ROOFLINE_SHARE, ROOFLINE_FACTOR, "guess")

    def scoring(self, unit: Scoring) -> UnitCost:
        """Sampling, where samples are asked for and not there, and each metric. Units that are alike share one cost."""
        cell, metrics = self._cells[unit.home, unit.samples], tuple(m.metric for m in unit.metrics.values())
        home = self._once(("home", unit.home), lambda: self._home(cell))
        draws = self._draws(unit, metrics)
        key = ("scoring", home, metrics, draws, cell.sampler, cell.guidance, *cell.scoring.values())
        cost: UnitCost = self._once(key, lambda: self._scoring(cell, metrics, draws=draws))
        return cost

    def _scoring(self, cell: Cell, metrics: Sequence[str], *, draws: bool) -> UnitCost:
        settings = cell.settings()
        parts: dict[str, Seconds] = {}
        if draws:
            workload = self.workloads.sampling(cell.kind, settings)
            predicted = predict(self.history.sampling, workload, self._flops)
            image = self._guess(workload.network) if predicted.how == "unknown" else None
            parts["sampling"] = image.times(workload.size * FORWARD) if image else predicted
        for metric in metrics:
            workload = self.workloads.metric(metric, cell.kind, settings)
            predicted = predict(self.history.metrics.get(metric, []), workload, self._flops)
            parts[metric] = total([parts[metric], predicted]) if metric in parts else predicted
        return UnitCost(parts)

    def _draws(self, unit: Scoring, metrics: tuple[str, ...]) -> bool:
        """Whether samples are asked for that are not there."""
        asked = self._once(("asked", metrics), lambda: any("samples" in self.workloads.inputs(m) for m in metrics))
        if not asked or unit.kind not in ("model", "ideal"):
            return False
        home = partial(self.store.home, unit.home, unit.slug, reference=unit.reference)
        return unit.samples not in self._once(("sampled", unit.home), lambda: home().sampled())

    def _home(self, cell: Cell) -> tuple[Any, ...]:
        """What the costs of a trajectory's cells depend on beside sampler and metrics: network, data and its size."""
        settings = cell.settings()
        return cell.kind, self.workloads.network(settings), settings["data.size"], settings["data.held_out"]

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {(cell.home, cell.samples): cell for cell in self.plan.cells}

    def _flops(self) -> Mapping[str, float]:
        """Of a training image by network, as far as they could be counted."""
        return {name: self._counts[n.key][0] for name, n in self._networks.items() if n.key in self._counts}

    @cached_property
    def _counts(self) -> dict[str, tuple[float, float]]:
        """FLOPs and bytes by key: of a training image of each network; and of a second of this machine, if needed."""
        machines = [self.machine] if self.machine and not self.history.trainings else []
        return count_work([*machines, *{n.key: n for n in self._networks.values()}.values()], self.plugins)

    @cached_property
    def _networks(self) -> dict[str, Network]:
        """Those that are planned or were measured, whose images have a known shape."""
        trained = {self._training(t.key).network: t.recipe for t in self.plan.trajectories.values() if t.batch}
        for network, key in self.history.examples.items():
            spec = None if network in trained else read_json(self.store.home(key, "").path / "spec.json")
            trained |= {network: recipes.load(spec["recipe"])[key]} if spec else {}
        shapes = {pool: self._shape(pool) for pool in map(pool_of, trained.values())}
        return {name: of_recipe(r, shape) for name, r in trained.items() if (shape := shapes[pool_of(r)])}

    def _shape(self, pool: str) -> tuple[int, ...] | None:
        """(C, H, W) or (D,) of a data set."""
        kept = None if pool in self.shapes else self.store.pool_shape(pool)
        return (kept[-1], *kept[:-1]) if kept else self.shapes.get(pool)
