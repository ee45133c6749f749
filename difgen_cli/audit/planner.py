"""From a request to a grid: the model and its checkpoints, the images, and the metrics that can be had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid import Axis, Grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.claims import INPUT as CLAIMS
from difgen_cli.engine.plan.dependencies import DROPPED
from difgen_cli.engine.plan.metric import BASE, REFERENCE, TWINS
from difgen_cli.engine.plan.pretrained import STEP, files_of
from difgen_cli.engine.plan.sections import Section, as_text
from difgen_cli.engine.plugins import Library
from difgen_cli.score import planner
from difgen_cli.score.sources import ComparisonRequest
from difgen_cli.text import hyphenated, printable

DEFAULT = (*planner.DEFAULT, "membership", "exposure", "path")
EVERY = "all"  # in place of the names of metrics
OF_IMAGES = "images"  # in place of a file: the class labels that come with the images
SECTIONS = ("condition", "guide", "model", "sample")  # whose settings may be given beside those of metrics and data
OF_SAMPLES = frozenset({"samples", "sample_labels"})  # inputs that need no training images
LACKING = dict.fromkeys(TWINS, "needs a second network, trained on the other half of the images")
NO_TRAIN = "needs the training images, which are not known"
NAME_IT = "needs a network that learnt to do without its condition; name it where that is so"
NO_REFERENCE = "needs --reference, a model that saw none of the images"
BESIDE = "reference_membership"  # the metric that compares with a reference
NO_CLAIM = "needs --claim, images of which somebody asks whether they were used"


@dataclass(frozen=True, kw_only=True)
class AuditRequest(ComparisonRequest):
    """What a person asks for."""

    of_unknown: bool = False  # whether nobody knows the training images; `against` are others of their kind
    model: Path  # {step} in it stands for the step of a checkpoint
    steps: tuple[int, ...] = ()  # of checkpoints; all by default
    weights: str | None = None  # ema or raw
    network: Path | None = None  # JSON that says what named tensors are for
    class_labels: str | None = None  # images, or a file
    reference: Path | None = None  # a model that saw none of the images
    claims: tuple[Path, ...] = ()  # images of which somebody asks whether they were used
    claim_keys: tuple[Path, ...] = ()  # of those that `difgen claim prepare` made
    control: Path | None = None  # images that were surely not trained on
    references: Path | None = None  # a run directory with models of other images


def metrics(request: AuditRequest, library: Library, held_out: int) -> tuple[dict[str, Given], dict[str, str]]:
    """What `score:` would say in a grid, and the metrics that cannot be had, with the reason."""
    every = request.metrics == (EVERY,)
    names = library.names("score") if every else request.metrics or DEFAULT
    names = list(dict.fromkeys([*names, *([BESIDE] if request.reference else [])]))
    lacking = LACKING | ({} if request.reference else {REFERENCE: NO_REFERENCE}) | {CLAIMS: NO_CLAIM}
    unsure = [name for name in names if DROPPED in library.signature("score", name).constants.get("NEEDS", ())]
    if every:
        names = [name for name in names if name not in unsure]
        lacking |= {
            "against": "needs another data set to compare with",
            "unlearn": "needs images that are to be unlearnt",
        }
    if request.of_unknown:
        names = list(dict.fromkeys([*(["clique"] if not request.metrics else []), *names]))
        inputs = {name for metric in names for name in library.signature("score", metric).inputs}
        lacking |= dict.fromkeys(inputs - OF_SAMPLES, NO_TRAIN)
    own = {k: v for k, v in request.settings.items() if k.partition(".")[0] not in SECTIONS}
    metrics, left_out = planner.metrics(replace(request, settings=own), library, held_out, names, lacking)
    return metrics, left_out | (dict.fromkeys(unsure, NAME_IT) if every else {})


def grid(request: AuditRequest, data: Section, metrics: Mapping[str, Given]) -> Grid:
    """The grid that asks for these metrics of every checkpoint. metrics: with those of claims."""
    base = {"data.name": Given(data.name)}
    base |= {f"data.{k}": Given(v) for k, v in (data.changed | data.changed_own).items()}
    base |= _model(request) | _condition(request)
    base |= {"train.flip": Given(True)} if request.mirrored else {}
    base |= {"sample.count": Given(request.count)} if request.count else {}
    base |= {path: given for path, given in request.given().items() if path.partition(".")[0] in SECTIONS}
    base |= {f"score.{path}": given for path, given in metrics.items()}
    if request.reference and BESIDE in metrics:
        base[f"score.{BESIDE}.{BASE}"] = Given(request.reference)
    steps = _steps(request)
    axes = (Axis(("train.steps",), tuple((("train.steps", Given(step)),) for step in steps)),) if steps else ()
    copied = "its training images, which are not known" if request.of_unknown else f"images of {request.against}"
    question = printable(f"Does {request.model} copy {copied}?")
    name = hyphenated(str(request.model))[-60:].strip("-") or "model"
    return Grid(Path(f"{name}.yaml"), _text(question, base, steps), question, base, axes, (), (), (0,))


def _model(request: AuditRequest) -> dict[str, Given]:
    asked: dict[str, Any] = {"weights": request.weights, "network": request.network}
    named = {"model.name": Given("given"), "model.path": Given(request.model)}
    return named | {f"model.{k}": Given(v) for k, v in asked.items() if v is not None}


def _condition(request: AuditRequest) -> dict[str, Given]:
    if request.class_labels is None:
        return {}
    if request.class_labels == OF_IMAGES:
        return {"condition.name": Given("labels")}
    return {"condition.name": Given("file"), "condition.path": Given(Path(request.class_labels))}


def _steps(request: AuditRequest) -> tuple[int, ...]:
    """The steps of the checkpoints: those asked for, or all that are there. GridError where there are none."""
    if STEP not in str(request.model):
        if request.steps:
            raise GridError(f"--steps: MODEL names one checkpoint; write {STEP} where the step stands in its path")
        return ()
    steps = request.steps or tuple(files_of(request.model))
    if not steps:
        raise GridError(f"MODEL: {request.model}: there is no such file or folder, whatever the step: correct the path")
    return steps


def _text(question: str, base: Mapping[str, Given], steps: tuple[int, ...]) -> str:
    """The same as a grid file, whose paths lead to the same files from anywhere; JSON is YAML too."""
    sections: dict[str, dict[str, Any]] = {}
    for path, given in base.items():
        section, _, key = path.partition(".")
        value = given.value
        sections.setdefault(section, {})[key] = str(value.absolute()) if isinstance(value, Path) else value
    scored = sections.pop("score", {})
    settings: dict[str, dict[str, Any]] = {metric: {} for metric in scored if "." not in metric}
    for path, value in scored.items():
        metric, dot, key = path.partition(".")
        if dot:
            settings[metric][key] = value
    lines = [f"# {question}", "base:"]
    lines += [f"  {name}: {json.dumps(values, default=as_text)}" for name, values in sections.items()]
    lines += [f"  score: {json.dumps(settings, default=as_text)}"]
    lines += [f"axes: {json.dumps({'train.steps': steps})}"] if steps else []
    return "\n".join(lines) + "\n"
