"""A metric of a cell: its settings, and the key of its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine.plan.groups import concern
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.sections import Section

TWINS = frozenset({"twin", "sibling"})  # a metric's positional parameters that stand for other trainings
REFERENCE, BASE = "reference", "base"  # the one that stands for other weights, and the setting that names their files
PARTNERS = TWINS | {REFERENCE}
FOLLOWING = frozenset({"states", "walks"})  # those that follow the sampler, guidance and all
OF_A_CELL = PARTNERS | FOLLOWING | {"denoiser", "samples"}  # the parameters by which results of two cells differ
# Inputs of metrics that reference rows lack: real images were not drawn, under no condition, and nothing has a partner
# but a network.
LACKING = {
    "heldout": PARTNERS | FOLLOWING | {"denoiser", "train_labels"},
    "copycat": PARTNERS | FOLLOWING | {"denoiser", "train_labels"},
    "ideal": PARTNERS,
}


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric that cells are scored with."""

    section: Section
    operation: Operation
    features: Recipe | None = None  # the space that it compares images in
    other_data: Section | None = None  # another data set that it compares with
    against: Recipe | None = None  # the images of that one as they are compared
    unlearn: Recipe | None = None  # the training images that it tells from the others

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it is given, by the names of its positional parameters."""
        return self.section.signature.inputs

    @property
    def guided(self) -> bool:
        """Whether it asks the denoiser that the sampler follows, guidance and all."""
        return bool(self.section.settings.get("guided"))

    def key(self, inputs: Mapping[str, str]) -> str:
        """Key of its result, from the keys of what its positional parameters name."""
        taken = {i: inputs[i] for i in self.inputs if i in inputs}
        if self.guided:
            taken["denoiser"] = inputs["guided"]
        if self.features:
            taken["embed"] = self.features.key
        if self.against:
            taken["against"] = self.against.key
        if self.unlearn:
            taken["unlearn"] = self.unlearn.key
        if "groups" in inputs and concern(self.section.signature):
            taken["groups"] = inputs["groups"]
        if not OF_A_CELL & set(taken):  # a result lies with a trajectory or reference: each has one of its own
            taken["home"] = inputs["home"]
        return self.operation.key(taken)

    def settings(self) -> dict[str, Any]:
        """Every setting by its name, those of the other data set too."""
        other = self.other_data
        named = {"name": other.name, **other.settings} if other else {}
        return self.section.settings | {f"against.{k}": v for k, v in named.items()}


def inputs_of(metrics: Iterable[Metric]) -> set[str]:
    """What some metrics are given, by the names of their positional parameters."""
    return {name for metric in metrics for name in metric.inputs}


def result_keys(metrics: Mapping[str, Metric], kind: str, inputs: Mapping[str, str]) -> dict[str, str]:
    """Metric -> key of its result, of those that a cell of this kind can have."""
    lacking = LACKING.get(kind, frozenset())
    having = {
        name: metric
        for name, metric in metrics.items()
        if not lacking & set(metric.inputs) and kind in metric.section.signature.constants.get("KINDS", (kind,))
    }
    return {name: metric.key(inputs) for name, metric in having.items()}
