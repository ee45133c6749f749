"""What a cell needs of other trajectories: samples that a metric compares with, weights that guidance steers away from.

They are planned like the cell's own, whoever else wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Dependency, channels_first
from difgen_cli.engine.plan.guidance import Guidance
from difgen_cli.engine.plan.metric import BASE, PARTNERS, REFERENCE, Metric
from difgen_cli.engine.plan.points import Point, Points
from difgen_cli.engine.plan.recipes import Operation, Recipe, apart
from difgen_cli.engine.plan.runs import SnapshotRef, Trajectories
from difgen_cli.engine.plan.sections import Section, is_pretrained

# What a metric's `twin` and `sibling` are trained with: the other half, or the same; initial weights of their own.
TWIN_SEED = 1000
DROPPED = "dropped condition"  # what terms of guidance, and metrics, may need of a network
TRAINED_WITH: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "twin": lambda half, seed: {"data.half": "B" if half == "A" else "A", "train.seed": seed ^ TWIN_SEED},
    "sibling": lambda half, seed: {"data.half": half, "train.seed": seed ^ TWIN_SEED},
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples, by the keys of what they are made of."""

    samples: str
    guided: str  # of the denoiser that the sampler follows: the snapshot itself without guidance
    guidance: Guidance  # the terms that have an effect here
    partners: dict[str, Dependency]  # the terms' worse selves, as `guide.<term>`


