"""Which score of membership for how few reference models? The shifted difference beside RMIA, LiRA and Student's t.

    python benchmarks/calibrated.py [--seeds 8] [--steps 1200] [--width 64] [--runs RUNS] [--json] [--quick]

Sweeps digits MLPs, N = 256 of 897, into RUNS (a temporary folder by default, or one that has them already), and reads
the losses that the metric `exposure` left. Every model is a target; of its references `--repeats` draws of each number
are taken. AUROC, and the share of T found at ten false alarms and at 1 %: T against the pool without T and H, means
over targets and draws; `se` over targets. Last, the pool without T against H, which should read one half.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
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
  train: {{batch: 128, steps: {steps}}}
  sample: {{count: 2, steps: 2}}
  score: [exposure]
seeds: {seeds}
"""
COLUMNS = ("score", "references", "targets", "auc", "se", "tpr_10fp", "tpr_1pct")
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


def swept(folder: Path, width: int, steps: int, seeds: int) -> Models:
    """The models of the grid, trained where they are not there yet."""
    grid = folder / "calibrated.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    grid.write_text(GRID.format(width=width, steps=steps, seeds=seeds), encoding="utf-8")
    command = [sys.executable, "-m", "difgen_cli", "sweep", grid.name, "--cluster", "inline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (study,) = loading.gather(Store(folder / "runs"))
    ((_, models),) = calibrated.groups(curves.read(study))
    return models


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


def main() -> None:
    options = parser(__doc__, 3)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--steps", type=int, default=1200)
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--runs", type=Path, default=None)
    given = options.parse_args()
    if given.quick:
        given.seeds, given.steps, given.width = 3, 20, 16
    with tempfile.TemporaryDirectory() as temporary, Results("calibrated", given.json, COLUMNS, ("torch",)) as results:
        models = swept(given.runs or Path(temporary), given.width, given.steps, given.seeds)
        targets = len(models.seeds)
        for count in (count for count in (1, 2, 4, 7) if count < targets):
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
