"""Which score of membership for how few reference models? The shifted difference beside RMIA, LiRA and Student's t.

    python benchmarks/calibrated.py [--seeds 10] [--steps 1200] [--width 64] [--runs RUNS] [--json] [--quick]
    python benchmarks/calibrated.py --worlds 20 [--steps 300,1200,3000]

Sweeps digits MLPs, N = 256 of 897, into RUNS (a temporary folder by default, or one that has them already), and reads
the losses that the metric `exposure` left. Every model is a target; of its references `--repeats` draws of each number
are taken. AUROC, and the share of T found at ten false alarms and at 1 %: T against the pool without T and H, means
over targets and draws; `se` over targets. Last, the pool without T against H, which should read one half.

--worlds: so many times three seeds (--seeds), of which no two worlds share any, after each of the steps; of fewer
--models than that, worlds are different draws of them. How far is the mean AUROC of the shifted difference above that
of the loss by itself? `least` and `below`: the least gain of a world, and how many worlds are below; `surely`: of
these, how many by the t interval over their seeds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from measuring import Results, parser

from difgen_cli.engine.store import Store
from difgen_cli.metrics._ranks import found_at
from difgen_cli.report.study import calibrated, calibration, curves, loading
from difgen_cli.report.study.calibrated import Models

GRID = """# Which digits does a model of a few of them know?
base:
  data: {{name: digits, held_out: 900, size: 256}}
  model: {{name: mlp, width: {width}}}
  train: {{batch: 128}}
  sample: {{count: 2, steps: 2}}
  score: [exposure]
axes:
  train.steps: {steps}
