"""The sampling of one snapshot, or reference, and its metrics: what a metric names is made when it is asked for."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from difgen_cli import data, guidance, sampling
from difgen_cli.engine.plan.groups import independent
from difgen_cli.engine.plan.metric import FOLLOWING
from difgen_cli.engine.plan.recipes import Operation, Recipe, apart, measured, mirrored
from difgen_cli.engine.plan.work import MetricSpec, Scoring
from difgen_cli.engine.plugins import Signature
from difgen_cli.engine.store import Arrays, RunFolder, sample_files
from difgen_cli.engine.store.access import exists, parsed, remade
from difgen_cli.engine.store.attempts import Attempt
from difgen_cli.engine.store.files import publish
from difgen_cli.engine.store.processes import now
from difgen_cli.engine.store.results import publish_result
from difgen_cli.engine.worker import drawing, metric_inputs, post_training
from difgen_cli.engine.worker.artifacts import shape_of
from difgen_cli.engine.worker.context import WorkerContext, check, describe, making
from difgen_cli.engine.worker.dependency import DependencyView
from difgen_cli.engine.worker.parts import Conditions, Subset
from difgen_cli.guidance import Meter, Metered, Unconditional


@dataclass
class ScoringRun:
    """One cell's samples and results."""

    context: WorkerContext
    unit: Scoring
    folder: RunFolder
    attempt: Attempt
    values: dict[str, Any] = field(default_factory=dict)  # of each metric its first with an interval, for `status`
    sampling_seconds: float | None = None  # None: the samples were there, or are real images

    def run(self) -> dict[str, Any]:
        """Sample where that is needed, and measure; returns what the attempt records at its end."""
        start, errors, first = time.monotonic(), defaultdict[str, list[str]](list), None
        describe(self.folder, self.recipe)
        self.context.phases.attempt = self.attempt
        for done, measure in enumerate(self.unit.metrics.values()):
            self.context.flag.check()
            self.context.phases.show(None, metric=measure.metric, step=done, target=len(self.unit.metrics))
            if exists(self.folder.result(measure.key)):
                continue
            try:
                with self.context.clock.on("scoring"):
                    self._measure(measure)
            except (ValueError, ArithmeticError, TypeError, KeyError, IndexError) as error:
                if len(self.unit.metrics) == 1:
                    raise
                errors[str(error)].append(measure.metric)
                first = first or error
        if errors:
            raise RuntimeError("; ".join(f"{', '.join(of)}: {cause}" for cause, of in errors.items())) from first
        return {"step": len(self.unit.metrics), "seconds": time.monotonic() - start, "values": self.values}

    def _measure(self, measure: MetricSpec) -> None:
        module = self.context.library.module("score", measure.metric)
        signature = self.context.library.signature("score", measure.metric)
        with self.context.clock.on("preparing"):
            inputs = {name: metric_inputs.of(self, name, measure) for name in signature.inputs}
        start = time.monotonic()
        result = module.measure(**inputs, **measure.settings)
        check(self.attempt)
        measured = result.values | (dict.fromkeys(independent(signature)) if self.unit.groups else {})
        facts = {
            "metric": measure.metric, "key": measure.key, "version": signature.version, "kind": self.unit.kind,
            "home": self.unit.run_key, "step": self.unit.step, "cell": self.unit.samples,
            "seconds": time.monotonic() - start, "provenance": self._provenance(signature),
        }  # fmt: skip
        values = publish_result(self.folder, measure.key, facts, measured, result.tables, signature.constants)
        first = next((name for name in values if f"{name}_lo" in values), next(iter(values)))
        self.values[first] = values[first]

    def partner(self, name: str) -> DependencyView:
        """What is seen of another trajectory: its samples, its training images, its denoiser."""
        partner = self.unit.partners[name]
        unit = replace(
            self.unit, run_key=partner.run_key, slug=partner.slug, step=partner.step, snapshot=partner.snapshot,
            samples=partner.samples or "", metrics={}, partners=partner.partners,
        )  # fmt: skip
        return DependencyView(
            ScoringRun(self.context, unit, self.context.store.run_folder(partner.run_key, partner.slug), self.attempt)
        )

    def shared(self, measure: MetricSpec, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What depends on the subset alone, once for all cells of it."""
        signature = self.context.library.signature("score", measure.metric)
        operation = Operation("statistics", f"{measure.metric}/{name}", signature.version, measure.settings)
        subset = measured(self.parents["subset"])
        inputs = {"subset": subset.key, "held_out": apart(subset.inputs["holdout"]).key, "embed": measure.embed or ""}
        inputs |= {name: key for name in ("against", "unlearn") if (key := getattr(measure, name))}
        if self.mirrored and "mirrored" in signature.inputs:
            inputs["mirrored"] = "flip"
        key = operation.key(inputs)
        once = partial(self.context.artifacts.once, key, "statistics", compute)
        kept: Arrays = self.context.artifacts.keep("statistics", key, once, f"preparing {measure.metric}")
        return kept

    @functools.cached_property
    def recipe(self) -> Recipe:
        return self.context.recipes[self.unit.run_key]

    @property
    def mirrored(self) -> bool:
        """Whether training showed mirror images too, here or in the models that a reference stands beside."""
        return mirrored(self.recipe)

    @functools.cached_property
    def parents(self) -> dict[str, Recipe]:
        return self.recipe.inputs

    @functools.cached_property
    def subset(self) -> Subset:
        return self.context.artifacts.subset(self.parents["subset"].key)

    @property
    def compared(self) -> Subset:
        """The subset that metrics compare with: the whole one, where a model was retrained without some images."""
        return self.context.artifacts.subset(measured(self.parents["subset"]).key)

    @functools.cached_property
    def conditions(self) -> Conditions:
        """The labels of what the model was trained on."""
        return self._labels_of(self.parents["subset"])

    @property
    def labels(self) -> Conditions:
        """Those of what metrics compare with."""
        return self._labels_of(measured(self.parents["subset"]))

    def _labels_of(self, subset: Recipe) -> Conditions:
        if "labels" not in self.parents:
            return Conditions(None, None, None, 0)
        return self.context.artifacts.conditions(self.parents["labels"].key, subset.key)

    @functools.cached_property
    def denoiser(self) -> Any:
        if self.unit.kind == "ideal":
            return self.context.artifacts.ideal(self.recipe)
        if self.unit.step is None:
            return self.context.artifacts.untrained(self.recipe)
        changed = post_training.weights_at(self.context, self.folder, self.unit, self._given)
        return self.context.artifacts.denoiser(self.recipe, changed)

    @property
    def guided(self) -> Any:
        """The denoiser that the sampler follows: the very same one without guidance."""
        return self._guided(Meter())

    def _guided(self, meter: Meter, denoiser: Any = None) -> Any:
        """The same, its networks' evaluations counted; of `denoiser`, where that is the same computed faster."""
        own = Metered(denoiser or self.denoiser, meter)
        return guidance.guided(own, [self._term(name, own, meter) for name in sorted(self.unit.guidance)])

    def _term(self, name: str, own: Metered, meter: Meter) -> guidance.Term:
        """One term of the guidance, made of what its plug-in names."""
        call, library = self.unit.guidance[name], self.context.library
        inputs: dict[str, Any] = {"denoiser": own, "shape": shape_of(self.subset.images)}
        if f"guide.{name}" in self.unit.partners:
            other = self.partner(f"guide.{name}").run
            worse = Metered(other.denoiser, meter)
            inputs["weak"] = inputs["continued"] = worse if other.conditions.classes else Unconditional(worse)
        takes = library.signature("guide", call.name).inputs
        inputs |= {i: self._given(i) for i in takes if i not in inputs}
        negative = library.module("guide", call.name).negative(**{i: inputs[i] for i in takes}, **call.settings)
        return guidance.term(negative, **call.own)

    @property
    def _snapshot_path(self) -> Path:
        return self.folder.snapshot(self.unit.step or 0)

    @property
    def samples(self) -> np.ndarray:
        """The generated images as uint8 (n, H, W, C), or points; drawn once and kept."""
        return self._stored[0]

    @property
    def sample_labels(self) -> np.ndarray | None:
        """The labels that samples were drawn under, (n,) int64; None without a condition."""
        return self._stored[1]

    @functools.cached_property
    def _stored(self) -> tuple[np.ndarray, np.ndarray | None]:
        path = self.folder.samples(self.unit.samples)
        stored = remade(path, sample_files.read)
        if stored is None:
            meter, start = Meter(), time.monotonic()
            with self.context.clock.on("sampling"):
                x, labels = self._draw(meter)
                self.sampling_seconds = time.monotonic() - start if meter.evaluations else None
                check(self.attempt)
                cost = self._cost(meter)
                publish(path, lambda p: sample_files.write(p, x, labels, cost))
            stored = parsed(path, sample_files.read)
        return stored

    def _cost(self, meter: Meter) -> dict[str, Any]:
        """Evaluations of networks a sample, of whole images or crops, and its network's way; of real images none."""
        if not meter.evaluations:
            return {}
        drawn = sampling.drawn_together(self.unit.sampler.own["count"], self.context.device)
        item = math.prod(shape_of(self.subset.images))
        return {
            "nfe": meter.evaluations / drawn, "nfe_area": meter.elements / (drawn * item),
            "sample_way": drawing.used(self._faster),
        }  # fmt: skip

    def _draw(self, meter: Meter) -> tuple[np.ndarray, np.ndarray | None]:
        own = self.unit.sampler.own
        if self.unit.kind in ("heldout", "copycat"):
            return drawing.real(self.unit.kind, self.subset, own["count"], own["seed"]), None
        drawn = self._along(sampling.draw, self._guided(meter, self._faster), **own)
        return (data.to_uint8(drawn.x) if drawn.x.ndim == 4 else drawn.x), drawn.labels

    def states(self, levels: Sequence[float], *, estimates: Sequence[float] = ()) -> tuple[np.ndarray, ...]:
        """Where the samples are at noise levels on their way: σ (L,) and x (L, n, ...); at levels of `estimates` what
        the denoiser makes of them, and where they end."""
        own = self.unit.sampler.own
        with self.context.clock.on("sampling"):
            return self._along(sampling.states, self.guided, at=levels, estimates=estimates, **own)  # type: ignore[no-any-return]

    def walks(self, x: np.ndarray, sigma: float, labels: np.ndarray | None) -> np.ndarray:
        """Where the sampler ends that begins at x (n, ...) at the absolute noise level σ: like x."""
        begun, own = (x, labels), self.unit.sampler.own
        with self.context.clock.on("sampling"):
            return self._along(sampling.walks_from, self.guided, begun=begun, sigma=sigma, **own)  # type: ignore[no-any-return]

    def _along(self, follow: Callable[..., Any], guided: Any, **settings: Any) -> Any:
        """What `follow` makes of the sampler's way."""
        walk = drawing.interruptible(self._walk, self.context.flag)
        shape, proportions = shape_of(self.subset.images), self.conditions.proportions
        follow = self.context.phases.on("sampling")(follow)
        return follow(guided, walk, shape, proportions, self.context.device, *self._begun, **settings)

    @property
    def _begun(self) -> tuple[sampling.Labelled | None, dict[str, Any]]:
        """The images that samples begin from, if any, and what their sampler names."""
        sampler = self.unit.sampler
        takes = self.context.library.signature("sample", sampler.name).inputs
        begun = drawing.begun_from(sampler.own.get("start"), self.subset, self.conditions)
        return begun, {name: self._given(name) for name in takes if name in drawing.GIVEN}

    def _given(self, name: str) -> Any:
        """What samplers and terms of guidance may name of the training subset."""
        key = f"{self.parents['subset'].key} {self.parents['labels'].key}"
        return drawing.given(name, key, self.context.artifacts, self.subset, self.conditions)

    @property
    def _walk(self) -> Callable[..., sampling.Walk]:
        sample = self.context.library.module("sample", self.unit.sampler.name).sample
        return partial(sample, **self.unit.sampler.settings)

    @functools.cached_property
    def _faster(self) -> Any:
        """The denoiser, computed in the way that pays for these samples."""
        if self.unit.kind != "model" or "network" not in self.parents:
            return self.denoiser
        facts = self.context.environment()
        about = {"network": self.parents["network"].key} | {n: facts[n] for n in ("device", "threads", "torch")}
        shape, own, context = shape_of(self.subset.images), self.unit.sampler.own, self.context
        asked = sampling.evaluations(self.denoiser, self._walk, shape, *self._begun, **own)
        denoiser = drawing.faster(
            self.denoiser, asked, shape, self.conditions.classes, own["count"], context.device, about, context.say,
            context.phases.show,
        )  # fmt: skip
        self.context.phases.leave()
        return denoiser

    def _provenance(self, metric: Signature) -> dict[str, Any]:
        """What a row says of the making of a result; what samples cost is told by the metrics that see them."""
        own = self.context.environment() | {"finished_at": now()}
        drawn = self.folder.samples(self.unit.samples)
        if ({"samples"} | FOLLOWING) & set(metric.inputs) and exists(drawn):
            own |= parsed(drawn, sample_files.facts) | {"sampling_seconds": self.sampling_seconds}
        if self.unit.kind != "model" or not exists(self._snapshot_path):
            return own
        return own | parsed(self._snapshot_path, making)
