"""What work will take, from what finished work has taken.

It is the median of what the same network took on the same device, by images, evaluations or images read. Another
network takes the time of the one nearest in FLOPs, times the root of the ratio of FLOPs; where nothing was trained, it
is a guess from the FLOPs alone. The range holds what was measured, and widens with each difference: in FLOPs, in
settings, in the plug-in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

from difgen_cli.engine.cost import networks
from difgen_cli.engine.cost.history import FORWARD, History, Measured, Workload, Workloads
from difgen_cli.engine.plan import Cell, Plan, channels_first, recipes
from difgen_cli.engine.plan.work import Scoring, Training
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.files import read_json

How = Literal["measured", "scaled", "guess", "unknown"]

NOISE_FACTOR = 1.35  # of the range at least: machines are shared, and others come and go
TAIL = 0.05  # of what was measured that lies outside the range at each end, where there is much of it
ALIKE = math.log(2)  # sizes and FLOPs this near to the nearest count as near
SIZE_POWER = 0.25  # of the ratio of sizes, by which the range widens: a start-up does not grow with the size
DIFFERENCE_FACTOR = 2.0  # of doubt for each of plug-in and settings that are others
NO_FLOPS_FACTOR = 4.0  # of doubt where the FLOPs of a network could not be counted

EVALUATIONS = "evaluations"  # the function of a metric that says how often it asks the network for an image
UNKNOWN_FLOPS = 1e7  # of a training image
GUESSED_RATES = {"cpu": 1e10, "cuda": 1e13}  # FLOPs a second of a training; that of cuda was never measured
GUESSED_STEP_SECONDS = 2e-3  # that a step takes however small it is
GUESSED_BATCH = 128  # of weights that somebody else trained
GUESS_FACTOR = 6.0


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


def predict(measured: Measured, asked: Workload, flops: Callable[[], Mapping[str, float]] = dict) -> Seconds:
    """What a workload will take, by the measured ones most like it; UNKNOWN where there are none.

    `flops`: of an image by network, asked for only where the network is not one of those measured.
    "measured" is the very same workload; all else is "scaled".
    """
    if not measured:
        return UNKNOWN
    agreement = max(workload.agreement(asked) for workload in measured)
    alike = [workload for workload in measured if workload.agreement(asked) == agreement]
    same_network, *same_others = agreement
    counts = {} if same_network else flops()
    counted = [w for w in alike if w.network in counts] if asked.network in counts else []
    growth = {w: counts[asked.network] / counts[w.network] for w in counted} or dict.fromkeys(alike, 1.0)
    distances = {w: abs(math.log(asked.size / w.size)) + abs(math.log(growth[w])) for w in growth}
    nearest = min(distances, key=lambda w: distances[w])
    near = [w for w in distances if distances[w] <= distances[nearest] + ALIKE]
    seconds = sorted(s * asked.size / w.size * math.sqrt(growth[w]) for w in near for s in measured[w])
    tail, middle = int(TAIL * len(seconds)), median(seconds)
    factor = max(NOISE_FACTOR, seconds[-1 - tail] / middle, middle / seconds[tail])
    factor *= math.exp(SIZE_POWER * abs(math.log(asked.size / nearest.size)) + abs(math.log(growth[nearest])) / 2)
    factor *= DIFFERENCE_FACTOR ** same_others.count(False) * (1.0 if same_network or counted else NO_FLOPS_FACTOR)
    how: How = "measured" if all(agreement) and not distances[nearest] else "scaled"
    return Seconds(middle, factor, how, nearest.name)


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
    device: str | None = None  # cpu or cuda of this machine, which will do the work; None: another's
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # (C, H, W) or (D,) by the key of a data set
    _memo: dict[Any, Any] = field(default_factory=dict)

    def training(self, unit: Training) -> UnitCost:
        """A training from where it goes on: its start, and then so much an image."""
        workload = self._training(unit.run_key)
        image = self._once((workload, unit.batch), lambda: self._image(workload, unit.batch))
        images = (unit.last - unit.first) * unit.batch
        return UnitCost({"training": replace(image, value=self._start_seconds + images * image.value)})

    def _training(self, run_key: str) -> Workload:
        settings = self.plan.trajectories[run_key].settings
        workload: Workload = self._once(run_key, lambda: self.workloads.training(settings))
        return workload

    @cached_property
    def _start_seconds(self) -> float:
        """Of a training before its first image."""
        return median([s for seconds in self.history.get("start", {}).values() for s in seconds] or [0.0])

    def _image(self, workload: Workload, batch: int) -> Seconds:
        """Training on one image; unknown on another machine without history, where the value orders trainings."""
        if measured := self.history.get("training"):
            return predict(measured, workload, lambda: self._flops)
        flops = self._flops.get(workload.network, UNKNOWN_FLOPS)
        seconds = GUESSED_STEP_SECONDS / batch + workload.size * flops / GUESSED_RATES[self.device or "cpu"]
        return Seconds(seconds, GUESS_FACTOR, "guess" if self.device else "unknown")

    def scoring(self, unit: Scoring) -> UnitCost:
        """Sampling, where samples are asked for and not there, and each metric. Units that are alike share one cost."""
        cell, metrics = self._cells[unit.run_key, unit.samples], tuple(m.metric for m in unit.metrics.values())
        network = self._once(("network", unit.run_key), lambda: self._network(cell))
        draws = self._draws(unit, metrics)
        key = (network, metrics, draws, cell.sampler, cell.guidance, *cell.scoring.values())
        cost: UnitCost = self._once(key, lambda: self._scoring(cell, metrics, draws=draws))
        return cost

    def _scoring(self, cell: Cell, metrics: Sequence[str], *, draws: bool) -> UnitCost:
        settings = cell.settings() | {"kind": cell.kind}
        parts: dict[str, Seconds] = {}
        for part in ("sampling", *metrics) if draws else metrics:
            workload = self.workloads.of(part, settings)
            seconds = predict(self.history.get(part, {}), workload, lambda: self._flops)
            network = cell.kind == "model" and networks.is_network(self.plan.recipes[cell.run_key])
            asked = self._evaluations(part, workload, cell) if seconds.how == "unknown" and network else 0.0
            if asked:
                learnt = self.workloads.training(settings)
                image = self._image(learnt, settings.get("train.batch", GUESSED_BATCH))
                seconds = replace(image.times(FORWARD * asked / learnt.size), factor=image.factor * DIFFERENCE_FACTOR)
            parts[part] = total([parts[part], seconds]) if part in parts else seconds
        return UnitCost(parts)

    def _evaluations(self, part: str, workload: Workload, cell: Cell) -> float:
        """How often sampling, or a metric whose file says it, asks the network for an image; 0 where none does."""
        if part == "sampling":
            return workload.size
        library, shape = self.workloads.library, self._shape(networks.pool_of(self.plan.recipes[cell.run_key]))
        if shape is None or EVALUATIONS not in library.signature("score", part).functions:
            return 0.0
        return float(library.module("score", part).evaluations(shape, cell.scoring[part].section.settings))

    def _draws(self, unit: Scoring, metrics: tuple[str, ...]) -> bool:
        """Whether samples are asked for that are not there."""
        asked = self._once(metrics, lambda: any("samples" in self.workloads.inputs(m) for m in metrics))
        if not asked or unit.kind not in ("model", "ideal"):
            return False
        folder = self.store.run_folder(unit.run_key, unit.slug, reference=unit.reference)
        return unit.samples not in self._once(("sampled", unit.run_key), folder.sampled)

    def _network(self, cell: Cell) -> tuple[Any, ...]:
        """What the costs of a trajectory's cells depend on beside sampler and metrics: network, data and its size."""
        settings = cell.settings()
        network = self.workloads.training(settings | {"kind": cell.kind}).network
        return cell.kind, network, settings["data.size"], settings["data.held_out"]

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {(cell.run_key, cell.samples): cell for cell in self.plan.cells}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    @cached_property
    def _flops(self) -> dict[str, float]:
        """Of a training image, by the networks that are planned or were measured, as far as they could be counted."""
        computed = (t for t in self.plan.trajectories.values() if networks.is_network(t.recipe))
        trained = {self._training(t.key).network: t.recipe for t in computed}
        for workload in self.history.get("training", {}):
            spec = read_json(self.store.run_folder(workload.run_key, "").path / "spec.json")
            if spec and workload.network not in trained:
                trained[workload.network] = recipes.load(spec["recipe"])[workload.run_key]
        shapes = {pool: self._shape(pool) for pool in map(networks.pool_of, trained.values())}
        asked = {n: networks.of_recipe(r, s) for n, r in trained.items() if (s := shapes[networks.pool_of(r)])}
        counts = networks.count_flops(list(asked.values()), self.plugins)
        return {name: counts[network.key] for name, network in asked.items() if network.key in counts}

    def _shape(self, pool: str) -> tuple[int, ...] | None:
        """(C, H, W) or (D,) of a data set."""
        kept = None if pool in self.shapes else self.store.pool_shape(pool)
        return channels_first(kept) if kept else self.shapes.get(pool)
