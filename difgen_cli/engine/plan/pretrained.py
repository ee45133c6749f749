"""A model whose weights somebody else trained: no training, one trajectory for each file, known by its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Facts, channels_first, checks
from difgen_cli.engine.plan.derive import RecipeBuilder, RunRecipe
from difgen_cli.engine.plan.points import Where
from difgen_cli.engine.plan.recipes import Operation, Recipe, images_of, labels_of
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plugins import Library

VERSION = 1  # of how a worker makes the denoiser of such weights
STEP = "{step}"  # in a path: the value of train.steps
CONDITIONS = ("none", "labels", "file")  # whose numbers may be those of the classes that the weights were trained with
FEW_BETAS = 2  # what a column shows; those of every timestep are in the files


@dataclass(frozen=True)
class PretrainedFacts:
    """What planning must know of weights, without holding them.

    identity: SHA-256 (hex) of the files' content, and of which weights in them are meant
    settings: of the network, where they differ from its defaults; reading: those of `models.denoiser`
    shape: (C, H, W) or (D,); classes: 0 for none
    missing: why there are none, where there should be a file
    """

    identity: str
    form: str
    network: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    classes: int = 0
    reading: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""


def of_section(model: Section) -> dict[str, Any]:
    """What a section of the grid asks of the files at its path: which weights, of what network, how they are read."""
    settings = {k: v for k, v in model.changed.items() if k != "path"}
    own = {k: settings.pop(k) for k in ("weights", "network") if k in settings}
    return {"choice": own.get("weights"), "description": own.get("network"), "reading": settings}


def run(
    derive: RecipeBuilder, data: Section, condition: Section, model: Section, objective: Section, train: Section,
    step: int | None, where: Where,
) -> RunRecipe:  # fmt: skip
    """Weights, of a step where that is known, as a model of data under a condition: in the place of a training.

    `train.flip` says that their training showed mirror images. GridError where they cannot be read, or do not fit.
    """
    subset, size = derive.subset(data, where)
    if data.own["retrain"]:
        raise GridError(f"data.retrain: {model.name} is not trained here; leave it out", where("data.retrain"))
    if data.own["canaries.count"]:
        raise GridError(
            f"data.canaries: {model.name} is not trained here, so that no coin planted any in what it was trained on; "
            "leave them out",
            where("data.canaries.count"),
        )
    if data.own["draw"] == "coin":
        raise GridError(
            f"data.draw: {model.name} is not trained here, so that no coin decided what it was trained on; leave it "
            "out",
            where("data.draw"),
        )
    facts, weights = derive.facts_of(data, where), derive.facts.pretrained(model, step)
    labels = derive.labels(condition, data, subset, facts, where)
    notes = [*checks.objective(model, objective, train, True, where), *_notes(weights, model, condition, facts, where)]
    derive.notes.update(dict.fromkeys(notes))
    mirrored = {"flip": True} if train.settings["flip"] else {}
    file = Recipe(Operation("weights", model.name, 0, {}), {}, content=weights.identity[:16])
    parts = {"subset": subset, "labels": labels, "weights": derive.keep(file)}
    if not weights.missing:
        parts["network"] = _network(derive, weights)
    trajectory = derive.keep(Recipe(Operation("trajectory", "pretrained", VERSION, mirrored), parts))
    inputs = images_of(subset) | labels_of(labels)
    inputs |= {"mirrored": "flip"} if mirrored else {}
    trained = ({} if step is None else {"train.steps": step}) | ({"train.flip": True} if mirrored else {})
    read = _columns(weights, model, derive.library)
    of_data = data.columns | {"data.size": size}
    columns: tuple[dict[str, Any], ...] = (of_data, condition.columns, read, {}, trained)
    return RunRecipe(trajectory, subset, labels, inputs, None, columns, step)


def _network(derive: RecipeBuilder, weights: PretrainedFacts) -> Recipe:
    """The network as one that is trained here has it, and how its output is read."""
    library = derive.library
    signature, own, inputs = library.signature("model", weights.network), library.own("model", weights.network), {}
    if own is not None:
        changed = {k: v for k, v in sorted(weights.reading.items()) if v != own.settings[k].default}
        read = Recipe(Operation("reading", "denoiser", own.version, changed), {})
        inputs = {"reading": derive.keep(read)} if changed else {}
    settings = {k: v for k, v in sorted(weights.settings.items()) if v != signature.settings[k].default}
    return derive.keep(Recipe(Operation("network", weights.network, signature.version, settings), inputs))


def _notes(weights: PretrainedFacts, model: Section, condition: Section, facts: Facts, where: Where) -> list[str]:
    """What a reader must know of weights and data together. GridError where they do not fit each other."""
    from difgen_cli.data import files, remedy

    place, path = where("model.path"), model.settings["path"]
    form = model.signature.constants.get("FORM")
    if weights.missing:
        return []
    if form is not None and form != weights.form:
        raise GridError(
            f"model.path: {path} is of the kind {weights.form}; set model.name: given, which reads it", place
        )
    seen = channels_first(facts.shape)
    if weights.shape != seen:
        theirs = weights.shape if len(weights.shape) == 1 else (*weights.shape[1:], weights.shape[0])
        both = f"; {remedy(facts.shape, to=theirs)}" if len(theirs) == len(facts.shape) == 3 else ""
        raise GridError(
            f"model.path: {path} is for {files.words(theirs)}, and the data are {files.words(facts.shape)}{both}", place
        )
    return _check_classes(weights, model, condition, facts, where)


def _check_classes(
    weights: PretrainedFacts, model: Section, condition: Section, facts: Facts, where: Where
) -> list[str]:
    place = where("condition.name") or where("model.path")
    if condition.name not in CONDITIONS:
        raise GridError(
            f"condition.name: {condition.name} makes conditions that the weights were not trained with; "
            f"use {', '.join(CONDITIONS)}",
            place,
        )
    if condition.name == "none":
        if weights.classes and not weights.settings.get("dropped_row", True):
            raise GridError(
                f"condition.name: these weights were trained with {weights.classes} classes, and answer no image "
                "without one; name the labels of the images, or a file of class numbers",
                place,
            )
        note = f"the weights were trained with {weights.classes} classes, and are asked without any"
        return [note] if weights.classes else []
    if not weights.classes:
        raise GridError("condition.name: these weights were trained without classes; leave it out", place)
    if condition.name == "labels" and facts.classes != weights.classes:
        raise GridError(
            f"condition.name: these weights were trained with {weights.classes} classes, and the images have "
            f"{facts.classes}, whose numbers would be others; give the class numbers in a file",
            place,
        )
    numbers = "of the file" if condition.name == "file" else "of the images, in the order of their names,"
    return [f"the class numbers {numbers} are taken for those of the weights"]


def _columns(weights: PretrainedFacts, model: Section, library: Library) -> dict[str, Any]:
    """Settings of the model by dotted path, for tables, with how the weights are read."""
    own = library.own("model")
    read = {k: weights.reading.get(k, s.default) for k, s in own.settings.items()} if own else {}
    if len(read.get("betas", ())) > FEW_BETAS:
        read["betas"] = ()
    return model.columns | {f"model.{k}": v for k, v in read.items()}


def files_of(template: Path) -> dict[int, Path]:
    """The files or folders that a path with `{step}` stands for, by step; a step may be written with zeros before it.

    GridError where the path names a step more than once.
    """
    parts = template.parts
    at = [place for place, part in enumerate(parts) if STEP in part]
    if len(at) != 1 or parts[at[0]].count(STEP) > 1:
        raise GridError(f"model.path: {template} has {STEP} more than once; write it once")
    above, (before, after) = Path(*parts[: at[0]]), parts[at[0]].split(STEP)
    below: dict[int, Path] = {}
    for entry in sorted(above.iterdir()) if above.is_dir() else ():
        digits = entry.name.removeprefix(before).removesuffix(after)
        whole = f"{before}{digits}{after}" == entry.name and digits.isdecimal() and digits.isascii()
        path = entry.joinpath(*parts[at[0] + 1 :])
        if whole and path.exists():
            below.setdefault(int(digits), path)
    return dict(sorted(below.items()))
