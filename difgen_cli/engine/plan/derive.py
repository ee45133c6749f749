"""The recipes of what cells share: data, labels, feature spaces, networks, trajectories and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from difgen_cli import config
from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Facts, audits, canaries, checks, operations, sections, spaces, unlearning
from difgen_cli.engine.plan.metric import BASE, Metric
from difgen_cli.engine.plan.points import Where
from difgen_cli.engine.plan.recipes import Operation, Recipe, apart, images_of, labels_of, mirrored
from difgen_cli.engine.plan.sections import DEFAULT_SCORE, Section, resolve_metric, wants
from difgen_cli.engine.plugins import Library

if TYPE_CHECKING:
    from difgen_cli.engine.plan.pretrained import PretrainedFacts

MATCHED_VERSION = 1  # of how another data set is brought to the size and colours of this one
OF_HOLDOUT = ("held_out", "held_out_seed")  # settings that choose H
FIRST_OBJECTIVE = ("edm", "1.1")  # which is in no key


class FactSource(Protocol):
    """What planning asks of data and files; ValueError in one sentence where they are bad."""

    def __call__(self, section: Section, /) -> Facts: ...

    def labels(self, condition: Section, data: Section, /) -> str: ...

    def held_out(self, data: Section, /) -> int: ...

    def pretrained(self, model: Section, step: int | None, /) -> PretrainedFacts: ...


@dataclass(frozen=True, eq=False)
class RunRecipe:
    """The training of one section of each kind that shapes weights, and what it is made of."""

    trajectory: Recipe
    subset: Recipe
    labels: Recipe
    inputs: dict[str, str]  # a metric's positional parameter -> key
    batch: int | None  # None: not trained here, being in closed form, or given
    columns: tuple[dict[str, Any], ...]  # settings by dotted path: of data, condition, model, objective and train
    checkpoint: int | None = None  # of given weights: their step, where it is known


@dataclass(frozen=True, eq=False)
class RecipeBuilder:
    """Derives recipes, and keeps each once by its key."""

    library: Library
    facts: FactSource
    recipes: dict[str, Recipe]
    notes: dict[str, None] = field(default_factory=dict)  # what a reader must know of the data, each once

    def keep(self, recipe: Recipe) -> Recipe:
        """The recipe of this key that was met first."""
        return self.recipes.setdefault(recipe.key, recipe)

    def trained(
        self, data: Section, condition: Section, model: Section, objective: Section, train: Section, where: Where,
        teacher: Recipe | None = None, start: Recipe | None = None, fork: Recipe | None = None,
    ) -> RunRecipe:  # fmt: skip
        """The trajectory of five sections, taught by a snapshot where its objective wants one.

        `start`: the snapshot whose weights it begins with; None: initial ones. `fork`: the state of its trunk that it
        goes on from, unless it does so as the trunk itself does.
        """
        subset, size = self.subset(data, where)
        marked, compared = self.marked(data, where), images_of(subset)
        if marked and data.own["retrain"]:
            subset = self.keep(unlearning.kept(marked, size))
        facts = self.facts_of(data, where)
        checks.scale(facts, where)
        labels = self.labels(condition, data, subset, facts, where)
        shown, sentences = canaries.shown(data, condition, subset, size, where)
        self.notes.update(dict.fromkeys(sentences))
        if "population" in model.signature.inputs:
            checks.population(model, condition, facts, where)
        network, closed = self._network(model, where), sections.in_closed_form(model.signature)
        parts = {"subset": shown, "labels": labels, "network": network} | ({"start": start} if start else {})
        given = {"teacher": teacher} if teacher else {}
        if wants(objective, "unlearn") and not closed:
            given["unlearn"] = unlearning.needed(marked, data, objective, where)
        self.notes.update(dict.fromkeys(checks.objective(model, objective, train, closed, where)))
        if not closed and (aim := self._objective(objective, facts, subset.inputs["holdout"], given, where)):
            parts["objective"] = aim
        made_of = operations.closed_form(parts) if closed else operations.trajectory(train, objective, parts, fork)
        trajectory = self.keep(made_of)
        inputs = compared | labels_of(labels) | {"canaries": self.keep(shown).key}
        inputs |= {"mirrored": "flip"} if not closed and mirrored(trajectory) else {}
        columns = (
            data.columns | {"data.size": size},
            condition.columns,
            model.columns,
            {} if closed else objective.columns,
            {} if closed else train.columns,
        )
        batch = None if closed else train.settings["batch"]
        return RunRecipe(trajectory, shown, labels, inputs, batch, columns)

    def _network(self, model: Section, where: Where) -> Recipe:
        """A network, and how its output is read, where that is not as the default has it."""
        checks.reading(model, where)
        inputs, own = {}, model.own_signature
        if own is not None and model.changed_own:
            inputs["reading"] = self.keep(Recipe(Operation("reading", "denoiser", own.version, model.changed_own), {}))
        return self.keep(Recipe(Operation("network", model.name, model.signature.version, model.changed), inputs))

    def _objective(
        self, objective: Section, facts: Facts, holdout: Recipe, inputs: dict[str, Recipe], where: Where
    ) -> Recipe | None:
        """The recipe of an objective; None for the one that trained all weights before there were others."""
        if wants(objective, "targets"):
            inputs["targets"] = self.features(objective, facts, holdout, where("objective.features"))
        # the key of the space stands for its name
        settings = {k: v for k, v in (objective.changed | objective.changed_own).items() if k != "features"}
        version = f"{objective.signature.version}.{_version(objective)}"
        if (objective.name, version) == FIRST_OBJECTIVE and not settings:
            return None
        return self.keep(Recipe(Operation("objective", objective.name, version, settings), inputs))

    def subset(self, data: Section, where: Where) -> tuple[Recipe, int]:
        """The training subset of a data section, and how many images it has."""
        facts = self.facts_of(data, where)
        size = checks.subset_size(data.own, facts, where)
        checks.held_out_seed(data, facts, where)
        elsewhere = {*OF_HOLDOUT, *unlearning.SETTINGS, *filter(canaries.is_setting, data.own)}
        chosen = {k: v for k, v in data.changed_own.items() if k not in elsewhere}
        whole = size == checks.available(data.own, facts)  # all that there are, by number or by none
        if data.own["draw"] == "coin":
            size, whole = audits.coins(data.own, facts, where)  # or half of them
        if whole:
            chosen.pop("size", None)
        holdout = self.holdout(data, facts, where)
        return self.keep(Recipe(Operation("subset", "split", _version(data), chosen), {"holdout": holdout})), size

    def marked(self, data: Section, where: Where) -> Recipe | None:
        """Which training images of a data section are to be unlearnt, if any."""
        marked = unlearning.marks(data, *self.subset(data, where), where)
        return self.keep(marked) if marked else None

    def pool(self, data: Section, facts: Facts) -> Recipe:
        """All of a data set, whose identity is its content."""
        return self.keep(Recipe(Operation("pool", data.name, 0, {}), {}, content=facts.content[:16]))

    def holdout(self, data: Section, facts: Facts, where: Where) -> Recipe:
        """The pool apart from its held-out images, and from canaries: the same whatever size, seed or half."""
        inputs = {"pool": self.pool(data, facts)} | canaries.apart(data, where, self.keep)
        own = {"held_out": data.own["held_out"]} | {k: v for k, v in data.changed_own.items() if k in OF_HOLDOUT}
        recipe = self.keep(Recipe(Operation("holdout", "split", _version(data), own), inputs))
        self.keep(apart(recipe))
        return recipe

    def facts_of(self, data: Section, where: Where, path: str = "data") -> Facts:
        """What is known of a data set, whose notes a reader gets. GridError where it is bad."""
        named = f"{path}.path" if "path" in data.settings else f"{path}.name"
        try:
            facts = self.facts(data)
        except ValueError as error:
            raise GridError(f"{named}: {error}", where(named)) from None
        skipped = [f"labels are not used: {facts.unlabelled}"] if facts.unlabelled else []
        self.notes.update(dict.fromkeys([*facts.notes, *skipped]))
        return facts

    def labels(self, condition: Section, data: Section, subset: Recipe, facts: Facts, where: Where) -> Recipe:
        """The labels under which a subset is trained, and metrics look at it."""
        takes, clusters = condition.signature.inputs, condition.settings.get("clusters")
        holdout = subset.inputs["holdout"]
        rest = checks.rest(data.own, facts)
        if isinstance(clusters, int) and clusters > rest:
            raise GridError(
                f"condition.clusters: {clusters} clusters are more than the {rest} images that they are fitted on",
                where("condition.clusters"),
            )
        if condition.name == "labels" and not facts.labelled:
            place = where("condition.name")
            why = f" that can be used: {facts.unlabelled}" if facts.unlabelled else ""
            raise GridError(f"condition.name: this data set has no labels{why}; use kmeans, random or none", place)
        inputs = {"subset": subset} if "train" in takes else {"holdout": holdout} if takes else {}
        if "embed" in takes:
            inputs["embed"] = self.features(condition, facts, holdout, where("condition.features"))
        if "given" in takes:
            inputs["given"] = self._given(condition, data, where)
        # the keys of the space and of the labels given stand for these
        settings = {k: v for k, v in condition.changed.items() if k not in ("features", "path")}
        fitted = self.keep(Recipe(Operation("labels", condition.name, condition.signature.version, settings), inputs))
        return self._altered(fitted, condition, subset)

    def _altered(self, fitted: Recipe, condition: Section, subset: Recipe) -> Recipe:
        """The labels permuted, or with noise; the fitted ones themselves where there is nothing to alter."""
        altered = condition.changed_own
        if condition.name == "none" or set(altered) <= {"seed"}:
            return fitted
        return self.keep(
            Recipe(Operation("labels", "altered", _version(condition), altered), {"labels": fitted, "subset": subset})
        )

    def _given(self, condition: Section, data: Section, where: Where) -> Recipe:
        """The labels that a file gives: their content is their identity."""
        try:
            content = self.facts.labels(condition, data)
        except ValueError as error:
            place = where("condition.path") or where("condition.name")
            raise GridError(f"condition.path: {error}", place) from None
        return self.keep(Recipe(Operation("given", condition.name, 0, {}), {}, content=content[:16]))

    def features(self, section: Section, facts: Facts, holdout: Recipe, place: Place | None) -> Recipe:
        """The feature space that a section names; `auto` is the embedded default for this kind of data."""
        name, of_metric = section.settings["features"], section.kind == "score"
        path = f"score.{section.name}.features" if of_metric else f"{section.kind}.features"
        if name == "auto":
            name = "pixels" if len(facts.shape) == 1 else "classifier" if facts.labelled else "random_conv"
        space = spaces.resolved(name, self.library, path, place)
        name, signature = space.name, space.signature
        if "labels" in signature.inputs and not facts.labelled:
            raise GridError(f"{path}: {name} is trained on labels, and this data set has none; use random_conv", place)
        weights = signature.constants.get("WEIGHTS")
        settings = space.changed | ({spaces.WEIGHTS: _sha256(weights, path, place)} if weights else {})
        fitted = {"holdout": holdout} if {"images", "labels"} & set(signature.inputs) else {}
        return self.keep(Recipe(Operation("features", name, signature.version, settings), fitted))

    def scoring(
        self, given: dict[str, Given], data: Section, where: Where, compared: Iterable[str] = ()
    ) -> dict[str, Metric]:
        """The metrics that `score:` names, the default ones where it names none, and those that an axis sets.

        `compared` are the data plug-ins that other cells compare with.
        """
        named = {path for path in given if "." not in path} or set(DEFAULT_SCORE)
        facts = self.facts_of(data, where)
        holdout, asked = self.holdout(data, facts, where), data.own["held_out"]
        left = self.facts.held_out(data) if asked else 0
        checks.held_out(asked, left, where)
        metrics = {}
        for metric in sorted(named | {path.partition(".")[0] for path in given}):
            own = {p.partition(".")[2]: g for p, g in given.items() if p.startswith(metric + ".")}
            place = next((g.place for g in (given.get(metric), *own.values()) if g), None)
            section, other = resolve_metric(metric, own, self.library, place, compared)
            against = self._against(metric, other, facts, where, place) if other else None
            needed = section.signature.constants.get("HELD_OUT_MIN", 0)
            checks.enough(metric, needed, asked, left, where("data.held_out") or place)
            takes, features, marked = section.signature.inputs, None, None
            self.notes.update(dict.fromkeys(audits.foreseen(section, data, facts, self.library, where)))
            if "unlearn" in takes:
                marked = unlearning.compared(self.marked(data, where), metric, place)
            if "embed" in takes:
                at = own["features"].place if "features" in own else place
                features = self.features(section, facts, holdout, at)
                section = replace(section, settings=section.settings | {"features": spaces.of(features)})
            # The keys of the space and of the denoisers that it looks at stand for these.
            settings = {k: v for k, v in section.changed.items() if k not in ("features", "guided", BASE)}
            operation = Operation("metric", metric, section.signature.version, settings)
            metrics[metric] = Metric(section, operation, features, other, against, marked)
        return metrics

    def _against(self, metric: str, other: Section, facts: Facts, where: Where, place: Place | None) -> Recipe:
        """The images of another data set in the size and colours of this one.

        Raises GridError where it has none, or is this one.
        """
        from difgen_cli.data import fits

        path = f"score.{metric}.against"
        others = self.facts_of(other, where, path)
        place = where(f"{path}.name") or place
        if others.content == facts.content:
            raise GridError(f"{path}: {other.name} is this data set itself; name another", place)
        if not fits(others.shape, facts.shape):
            raise GridError(
                f"{path}: {other.name} holds {_words(others.shape)}, and this data set {_words(facts.shape)}; images "
                "can be compared with images, and points with points of as many values",
                place,
            )
        operation = Operation("images", "matched", MATCHED_VERSION, {"shape": facts.shape})
        return self.keep(Recipe(operation, {"pool": self.pool(other, others)}))


def _version(section: Section) -> int | str:
    return section.own_signature.version if section.own_signature else 0


def _words(shape: tuple[int, ...]) -> str:
    return f"points of {shape[0]} values" if len(shape) == 1 else "images"


def _sha256(weights: str, path: str, place: Place | None) -> str:
    """SHA-256 of a file of weights, which must be at hand before anything is submitted."""
    from difgen_cli import features

    try:
        return features.identity(features.find(weights, config.weights_folders()), weights)
    except features.WeightsError as error:
        raise GridError(f"{path}: {error}", place) from None
