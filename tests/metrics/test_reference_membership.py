"""Membership beside a reference model: what it must read of models whose answer is known, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from denoisers import Wiener, digit_parts, gaussian

from difgen_cli.diffusion import DenoiserLike, IdealDenoiser, to_tensor
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan
from difgen_cli.metrics import membership
from difgen_cli.metrics.reference_membership import COLUMNS, measure

BASE = Path("base")
WORDS = ("025", "050", "100")


@dataclass
class Reference:
    denoiser: DenoiserLike


def test_the_model_itself_as_reference_leaves_no_trace() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    ideal = IdealDenoiser(to_tensor(train), sigma_d)
    values = measure(ideal, Reference(ideal), train, held_out, None, None, sigma_d, base=BASE).values
    assert set(values) == set(COLUMNS)
    assert [values[f"mia_reference_auc_{word}"] for word in WORDS] == [0.5, 0.5, 0.5]


def test_a_model_that_has_its_training_images_by_heart_beside_one_that_saw_none() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    ideal = IdealDenoiser(to_tensor(train), sigma_d)
    values = measure(ideal, Reference(Wiener(sigma_d)), train, held_out, None, None, sigma_d, base=BASE).values
    assert [values[f"mia_reference_auc_{word}"] for word in WORDS] == [1, 1, 1]


def test_how_hard_an_image_is_falls_out() -> None:
    """Held-out images of twice the norm look unseen to the loss alone; the ratio to a reference is blind to that."""
    train, held_out = gaussian(300, 1), 2 * gaussian(300, 2)
    model, reference = Wiener(0.7), Wiener(0.7, 0.9)
    alone = membership.measure(model, train, held_out, None, None, 0.7).values
    assert alone["mia_auc_100_lo"] > 0.9  # type: ignore[operator]
    plain = measure(model, Reference(model), train, held_out, None, None, 0.7, base=BASE).values
    assert plain["mia_reference_auc_100"] == 0.5
    beside = measure(model, Reference(reference), train, train[::-1].copy(), None, None, 0.7, base=BASE).values
    assert beside["mia_reference_auc_100_lo"] < 0.5 < beside["mia_reference_auc_100_hi"]  # type: ignore[operator]


def test_it_is_the_area_of_the_log_of_both_losses_by_brute_force() -> None:
    train, held_out = gaussian(40, 1), 1.2 * gaussian(50, 2)
    model, reference = Wiener(0.7), Wiener(0.7, 0.8)
    values = measure(model, Reference(reference), train, held_out, None, None, 0.7, base=BASE).values
    from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, losses

    scores = []
    for split, x in ((TRAIN, train), (HELD_OUT, held_out[:40])):
        part = bank(x, None, membership.DRAWS, split, "cpu")
        ours, theirs = (losses(d, part, 0.7 * np.array([0.25])).mean[:, 0] for d in (model, reference))
        scores.append(np.log(theirs / ours))
    wins = (scores[0][:, None] > scores[1]).mean() + (scores[0][:, None] == scores[1]).mean() / 2
    assert values["mia_reference_auc_025"] == pytest.approx(wins, abs=1e-12)
    assert values["mia_reference_images"] == 40


GRID = """\
# Does a reference help?
base:
  data:  {name: digits, held_out: 900, size: 32}
  model: {name: given, path: model.safetensors}
  score: {reference_membership: {base: base.safetensors}}
"""


@pytest.fixture(scope="module")
def snapshots(
    tmp_path_factory: pytest.TempPathFactory, difgen_in: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    """Two snapshots of a training, with the run directory that they lie in."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "grid.yaml").write_text(
        "base:\n  data: {name: digits, held_out: 900, size: 32}\n  model: {name: mlp, width: 8, depth: 1}\n"
        "  train: {batch: 16}\n  sample: {count: 8, steps: 2}\n  score: [memorization]\naxes: {train.steps: [5, 40]}\n"
    )
    run = difgen_in(folder, "sweep", "grid.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    (place,) = folder.glob("runs/trajectories/*/snapshots")
    return place


def test_the_reference_is_known_by_its_content_and_refused_where_there_is_none(
    snapshots: Path, tmp_path: Path, write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = GRID.replace("model.safetensors", str(snapshots / "40.safetensors"))

    def key(base: Path) -> str:
        (cell,) = plan_of(write_grid(text.replace("base.safetensors", str(base)))).models
        return cell.metrics["reference_membership"]

    first = key(snapshots / "5.safetensors")
    moved = snapshots.parent / "snapshots" / "6.safetensors"
    shutil.copy(snapshots / "5.safetensors", moved)
    assert key(moved) == first  # by another name
    shutil.copy(snapshots / "40.safetensors", moved)
    assert key(moved) != first  # other weights
    with pytest.raises(GridError, match=r"score\.reference_membership\.base: .*there is no such file"):
        key(tmp_path / "nothing.safetensors")
    given = f"model: {{name: given, path: {snapshots / '40.safetensors'}}}"
    trained = write_grid(text.replace(given, "model: {name: mlp}\n  train: {steps: 5}"))
    with pytest.raises(GridError, match="compares weights that somebody else trained"):
        plan_of(trained)
