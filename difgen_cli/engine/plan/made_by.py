"""With which versions and contents results and samples are made, by a label that a person reads.

A plan's table keeps them, so that a later plan can say which of them is another one now.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from difgen_cli.engine.plan import Plan
    from difgen_cli.engine.plan.guidance import Guidance
    from difgen_cli.engine.plan.metric import Metric
    from difgen_cli.engine.plan.recipes import Recipe
    from difgen_cli.engine.plan.sections import Section


def of_metric(name: str, metric: Metric) -> dict[str, str]:
    """Label -> version or content, of all that a result rests on beside the samples and the network."""
    versions = {f"metric {name}": str(metric.operation.version)}
    if metric.features:
        versions |= _of_features(metric.features)
    if metric.against:
        other = metric.against.inputs["pool"]
        versions[f"content of {other.name}, which {name} compares with"] = str(other.content)
    return versions


def of_samples(sampler: Section, guidance: Guidance) -> dict[str, str]:
    """The same of samples beside the network."""
    own = f".{sampler.own_signature.version}" if sampler.own_signature else ""
    versions = {f"sampler {sampler.name}": f"{sampler.signature.version}{own}"}
    return versions | {f"guidance {name}": str(operation.version) for name, operation in guidance.operations.items()}


def of_plan(plan: Plan) -> dict[str, list[str]]:
    """Every label of a plan with its versions: several where a setting names a file that a plug-in reads."""
    by_label: dict[str, set[str]] = defaultdict(set)
    drawn = {(cell.sampler, cell.guidance) for cell in plan.cells}
    measured = {(name, cell.scoring[name]) for cell in plan.cells for name in cell.metrics}
    parts = [*(of_samples(*pair) for pair in drawn), *(of_metric(*pair) for pair in measured)]
    for label, version in (pair for part in parts for pair in part.items()):
        by_label[label].add(version)
    return {label: sorted(versions) for label, versions in by_label.items()}


def _of_features(space: Recipe) -> dict[str, str]:
    versions = {f"feature space {space.name}": str(space.operation.version)}
    if weights := space.settings.get("weights"):
        versions[f"weights of feature space {space.name}"] = str(weights)[:16]
    return versions
