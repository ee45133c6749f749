"""What the positional parameters of a metric stand for, made when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from difgen_cli import data
from difgen_cli.engine.plan.recipes import measured
from difgen_cli.engine.plan.work import MetricSpec
from difgen_cli.engine.worker import claims, labelling

if TYPE_CHECKING:
    from difgen_cli.engine.worker.scoring import ScoringRun


def of(run: ScoringRun, name: str, measure: MetricSpec) -> Any:
    """What a metric's positional parameter stands for. TypeError for one that stands for nothing."""
    subset, artifacts = run.compared, run.context.artifacts
    holdout = subset.holdout
    match name:
        case "samples":
            return data.scaled(run.samples)
        case "train":
            return subset.images
        case "train_classes":
            return None if holdout.rest_labels is None else holdout.rest_labels[subset.positions]
        case "held_out_classes":
            return holdout.held_out_labels
        case "denoiser":
            return run.guided if measure.settings.get("guided") else run.denoiser
        case "twin" | "sibling" | "reference":
            return run.partner(name)
        case "states" | "walks" | "sample_labels" | "mirrored":
            return getattr(run, name)
        case "train_labels":
            return run.labels.train
        case "train_confidence":
            labels = run.parents.get("labels")
            return labels and labelling.confidence(artifacts, labels.key, measured(run.parents["subset"]).key)
        case "rest_labels":
            return run.labels.rest
        case "held_out_labels":
            return run.labels.held_out
        case "held_out":
            holdout.require(run.context.library.signature("score", measure.metric).constants.get("HELD_OUT_MIN", 0))
            return holdout.held_out
        case "rest" | "sigma_data" | "left_out":
            return getattr(holdout, name)
        case "groups":
            return None if run.unit.groups is None else run.context.store.given(run.unit.groups)
        case "embed":
            return artifacts.embed(measure.embed or "", holdout)
        case "against":
            return artifacts.against(measure.against or "")
        case "unlearn":
            return artifacts.unlearn(measure.unlearn or "")
        case "coins":
            return artifacts.coins(measured(run.parents["subset"]).key)
        case "canaries":
            own = run.subset.canaries
            return own and replace(own, labels=run.conditions.canaries)
        case "claims":
            return claims.images(run.context.store.given(measure.settings["asked"][:16]))
        case "references":
            worker = run.context
            return claims.references(
                worker.store, worker.library, measure.settings.get("beside", ()), holdout.sigma_data, artifacts.device
            )
        case "shared":
            return partial(run.shared, measure)
    raise TypeError(f"the metric {measure.metric} asks for {name}, which is no input that a metric can have")
