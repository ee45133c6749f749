"""Membership calibrated by the other seeds of a grid: every sweep trains models on different subsets of one pool.

Each model is compared with the models of the other seeds of its setting, image by image (see `calibration.py`). Images
that it was not trained on are those of the pool without T and H: no reference was trained on an image of H either, so
that H would look unlike the rest even to a model that learnt nothing. Near-duplicates are one image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.metrics._intervals import PARTS, part_of
from difgen_cli.metrics._ranks import Auroc, clopper_pearson, found_at
from difgen_cli.report import spreadsheet
from difgen_cli.report.study import calibration, seeds
from difgen_cli.report.study.curves import STEPS, Curves, per_group

LEAST = 20  # images that a model was trained on, and that it was not: below it nothing is said
TEN, ALARMS_MIN, ONE_IN = 10, 1000, 100  # false alarms; images without which 1 % of them is not known
STUDENT_MIN, LIRA_MIN = 8, 64  # references, from which such scores stand beside the difference
PERMUTATIONS = 8
SHARES = ("cal_tpr_10fp", "cal_tpr_1pct")
CONTROL = "cal_control_heldout"
OWN, OF_ROW = "plain_control_self", "mia_self_auc_025"  # the control by a model's own samples, and its column of rows
AREAS = ("cal_auc", "plain_auc", "cal_t_auc", "lira_auc", CONTROL)
PER_RUN = ("cal_models", "cal_shift", "cal_out_share", "cal_tpr_10fp_rate", "cal_reliability", "cal_reliability_rest")
COLUMNS = {name: ColumnSpec("share") for name in SHARES}  # how they are averaged over seeds


@dataclass(frozen=True)
class Calibrated:
    """runs: a line per model (`_run`). over_seeds: one per setting and step (`_over_seeds`)."""

    runs: pd.DataFrame
    over_seeds: pd.DataFrame


@dataclass(frozen=True)
class Models:
    """Models of one setting, and what they make of the images that all of them were asked about.

    phi: (M, n) minus the log of the loss of the pool's images. trained: (M, n) bool. phi_held_out: (M, h).
    """

    seeds: list[Any]
    cells: list[str]
    images: np.ndarray  # (n,) places in the pool
    phi: np.ndarray
    trained: np.ndarray
    phi_held_out: np.ndarray

    def references(self, m: int) -> np.ndarray:
        """The models of other subsets than model m's: places, ascending."""
        return np.flatnonzero((self.trained != self.trained[m]).any(axis=1))

    def without(self, part: int) -> Models:
        """The same without one of PARTS random parts of the images."""
        kept, kept_H = (part_of(x.shape[1]) != part for x in (self.phi, self.phi_held_out))
        phi, trained, held_out = self.phi[:, kept], self.trained[:, kept], self.phi_held_out[:, kept_H]
        return replace(self, images=self.images[kept], phi=phi, trained=trained, phi_held_out=held_out)


def read(curves: Curves) -> Calibrated:
    """Both tables of a study; no lines where `exposure` was not scored, or nowhere for two seeds or more."""
    runs, settings = [], []
    cells = curves.done.drop_duplicates("cell").set_index("cell") if len(curves.exposure) else pd.DataFrame()
    for key, models in groups(curves):
        about = dict(zip(curves.paths, key, strict=True))
        lines, line = summary(models)
        if lines and OF_ROW in cells and (own := cells[OF_ROW].reindex([run["cell"] for run in lines])).notna().all():
            for run, area in zip(lines, own, strict=True):
                run[OWN] = area
            line |= _mean(OWN, own)
        runs += [about | own for own in lines]
        settings += [about | line] if lines else []
    return Calibrated(ordered(curves, runs), ordered(curves, settings))


def write(tables: Calibrated, out: Path) -> list[Path]:
    """calibrated.csv and calibrated_runs.csv into `out`, removed where they have no lines; returns what is there."""
    return spreadsheet.write_each({"calibrated.csv": tables.over_seeds, "calibrated_runs.csv": tables.runs}, out)


def groups(curves: Curves, *, once: bool = True) -> list[tuple[tuple[Any, ...], Models]]:
    """The models of each setting and step that were asked about the images of the same pool, by the axes' levels.

    once: each group of near-duplicates is one image.
    """
    lines = curves.exposure
    if lines.empty:
        return []
    cells = curves.done[curves.done["cell"].isin(lines["cell"])].drop_duplicates([*curves.paths, "seed"])
    of_cell = dict(list(lines.groupby("cell", sort=False, observed=True)))
    grouped = []
    for key, group in per_group(cells, curves.paths):
        parts = [of_cell[cell] for cell in group["cell"]]
        if len(parts) > 1 and len({part["pool"].iloc[0] for part in parts}) == 1:
            grouped.append((key, _models(group, parts, once)))
    return grouped