class Partners:
    """The samples of points, and the other trajectories that they and the metrics need."""

    def __init__(self, points: Points, runs: Trajectories) -> None:
        self.points, self.runs = points, runs
        self.operations: dict[Section, Operation] = {}

    def drawn(self, weights: SnapshotRef, sampler: Section, guidance: Guidance, point: Point) -> Drawn:
        """The samples of weights, which stand at a point where they are guided."""
        others = {name: self._worse(name, guidance, weights, point) for name in guidance.terms}
        itself = [name for name, other in others.items() if other and other.snapshot == weights.snapshot]
        guidance = guidance.without(itself) if itself else guidance  # D_pos − D_pos is nothing to steer by
        partners = {f"guide.{name}": other for name, other in others.items() if other and name not in itself}
        key = guidance.key({name: {"weak": p.snapshot} for name, p in others.items() if p})
        both = {"snapshot": weights.snapshot, "guidance": key}
        guided = Operation("guided", "denoiser", 1, {}).key(both) if guidance.terms else weights.snapshot
        samples = self.sampled(sampler, weights.snapshot, key, weights.run.subset.inputs["holdout"])
        return Drawn(samples, guided, guidance, partners)

    def sampled(self, sampler: Section, snapshot: str, guidance: str, holdout: Recipe) -> str:
        """The key of samples. Raises GridError where they should begin from held-out images and there are none."""
        if sampler not in self.operations:
            own = f".{sampler.own_signature.version}" if sampler.own_signature else ""
            version, settings = f"{sampler.signature.version}{own}", sampler.changed | sampler.changed_own
            self.operations[sampler] = Operation(sampler.kind, sampler.name, version, settings)
        inputs = {"snapshot": snapshot, "guidance": guidance}
        if sampler.own.get("start") == "held_out":
            if not holdout.settings["held_out"]:
                raise GridError("sample.start: there are no held-out images to begin from; set data.held_out")
            inputs["held_out"] = apart(holdout).key
        return self.operations[sampler].key(inputs)

    # Guidance ------------------------------------------------------------------------------------------------------

    def _worse(self, name: str, guidance: Guidance, weights: SnapshotRef, point: Point) -> Dependency | None:
        """The weights that a term steers away from, where they are not the cell's own."""
        section, place = guidance.terms[name], guidance.places.get(name)
        self._check_needs(name, section, point, weights, place)
        inputs = section.signature.inputs
        if "weak" in inputs:
            return self.runs.at(self.points.beside(point, guidance.weak[name])).dependency()
        if "continued" in inputs:
            if weights.step is None:
                raise GridError(f"guide.{name}: trains on, and this model is not trained here", place)
            settings: Mapping[str, str] = section.signature.constants["CONTINUED"]
            changed = {path: Given(section.settings[setting]) for path, setting in settings.items()}
            return self.runs.continued(point, weights, changed).dependency()
        return None

    def _check_needs(
        self, name: str, section: Section, point: Point, weights: SnapshotRef, place: Place | None
    ) -> None:
        """Raise GridError where a term asks for what the model at this point does not have."""
        model, functions = self.points.resolved("model", point), section.signature.functions
        needs = section.signature.constants.get("NEEDS", ())
        if DROPPED in needs:
            if self.points.resolved("condition", point).name == "none":
                raise GridError(f"guide.{name}: there is no condition to drop; set condition.name, or use auto", place)
            self._check_dropped(f"guide.{name}", point, weights, place)
        if "labels" in needs and self.points.resolved("condition", point).name == "none":
            raise GridError(f"guide.{name}: there are no labels to steer to; set condition.name", place)
        if "any size" in needs and not model.signature.constants.get("ANY_SIZE"):
            raise GridError(
                f"guide.{name}: asks the network about crops, and {model.signature.label} takes images of one size "
                "alone; use the unet",
                place,
            )
        if "check" in functions:
            self._check_shape(name, section, point, place)

    def _check_dropped(self, path: str, point: Point, weights: SnapshotRef, place: Place | None) -> None:
        """Raise GridError where a conditional network was not taught to do without its condition."""
        if weights.step is not None and not self.points.resolved("train", point).settings["condition_dropout"]:
            raise GridError(
                f"{path}: this network never learnt to do without its condition; set train.condition_dropout above 0, "
                "such as 0.1",
                self.points.where(point)("train.condition_dropout") or place,
            )
        network = weights.run.trajectory.inputs.get("network")
        if "weights" in weights.run.trajectory.inputs and network and not network.settings.get("dropped_row", True):
            raise GridError(f"{path}: these weights have no dropped condition; leave it out", place)

    def _check_shape(self, name: str, section: Section, point: Point, place: Place | None) -> None:
        facts = self.runs.derive.facts(self.points.resolved("data", point))
        try:
            module = self.points.library.module("guide", name)
            module.check(channels_first(facts.shape), **section.settings)
        except ValueError as error:
            raise GridError(f"guide.{name}.{error}", place) from None

    # Metrics -------------------------------------------------------------------------------------------------------

    def check_asked(self, metrics: Mapping[str, Metric], point: Point, weights: SnapshotRef) -> None:
        """Raise GridError where a metric asks a conditional network for what it gives without its condition."""
        if self.points.resolved("condition", point).name == "none":
            return
        where = self.points.where(point)
        for name, metric in metrics.items():
            if DROPPED in metric.section.signature.constants.get("NEEDS", ()):
                self._check_dropped(f"score.{name}", point, weights, where(f"score.{name}"))

    def compared(self, point: Point, metrics: Mapping[str, Metric]) -> dict[str, Dependency]:
        """The trajectories that a cell's metrics name."""
        named = {name: metric for metric in metrics for name in metrics[metric].inputs if name in PARTNERS}
        return {
            name: self._reference(metrics[metric], point) if name == REFERENCE else self._twin(name, metric, point)
            for name, metric in sorted(named.items())
        }

    def _reference(self, metric: Metric, point: Point) -> Dependency:
        """Other weights that somebody else trained, read as those of the point are."""
        where, base = self.points.where(point), metric.section.settings[BASE]
        path = f"score.{metric.section.name}"
        if not is_pretrained(self.points.resolved("model", point).signature):
            raise GridError(
                f"{path}: compares weights that somebody else trained, as model.name: given names them, with others",
                where(f"{path}.{BASE}"),
            )
        changed = {"model.path": Given(base, where(f"{path}.{BASE}") or Place())}
        try:
            return self.runs.at(self.points.beside(point, changed, reset=("train.steps",))).dependency()
        except GridError as error:
            raise GridError(str(error.args[0]).replace("model.path:", f"{path}.{BASE}:", 1), error.place) from None

    def _twin(self, name: str, metric: str, point: Point) -> Dependency:
        data, train = self.points.resolved("data", point), self.points.resolved("train", point)
        half, seed, where = data.own["half"], train.settings.get("seed", 0), self.points.where(point)
        if half is None:
            raise GridError(f"score.{metric}: compares two disjoint halves; set data.half: A", where("data.name"))
        changed = {path: Given(value) for path, value in TRAINED_WITH[name](half, seed).items()}
        other = self.points.beside(point, changed)
        weights = self.runs.at(other)
        if weights.step is None:
            raise GridError(f"score.{metric}: compares trained networks", where("model.name"))
        drawn = self.drawn(weights, self.points.resolved("sample", point), self.points.guidance(point), other)
        return weights.dependency(drawn.samples, drawn.partners)
