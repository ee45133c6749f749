"""What axes, levels and metrics are called on a figure, and how numbers are written."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from difgen_cli.engine.columns import Columns, ColumnSpec

NONE = "–"

# setting -> (axis label with its unit, short name before a level)
SETTINGS = {
    "data.size": ("training images N", "N ="),
    "train.steps": ("training steps", "steps"),
    "train.lr": ("learning rate", "learning rate"),
    "train.batch": ("batch size (images)", "batch"),
    "model.width": ("model width", "width"),
    "model.depth": ("model depth (layers)", "depth"),
    "model.name": ("model", "model"),
    "condition.clusters": ("number of clusters (1 = unconditional)", "clusters"),
    "condition.name": ("conditioning", "conditioning"),
    "condition.noise": ("share of labels replaced", "label noise"),
    "condition.permuted": ("labels permuted among the images", "permuted:"),
    "train.condition_perturbation": ("perturbation γ of the condition's embedding", "γ ="),
    "sample.every": ("levels in one step of the sampler", "levels a step"),
    "model.size": ("side of the model's patches (pixels)", "model's patches"),
    "model.prediction": ("what the network predicts", "prediction"),
    "objective.name": ("objective", "objective"),
    "objective.noise_bank": ("fixed noises for each image (none: fresh noise)", "noises"),
    "objective.every": ("levels in one step of the student", "student's levels a step"),
    "objective.teacher.train.steps": ("training steps of the teacher", "teacher steps"),
    "post_training.bits": ("bits of a weight (32: as trained)", "bits"),
    "post_training.per": ("weights with a common step of rounding", "one step per"),
    "post_training.share": ("share of weights set to zero", "pruned"),
    "fork.change": ("what is changed at the fork", "change:"),
    "fork.at": ("step of the fork", "fork at"),
    "train.start.train.steps": ("training steps of the weights that it begins with", "start at"),
    "sample.steps": ("sampler steps", "sampler steps"),
    "sample.count": ("samples drawn", "samples"),
    "sample.stop": ("noise level at which the sampler stops (σ / σ_d)", "stop σ/σ_d ="),
    "model.delta": ("error δ of the denoiser", "δ ="),
    "data.points": ("points that the data are drawn from", "points"),
    "data.components": ("subspaces that the data lie in", "subspaces"),
    "data.rank": ("dimension of the subspaces", "dimension"),
    "data.classes": ("classes", "classes"),
    "data.held_out": ("held-out images", "held-out"),
    "condition.features": ("feature space of the clusters", "clusters in"),
    "condition.beta": ("balance β of TEMI's clusters", "β ="),
    "repeats": ("rows of a planted canary", "rows"),
    "data.canaries.kind": ("kind of canary", "kind"),
    "data.canaries.count": ("canaries for each number of repeats", "canaries"),
    "data.canaries.repeats": ("rows of planted canaries", "rows"),
    "sigma_rel": ("noise level σ / σ_d", "σ/σ_d ="),
    "guide.name": ("guidance", "guidance"),
    "guide.weight": ("guidance weight w", "w ="),
    "guide.crop": ("side of the windows (pixels)", "windows of"),
    "guide.swg.masked": ("whether only pixels of several windows are guided", "masked:"),
    "guide.auto.weight": ("weight w of autoguidance", "auto w ="),
    "guide.cfg.weight": ("weight w of classifier-free guidance", "cfg w ="),
    "guide.swg.weight": ("weight w of sliding-window guidance", "swg w ="),
    "guide.weight_decay.weight": ("weight w of guidance by weight decay", "weight decay w ="),
    "guide.auto.weak.model.delta": ("error δ of the worse self", "worse δ ="),
    "guide.auto.weak.train.steps": ("training steps of the worse self", "worse steps"),
}

# setting of a metric, without `score.` and its name -> as above, to which the metric's name is added
SCORED = {
    "features": ("feature space", "space"),
    "against.name": ("images compared with", "beside"),
    "patch": ("side of the patches (pixels)", "patches of"),
}

# what no metric measures: clocks of the engine, and onsets
METRICS = {
    "tau_mem": "copying begins (steps)",
    "tau_gen": "quality is near its best (steps)",
    "tau_gap": "the gap opens (steps)",
    "images_seen": "training images seen",
    "train_seconds": "training time (s)",
    "images_per_second": "training images a second",
    "sampling_seconds": "time to draw the samples (s)",
    "steps_per_image": "steps for each training image",
    "nfe": "evaluations of networks for each sample",
    "peak_memory_bytes": "most memory held in training (bytes)",
}
FRECHET = "{frechet}"  # in a label that a metric declares: the Fréchet distance, named by the study's feature space


def text(value: Any) -> str:
    """A setting's value as a word; different values give different words (bool before number: True is not 1)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return "none"
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return "none" if value is None or type(value).__name__ in ("NAType", "NaTType") else str(value)


def number(value: float | None, digits: int = 3) -> str:
    """A measured value in at most `digits` significant digits, without exponents where that is readable."""
    if value is None or not math.isfinite(value):
        return NONE
    if value != 0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(places, 4)}f}".replace("-", "−")


def interval(value: float, low: float, high: float, kind: str = "") -> str:
    """`0.53 ± 0.02`; `6.7 ×/÷ 1.6` of a ratio; `0 [0, 0.0013]` of a share, whose ends are not equally far."""
    if kind == "share":
        return f"{number(value)} [{number(low)}, {number(high)}]"  # as many digits: no end is rounded past the value
    if kind == "ratio":
        return f"{number(value)} ×/÷ {number(math.sqrt(high / low), 2)}"
    return f"{number(value)} ± {number((high - low) / 2, 2)}"


def names(path: str) -> tuple[str, str]:
    """The axis label of a setting, and what stands before a level; one that is not known here keeps its path."""
    section, _, rest = path.partition(".")
    metric_name, _, scored = rest.partition(".")
    if section == "score" and scored in SCORED:
        label, short = SCORED[scored]
        return f"{label} ({metric_name})", f"{metric_name} {short}"
    return SETTINGS.get(path, (path, path))


def setting(path: str) -> str:
    """The axis label of a setting: `training images N`."""
    return names(path)[0]


def level(path: str, word: str) -> str:
    """A setting and its value as a panel's title: `width 64`, `unconditional`."""
    if path == "condition.clusters":
        return "unconditional" if word == "1" else f"{word} clusters"
    return f"{names(path)[1]} {word}"


def frechet(features: str) -> str:
    """The Fréchet distance by its feature space; FID only where the features are Inception's."""
    if features == "inception":
        return "FID (Inception-v3 pool3 features)"
    return f"Fréchet distance ({features} features)" if features else "Fréchet distance"


def metric(name: str, features: str, columns: Columns) -> str:
    """The axis label of a metric: what it declares, else its name with its unit where it has one."""
    spec = columns.get(name, ColumnSpec())
    if label := METRICS.get(name, spec.label):
        return label.replace(FRECHET, frechet(features))
    return f"{name} ({spec.unit})" if spec.unit else name