seeds: {seeds}
"""
COLUMNS = ("score", "references", "targets", "auc", "se", "tpr_10fp", "tpr_1pct")
OF_WORLDS = ("steps", "worlds", "plain", "calibrated", "gain", "least", "below", "surely")
REFERENCES = (1, 2, 4, 7, 9)
SEEDS, OF_WORLD = 10, 3  # by default, of all models and of a world
MEANS = {"plain": "plain_auc", "calibrated": "cal_auc", "gain": "cal_gain"}
Score = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


def unshifted(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    return calibration.difference(own, phi, trained, 0.0)


def rmia(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    """The ratio of likelihoods to their mean over references (Zarifzadeh et al. 2024), 1/loss as the likelihood; for
    one model its comparison with the population changes no order."""
    top = phi.max(axis=0)
    return np.asarray(own - top - np.log(np.exp(phi - top).mean(axis=0)))


def lira_common(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    return calibration.lira(own, phi, trained, delta, own_spread=False)


def lira_own(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    return calibration.lira(own, phi, trained, delta, own_spread=True)


SCORES: dict[str, Score] = {
    "the loss by itself": lambda own, phi, trained, delta: own,
    "difference, not shifted": unshifted,
    "shifted difference": calibration.difference,
    "RMIA": rmia,
    "LiRA, common spread": lira_common,
    "LiRA, own spread": lira_own,
    "Student's t, shrunk": calibration.student,
}


def swept(folder: Path, width: int, steps: list[int], seeds: int) -> list[Models]:
    """The models of the grid after each of the steps, trained where they are not there yet."""
    grid = folder / "calibrated.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    grid.write_text(GRID.format(width=width, steps=steps, seeds=seeds), encoding="utf-8")
    command = [sys.executable, "-m", "difgen_cli", "sweep", grid.name, "--cluster", "inline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (study,) = loading.gather(Store(folder / "runs"))
    return [models for _, models in calibrated.groups(curves.read(study))]


def measured(models: Models, score: Score, count: int, draws: int) -> dict[str, float]:
    """Means over targets and draws of `count` references."""
    chance, by_target = np.random.default_rng(count), []
    for m in range(len(models.seeds)):
        others, of_T, values = models.references(m), models.trained[m], []
        for _ in range(draws):
            at = np.sort(chance.permutation(others)[:count])
            phi, trained = models.phi[at], models.trained[at]
            scores = score(models.phi[m], phi, trained, calibration.shift(phi, trained))
            found = [found_at(scores[of_T], scores[~of_T], k) / of_T.sum() for k in (10, int((~of_T).sum()) // 100)]
            values.append([calibration.area(scores, of_T, ~of_T), *found])
        by_target.append(np.mean(values, axis=0))
    auc, tpr_10fp, tpr_1pct = (float(x) for x in np.mean(by_target, axis=0))
    error = float(np.std(by_target, axis=0, ddof=1)[0] / np.sqrt(len(by_target)))
    return {"auc": auc, "se": error, "tpr_10fp": tpr_10fp, "tpr_1pct": tpr_1pct}


def of_worlds(models: Models, worlds: int, seeds: int) -> dict[str, float]:
    """Gains of the shifted difference over the loss by itself, one for each world."""
    lines, chosen = [], seeds_of_worlds(len(models.seeds), worlds, seeds)
    for at in map(np.array, chosen):
        kept = {name: getattr(models, name)[at] for name in ("phi", "trained", "phi_held_out")}
        own = replace(models, seeds=[models.seeds[m] for m in at], cells=[models.cells[m] for m in at], **kept)
        lines.append(calibrated.summary(own)[1])
    gains = np.array([line["cal_gain"] for line in lines])
    means = {name: float(np.mean([line[of] for line in lines])) for name, of in MEANS.items()}
    surely = sum(line["cal_gain_hi"] < 0 for line in lines)
    return {
        "worlds": len(lines),
        **means,
        "least": float(gains.min()),
        "below": int((gains < 0).sum()),
        "surely": int(surely),
    }


def seeds_of_worlds(models: int, worlds: int, seeds: int) -> list[tuple[int, ...]]:
    """The models of each world: others for each, where there are enough of them, else different draws."""
    if models >= worlds * seeds:
        return [tuple(range(seeds * world, seeds * (world + 1))) for world in range(worlds)]
    every = list(combinations(range(models), seeds))
    order = np.random.default_rng(0).permutation(len(every))[:worlds]
    return [every[k] for k in order]


def main() -> None:
    options = parser(__doc__, 3)
    options.add_argument("--seeds", type=int, default=0)
    options.add_argument("--steps", default="")
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--worlds", type=int, default=0)
    options.add_argument("--models", type=int, default=0)
    options.add_argument("--runs", type=Path, default=None)
    given = options.parse_args()
    steps = [int(word) for word in (given.steps or ("300,1200,3000" if given.worlds else "1200")).split(",")]
    given.seeds = given.seeds or (OF_WORLD if given.worlds else SEEDS)
    if given.quick:
        given.seeds, steps, given.width = 3, [20], 16
    columns = OF_WORLDS if given.worlds else COLUMNS
    with tempfile.TemporaryDirectory() as temporary, Results("calibrated", given.json, columns, ("torch",)) as results:
        folder = given.runs or Path(temporary)
        if given.worlds:
            count = given.models or given.seeds * given.worlds
            for step, at_step in zip(steps, swept(folder, given.width, steps, count), strict=True):
                results.add(steps=step, **of_worlds(at_step, given.worlds, given.seeds))
            return
        (models,) = swept(folder, given.width, steps, given.seeds)
        targets = len(models.seeds)
        for count in (count for count in REFERENCES if count < targets):
            for name, score in SCORES.items():
                if name != "the loss by itself" or count == 1:
                    draws = 1 if count == targets - 1 else given.repeats
                    results.add(score=name, references=count, targets=targets, **measured(models, score, count, draws))
        _, line = calibrated.summary(models)
        name = calibrated.CONTROL
        control = {"auc": line[name], "se": (line[f"{name}_hi"] - line[f"{name}_lo"]) / 4}
        results.add(score="pool without T against H", references=targets - 1, targets=targets, **control)


if __name__ == "__main__":
    main()