def scores_of(models: Models, m: int) -> np.ndarray | None:
    """The shifted difference of each of the pool's images for model m, (n,); None without a reference."""
    at = models.references(m)
    if not len(at):
        return None
    delta = calibration.shift(models.phi[at], models.trained[at])
    return calibration.difference(models.phi[m], models.phi[at], models.trained[at], delta)


def _models(cells: pd.DataFrame, parts: list[pd.DataFrame], once: bool) -> Models:
    together = pd.concat([part.assign(model=k) for k, part in enumerate(parts)])
    of_pool, of_H = together[~together["held_out"]], together[together["held_out"]]
    if once:
        of_pool = of_pool.drop_duplicates(["model", "group"])
    loss, held_out = (part.pivot(index="model", columns="image", values="loss") for part in (of_pool, of_H))
    loss, held_out = loss.dropna(axis=1), held_out.dropna(axis=1)
    trained = of_pool.pivot(index="model", columns="image", values="trained")[loss.columns]
    tiny = np.finfo(float).tiny
    return Models(
        cells["seed"].tolist(), cells["cell"].tolist(), loss.columns.to_numpy(np.int64),
        -np.log(np.maximum(loss.to_numpy(float), tiny)), trained.to_numpy(bool),
        -np.log(np.maximum(held_out.to_numpy(float).reshape(len(parts), -1), tiny)),
    )  # fmt: skip


def _parts(models: Models, m: int, at: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By column of an AUROC the scores (k,) of model m, and which of them are positives and negatives."""
    own, phi, trained, of_T = models.phi[m], models.phi[at], models.trained[at], models.trained[m]
    delta = calibration.shift(phi, trained)
    calibrated = calibration.difference(own, phi, trained, delta)
    scores = {"cal_auc": calibrated, "plain_auc": own}
    if len(at) >= STUDENT_MIN:
        scores["cal_t_auc"] = calibration.student(own, phi, trained, delta)
    if len(at) >= LIRA_MIN:
        scores["lira_auc"] = calibration.lira(own, phi, trained, delta, own_spread=True)
    parts = {name: (score, of_T, ~of_T) for name, score in scores.items()}
    if models.phi_held_out.shape[1] >= LEAST:
        of_H = models.phi_held_out[m] - models.phi_held_out[at].mean(axis=0)
        side = np.arange(len(of_T) + len(of_H)) >= len(of_T)
        others = np.concatenate([~of_T, np.zeros(len(of_H), bool)])
        parts[CONTROL] = (np.concatenate([calibrated, of_H]), others, side)
    return parts


def summary(models: Models) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of both tables for the models of one setting; none where no model can be compared."""
    usable = [m for m in range(len(models.seeds)) if _enough(models, m)]
    lines = [_run(models, m) for m in usable]
    if not lines:
        return [], {}
    singles, means = areas(models, usable)
    for run, own in zip(lines, singles, strict=True):
        for name, (area, _) in own.items():
            run.update(_ends(name, area))
    frame = pd.DataFrame(lines)
    line: dict[str, Any] = {"seeds": len(frame)} | {name: frame[name].mean() for name in ("images_in", "images_out")}
    for name, mean in means.items():
        line |= _ends(name, mean)
    return lines, line | _over_seeds(frame)


def areas(
    models: Models, usable: list[int], names: tuple[str, ...] = AREAS
) -> tuple[list[dict[str, tuple[Auroc, float]]], dict[str, Auroc]]:
    """The AUROCs `names` of each usable model with DeLong's variance, and their means over those that all of them have.

    Intervals of the means are over images and seeds: the jackknife makes all of it anew.
    """
    parts = [_parts(models, m, models.references(m)) for m in usable]
    singles = [{name: calibration.delong(*own[name]) for name in names if name in own} for own in parts]
    common = [name for name in names if all(name in own for own in singles)]
    left_out = [_means(models.without(part), usable, common) for part in range(PARTS)]
    means = {}
    for name in common:
        single, variances = zip(*(own[name] for own in singles), strict=True)
        without = np.array([mean[name] for mean in left_out])
        means[name] = calibration.mean_auroc(single, None if name == CONTROL else np.array(variances), without)
    return singles, means


def _means(models: Models, usable: list[int], names: list[str]) -> dict[str, float]:
    parts = [_parts(models, m, models.references(m)) for m in usable]
    return {name: float(np.mean([calibration.area(*own[name]) for own in parts])) for name in names}


def _enough(models: Models, m: int) -> bool:
    sides = models.trained[m].sum(), (~models.trained[m]).sum()
    return len(models.references(m)) > 0 and min(sides) >= LEAST


def _run(models: Models, m: int) -> dict[str, Any]:
    """calibrated_runs.csv: one line per model.

    `images_in`, `images_out`: of T, and of the pool without T and H, as far as measured. `cal_models`: references;
    `cal_shift`: Δ; `cal_out_share`: images of T that a reference was not trained on, as a share. `plain_auc`: of minus
    the loss; `cal_auc`: of the shifted difference; `cal_t_auc` from 8 references: Student's t; `lira_auc` from 64: LiRA
    with a spread of each image; 95 % intervals over images, given the models. `cal_tpr_10fp`: T found at ten false
    alarms, which are the share `cal_tpr_10fp_rate` of the others; `cal_tpr_1pct`: at 1 %, missing below 1,000 others;
    Clopper-Pearson, given the threshold. Controls: `cal_control_permuted`, the mean AUROC where all subsets are drawn
    again; `cal_control_heldout`, the others against H, where it was measured; both .5; `plain_control_self`, where the
    metric self_membership was scored: the model's own samples against H, by the loss alone. `cal_reliability`: of the
    order of T's images, over references; `cal_reliability_rest`: of that of the others, where there is none.
    """
    at, own, of_T = models.references(m), models.phi[m], models.trained[m]
    phi, trained = models.phi[at], models.trained[at]
    delta = calibration.shift(phi, trained)
    scores = calibration.difference(own, phi, trained, delta)
    line: dict[str, Any] = {
        "seed": models.seeds[m], "cell": models.cells[m], "images_in": int(of_T.sum()),
        "images_out": int((~of_T).sum()), "cal_models": len(at), "cal_shift": delta,
        "cal_out_share": float((~trained[:, of_T]).any(axis=0).mean()),
    }  # fmt: skip
    line |= _shares_found(scores[of_T], scores[~of_T]) | {"cal_control_permuted": _permuted(models, m, at)}
    for name, among in (("cal_reliability", of_T), ("cal_reliability_rest", ~of_T)):
        line[name] = calibration.split_half(own, phi, trained, delta, among)
    return line


def _over_seeds(frame: pd.DataFrame) -> dict[str, Any]:
    """calibrated.csv: one line per setting and step, over its models.

    `seeds`; the columns of `_run` as means over seeds, `cal_gain` the mean of cal_auc − plain_auc. Intervals of AUROCs
    are over images and seeds (`mean_auroc`), those of `cal_gain` and `cal_control_permuted` Student's t over seeds, and
    those of shares found as in all tables of shares over seeds.
    """
    line = _mean("cal_gain", frame["cal_auc"] - frame["plain_auc"])
    line |= _mean("cal_control_permuted", frame["cal_control_permuted"])
    shares = seeds.over_seeds(frame, [], [name for name in SHARES if name in frame], COLUMNS)
    for share in shares.to_dict("records"):
        line |= {f"{share['metric']}{end}": share[of] for end, of in (("", "mean"), ("_lo", "lo"), ("_hi", "hi"))}
    return line | {name: frame[name].mean() for name in PER_RUN if name in frame}


def _mean(name: str, values: pd.Series) -> dict[str, Any]:
    """The mean of a column over seeds, with Student's interval."""
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), seeds.mean_interval(values.to_numpy(float)), strict=True))


