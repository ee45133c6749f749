"""From a request to a plan: which metrics can be computed, the cell of the samples, and its references."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid import Grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Cell, Facts, Plan, Reference, Trajectory
from difgen_cli.engine.plan.derive import RecipeBuilder
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.metric import LACKING, result_keys
from difgen_cli.engine.plan.planner import real_images
from difgen_cli.engine.plan.recipes import Operation, Recipe, images_of
from difgen_cli.engine.plan.sections import DEFAULT_SCORE, Section, as_text, resolve
from difgen_cli.engine.plugins import Library
from difgen_cli.score.groups import Groups
from difgen_cli.score.sources import ComparisonRequest, Request
from difgen_cli.text import hyphenated, printable

GIVEN_VERSION = 1  # of how files become the samples of a cell
DEFAULT = (*DEFAULT_SCORE, "aligned")  # for a model that nobody here has trained, copies may have been changed
IN_A_SPACE = "feature_copies"  # the metric that --copy-features adds
NO_MODEL = dict.fromkeys(LACKING["heldout"], "needs the model itself (its denoiser), and only its images are given")


def metrics(
    request: ComparisonRequest,
    library: Library,
    held_out: int,
    names: Iterable[str],
    lacking: Mapping[str, str] = NO_MODEL,
) -> tuple[dict[str, Given], dict[str, str]]:
    """What `score:` would say in a grid, and the metrics that cannot be had, with the reason.

    lacking: input of metrics -> why it is not there.
    """
    given: dict[str, Given] = {}
    left_out: dict[str, str] = {}
    for metric in dict.fromkeys([*names, *([IN_A_SPACE] if request.copy_features else [])]):
        signature = library.signature("score", metric)
        least = signature.constants.get("HELD_OUT_MIN", 0)
        if why := next((lacking[name] for name in signature.inputs if name in lacking), None):
            left_out[metric] = why
        elif held_out < least:
            left_out[metric] = f"needs at least {least} held-out images, and there are {held_out or 'none'}"
        else:
            given[metric] = Given(True)
    if not given:
        raise GridError("; ".join(f"--metrics {metric}: {why}" for metric, why in left_out.items()))
    return given | _features(request, given, library) | _settings(request, given, left_out), left_out


def _features(request: ComparisonRequest, given: Mapping[str, Given], library: Library) -> dict[str, Given]:
    """The feature space for every metric that uses one; that of copies by itself where it is given."""
    own = (
        {f"{IN_A_SPACE}.features": Given(request.copy_features)}
        if request.copy_features and IN_A_SPACE in given
        else {}
    )
    if request.features is None:
        return own
    users = [metric for metric in given if "embed" in library.signature("score", metric).inputs]
    if not users:
        raise GridError(f"--features {request.features}: none of {', '.join(given)} uses a feature space")
    return {f"{metric}.features": Given(request.features) for metric in users} | own


def _settings(request: ComparisonRequest, given: Mapping[str, Given], left_out: Mapping[str, str]) -> dict[str, Given]:
    settings = {path: value for path, value in request.given().items() if not path.startswith("data.")}
    for path in settings:
        metric, dot, _ = path.partition(".")
        if metric not in given or not dot:
            why = left_out.get(metric, _settable(path, given))
            raise GridError(f"--set {path}: {why}")
    return settings


def _settable(path: str, given: Iterable[str]) -> str:
    if path == "train.flip":
        return "use --mirrored where training showed mirror images too"
    return f"write METRIC.KEY=VALUE, with a metric of {', '.join(given)}"


def plan(
    request: Request, data: Section, metrics: Mapping[str, Given], samples: Facts, count: int, groups: Groups | None,
    finder: Finder,
) -> Plan:  # fmt: skip
    """One cell for the samples, and reference rows of real images, as many as there are samples, and in no groups.

    Where training showed mirror images, that is in the keys as `train.flip` is in a sweep's.
    """
    derive = RecipeBuilder(finder.library, finder, {})
    subset, size = derive.subset(data, lambda _: None)
    scoring = derive.scoring(dict(metrics), data, lambda _: None)
    flip = {"flip": True} if request.mirrored else {}
    images = images_of(subset) | ({"mirrored": "flip"} if request.mirrored else {})
    pool = derive.keep(Recipe(Operation("pool", "files", 0, {}), {}, content=samples.content[:16]))
    run_key = derive.keep(
        Recipe(Operation("trajectory", "given", GIVEN_VERSION, flip), {"subset": subset, "samples": pool})
    )
    sampler = resolve("sample", {"count": Given(count)}, finder.library)
    key = Operation("samples", "given", GIVEN_VERSION, {"count": count}).key({"snapshot": run_key.key})
    drawn = {"count": count, "seed": sampler.own["seed"]}
    shown_settings = {"model.name": printable(str(request.samples)), "sample.count": count}
    lines = [("model", run_key, key, shown_settings | ({"sample.groups": groups.count} if groups else {}))]
    for kind in ("heldout", "copycat") if data.own["held_out"] else ("copycat",):
        reference, real = real_images(kind, subset, drawn, request.mirrored)
        lines.append((kind, derive.keep(reference), real, {f"sample.{k}": v for k, v in drawn.items()}))
    settings = data.columns | {"data.size": size}
    cells = []
    for index, (kind, recipe, drawn_key, shown) in enumerate(lines):
        together = groups.key if groups and kind == "model" else None
        own = {"samples": drawn_key, "home": recipe.key} | ({"groups": together} if together else {})
        cells.append(
            Cell(
                index=index,
                kind=kind,
                seed=0,
                run_key=recipe.key,
                samples=drawn_key,
                sampler=sampler,
                scoring=scoring,
                metrics=result_keys(scoring, "heldout", images | own),
                columns=(settings, shown),
                groups=together,
            )
        )
    trajectory = Trajectory(run_key, _slug(request.samples), (), 0, settings)
    references = {recipe.key: Reference(recipe, f"{kind}-n{size}") for kind, recipe, _, _ in lines[1:]}
    identity = {
        "samples": key,
        **({"groups": groups.key} if groups else {}),
        **{f"score.{k}": g.value for k, g in metrics.items()},
        **data.columns,
    }
    return Plan(_grid(request, identity), cells, {run_key.key: trajectory}, references, derive.recipes)


def _grid(request: Request, identity: Mapping[str, Any]) -> Grid:
    """What stands in place of a grid file: the request, as JSON, which is YAML too."""
    question = printable(f"Do the samples in {request.samples} copy images of {request.against}?")
    arguments = {name: value for name, value in vars(request).items() if value}
    base = {path: Given(value) for path, value in identity.items()}
    text = json.dumps({"score": arguments}, indent=1, default=as_text) + "\n"
    return Grid(Path(f"{_slug(request.samples)}.yaml"), text, question, base, (), (), (), (0,))


def _slug(path: Path) -> str:
    """A readable name for folders: the file's or folder's own, without what a path or a page may stumble over."""
    return hyphenated(path.stem)[:60].strip("-") or "samples"