def _shares_found(of_T: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """The shares of T's scores above thresholds that few of the others are above."""
    columns, allowed = dict[str, float](), dict[str, int]()
    if len(others) > TEN:
        allowed["cal_tpr_10fp"] = TEN
        columns["cal_tpr_10fp_rate"] = TEN / len(others)
    if len(others) >= ALARMS_MIN:
        allowed["cal_tpr_1pct"] = len(others) // ONE_IN
    for name, alarms in allowed.items():
        count = found_at(of_T, others, alarms)
        ends = (count / len(of_T), *clopper_pearson(count, len(of_T)))
        columns |= dict(zip((name, f"{name}_lo", f"{name}_hi"), ends, strict=True))
    return columns


def _permuted(models: Models, m: int, at: np.ndarray) -> float:
    """The mean AUROC where every subset is as large as it is, and drawn again: those of the references too."""
    chance, areas = np.random.default_rng((m, len(models.images))), []
    for _ in range(PERMUTATIONS):
        drawn = np.stack([chance.permutation(models.trained[k]) for k in (m, *at)])
        delta = calibration.shift(models.phi[at], drawn[1:])
        scores = calibration.difference(models.phi[m], models.phi[at], drawn[1:], delta)
        areas.append(calibration.area(scores, drawn[0], ~drawn[0]))
    return float(np.mean(areas))


def _ends(name: str, area: Auroc) -> dict[str, Any]:
    return {name: area.value, f"{name}_lo": area.lower, f"{name}_hi": area.upper}


def ordered(curves: Curves, lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The lines as a frame, settings in the order of the axes."""
    frame = pd.DataFrame(lines)
    if frame.empty:
        return frame
    for path in curves.paths:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    by = [path for path in curves.paths if path != STEPS] + [path for path in curves.paths if path == STEPS]
    return frame.sort_values([*by, *(["seed"] if "seed" in frame else [])], kind="stable", ignore_index=True)
