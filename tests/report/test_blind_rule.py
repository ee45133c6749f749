"""Where training and held-out images differ without the model, nothing that rests on the latter is stated."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic import study as made_up

from difgen_cli.data.digits import load
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.store import Store
from difgen_cli.report import findings
from difgen_cli.report.findings import samples, study
from difgen_cli.report.study import blind, curves, loading

ALIKE = {"blind_auc": 0.51, "blind_auc_lo": 0.47, "blind_auc_hi": 0.55}
UNLIKE = {"blind_auc": 0.98, "blind_auc_lo": 0.97, "blind_auc_hi": 0.99}
WHY = "training and held-out images differ without the model (AUROC 0.980 [0.970, 0.990])"
LEAKS = {"mia_auc_025": 0.8, "mia_auc_025_lo": 0.75, "mia_auc_025_hi": 0.85}
SELF = {"mia_self_auc_025": 0.6, "mia_self_auc_025_lo": 0.55, "mia_self_auc_025_hi": 0.65}
LEANS = {"train_pref_excess": 0.2, "train_pref_excess_lo": 0.1, "train_pref_excess_hi": 0.3}
CLIQUES = {"clique_frac": 0.043, "clique_frac_lo": 0.02, "clique_frac_hi": 0.08, "clique_largest": 3}
DIFGEN = Callable[..., subprocess.CompletedProcess[str]]


def told(**row: Any) -> dict[str, str]:
    return dict(samples.rules_that_speak(row))


@pytest.mark.parametrize(("lower", "stated"), [(0.52, True), (0.5200001, False), (0.97, False), (None, True)])
def test_the_rule(lower: float | None, stated: bool) -> None:
    row = UNLIKE | {"blind_auc_lo": lower}
    assert (blind.reason(row) is None) == stated
    rows = pd.DataFrame([row, ALIKE, {}])
    assert list(blind.refused(rows)) == [not stated, False, False]
    kept, taken = blind.held_back(rows.assign(mia_auc_025=[0.8, 0.7, 0.6], mia_twin_auc_025=0.9), ["mia_auc_"])
    assert kept["mia_auc_025"].isna().tolist() == [not stated, False, False]
    assert kept["mia_twin_auc_025"].tolist() == [0.9] * 3
    assert list(taken.columns) == ([] if stated else ["mia_auc_025"])


def test_names_stand_for_their_ends_and_beginnings_for_all() -> None:
    columns = ["gap", "gap_lo", "gap_max", "gap_null", "mia_auc_025_hi", "mia_images"]
    assert blind.claims(columns, ("gap", "mia_auc_")) == ["gap", "gap_lo", "mia_auc_025_hi"]


def test_the_reason_is_said_in_place_of_the_number() -> None:
    said = told(**UNLIKE, **LEAKS, **LEANS, gap_max=0.5)
    assert said["refused"] == (
        "Membership, the gap between held-out and training losses and the preference for training images cannot be "
        f"told: {WHY}."
    )
    assert set(said) == {"refused"}
    assert told(**UNLIKE, mia_auc_025=None)["refused"] == f"Membership cannot be told: {WHY}."
    assert told(**UNLIKE)["refused"] == f"T{WHY[1:]}."
    assert "refused" not in told(**ALIKE, **LEAKS)


def test_what_is_said_of_membership() -> None:
    assert told(**LEAKS)["membership"] == (
        "The denoising loss distinguishes training from held-out images: AUROC 0.800 [0.750, 0.850] at noise 0.25 σ_d."
    )
    assert told(**LEAKS, **ALIKE)["membership"].endswith("at noise 0.25 σ_d; without the model: 0.510 [0.470, 0.550].")
    none = dict.fromkeys(ALIKE)
    assert "is not known, because there are too few images" in told(**LEAKS, **none)["membership"]
    nothing = LEAKS | {"mia_auc_025": 0.52, "mia_auc_025_lo": 0.48, "mia_auc_025_hi": 0.56}
    assert told(**nothing)["membership"].startswith("The denoising loss was not found to distinguish")
    below = LEAKS | {"mia_auc_025": 0.4, "mia_auc_025_lo": 0.36, "mia_auc_025_hi": 0.44}
    assert told(**below)["membership"].startswith("The denoising loss is larger on training images")
    assert "membership" not in told(mia_auc_025=None, mia_auc_025_lo=None)


def test_samples_that_score_as_training_images_do_are_named() -> None:
    assert "own samples" not in told(**LEAKS, **SELF)["membership"]
    high = {name: value + 0.15 for name, value in SELF.items()}
    assert (
        "It does so for the model's own samples as well (AUROC 0.750 [0.700, 0.800]): either they are copies"
        in (told(**LEAKS, **high)["membership"])
    )


@pytest.mark.parametrize(
    ("rule", "column", "ends", "sentence"),
    [
        ("inversion", "dire_auc", (0.7, 0.6, 0.8), "The error of inversion is smaller on training images"),
        ("inversion", "dire_auc", (0.3, 0.2, 0.4), "The error of inversion is larger on training images"),
        ("inversion", "dire_auc", (0.55, 0.45, 0.65), "The error of inversion was not found to distinguish"),
        ("basins", "basin_excess", (0.4, 0.3, 0.5), "returns to training images more often than to held-out images"),
        ("basins", "basin_excess", (-0.4, -0.5, -0.3), "returns to training images less often"),
        ("basins", "basin_excess", (0.1, -0.1, 0.3), "was not found to return to training images more often"),
    ],
)
def test_what_is_said_of_walks_is_said_by_the_interval_and_where_the_images_are_alike(
    rule: str, column: str, ends: tuple[float, float, float], sentence: str
) -> None:
    row = dict(zip((column, f"{column}_lo", f"{column}_hi"), ends, strict=True))
    assert sentence in told(**row)[rule]
    assert sentence in told(**row, **ALIKE)[rule]
    assert rule not in told(**row, **UNLIKE)
    assert told(**row, **UNLIKE)["refused"].endswith(f"cannot be told: {WHY}.")
    assert rule not in told(**row | {f"{column}_lo": None})


def test_cliques_are_never_called_copies() -> None:
    sentence = told(**CLIQUES, clique_constant=0)["made_again"]
    assert sentence == (
        "4.30 % [2.00 %, 8.00 %] of the samples are nearly the same as another sample, made from other noise, the "
        "largest group being 3 samples: the model makes images again, as one does that copies, and one that makes few "
        "images."
    )
    assert "; 2 samples are of a single colour:" in told(**CLIQUES, clique_constant=2)["made_again"]
    assert "made_again" not in told(**CLIQUES | {"clique_frac": 0.0})
    grey = {"sample_constant": 300, "sample.count": 300}
    assert "made_again" not in told(**CLIQUES, **grey)


def of_study(control: list[dict[str, Any]], measured: dict[str, Any]) -> tuple[dict[str, str | None], Any]:
    """Rule -> sentence of a study of two sizes and one seed, each with a control."""
    base = made_up({"data.size": [16, 64]}, seeds=1)
    names = [*measured, *UNLIKE]
    models = base.rows[base.rows["kind"] == "model"].index
    rows = base.rows.assign(**dict.fromkeys(names, np.nan))
    for place, own in zip(models, control, strict=True):
        for name, value in (measured | own).items():
            rows.loc[place, name] = value
    rows, held_back = blind.held_back(rows, ["mia_auc_", "train_pref_excess", "gap_max"])
    columns = {**base.columns, **{name: ColumnSpec() for name in names}}
    without = {"tables": {}}  # the made-up gap over noise has no control of its own
    changed = type(base)(**{**vars(base), **without, "rows": rows, "columns": columns, "held_back": held_back})
    read = curves.read(changed)
    return {name: rule(read, read.last) for name, rule in study.RULES.items()}, changed


def test_a_study_says_where_nothing_is_stated() -> None:
    said, changed = of_study([UNLIKE, UNLIKE | {"blind_auc_lo": 0.9, "blind_auc": 0.95}], LEAKS)
    assert said["refused"] == (
        "Membership, the gap between held-out and training losses and the preference for training images cannot be "
        f"told: {WHY}."
    )
    assert said["membership"] is None
    assert said["leaning"] is None
    assert "mia_auc_025" not in changed.curves.metrics
    assert findings.of_study(changed.curves)[0] == said["refused"]
    assert changed.measured["mia_auc_025"].dropna().tolist() == [0.8, 0.8]
    some, _ = of_study([UNLIKE, ALIKE], LEAKS)
    assert some["refused"].startswith("In 1 of 2 cells: Membership, ")  # type: ignore[union-attr]
    assert some["membership"].endswith("in the one seed of 1 of 1 setting (AUROC 0.800).")  # type: ignore[union-attr]


def test_a_study_counts_the_settings_in_which_the_loss_tells() -> None:
    said, _ = of_study([ALIKE, ALIKE], LEAKS)
    assert said["refused"] is None
    assert said["membership"] == (
        "At the last snapshots the denoising loss at noise 0.25 σ_d distinguishes training from held-out images in the "
        "one seed of 2 of 2 settings (AUROC 0.800 to 0.800)."
    )
    quiet, _ = of_study([ALIKE, ALIKE], LEAKS | {"mia_auc_025_lo": 0.4})
    assert quiet["membership"].endswith("in the one seed of none of 2 settings.")  # type: ignore[union-attr]


GRID = """# Does the loss reveal the training images?
base:
  data:   {{name: files, path: train, held_out_path: {apart}, held_out: 200}}
  model:  {{name: mlp, width: 32}}
  train:  {{batch: 32}}
  sample: {{steps: 6, count: 40}}
  score:  [preference, membership, self_membership, gap, clique]
axes: {{train.steps: [20, 60]}}
"""


def check_old_rows(runs: Path, difgen: DIFGEN) -> None:
    """Results of membership as version 2 wrote them are read, and drawn, beside nothing."""
    store, number = Store(runs), 0
    for folder in store.run_folders():
        for key in folder.results():
            content = json.loads(folder.result(key).read_text(encoding="utf-8"))
            if content["metric"] == "membership":
                number += 1
                for part in ("columns", "values"):
                    old = {
                        n: v for n, v in content[part].items() if n.startswith(("mia_auc_", "mia_tpr_at", "mia_images"))
                    }
                    assert len(old) == 13
                    content[part] = old
                folder.result(key).unlink()
                folder.result(key).write_text(json.dumps(content | {"version": 2}), encoding="utf-8")
    assert number >= 2
    shutil.rmtree(store.tables)
    done = difgen("report", runs.name, "--out", "out-old", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["reports"][0]
    assert "membership" in {Path(figure).stem for figure in answer["figures"]}
    with (runs.parent / "out-old" / "rows.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "model"]
    assert all(float(row["mia_auc_025"]) > 0 and "mia_tail" not in row for row in rows)


def as_files(folder: Path) -> None:
    """Digits in two folders of one pool, and those of the second with one grey level of noise, as PNG."""
    images = load().images[..., 0]
    order, noise = np.random.default_rng(0).permutation(len(images)), np.random.default_rng(1)
    for name, places, size in (("train", order[:200], 0), ("same", order[200:400], 0), ("noisy", order[200:400], 1)):
        (folder / name).mkdir()
        for place in places:
            pixels = images[place].astype(int) + noise.integers(-size, size + 1, images[place].shape)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{place}.png")


def test_held_out_images_of_another_format_are_found_out_from_files_to_the_page(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: DIFGEN
) -> None:
    as_files(tmp_path)
    pages = {}
    for apart in ("same", "noisy"):
        grid = write_grid(GRID.format(apart=apart), f"{apart}.yaml")
        done = difgen("sweep", grid, "--runs", apart, "--cluster", "inline")
        assert done.returncode == 0, done.stderr
        answer = difgen("report", apart, "--out", f"out-{apart}", "--json")
        assert answer.returncode == 0, answer.stderr
        pages[apart] = json.loads(answer.stdout)["reports"][0]
    said = " ".join(pages["noisy"]["findings"])
    assert "Membership, the gap between held-out and training losses and the preference for training images" in said
    assert "cannot be told: training and held-out images differ without the model (AUROC " in said
    assert "the denoising loss" not in said
    assert "cannot be told" not in " ".join(pages["same"]["findings"])
    figures = {apart: {Path(f).stem for f in page["figures"]} for apart, page in pages.items()}
    assert {"membership", "gap-over-noise"} <= figures["same"]
    assert not {"membership", "gap-over-noise"} & figures["noisy"]
    page = (tmp_path / "out-noisy" / "report.html").read_text(encoding="utf-8")
    assert "cannot be told: training and held-out images differ without the model" in page
    with (tmp_path / "out-noisy" / "rows.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "model"]
    for row in rows:
        assert float(row["blind_auc_lo"]) > 0.95
        assert float(row["mia_auc_025"]) > 0  # kept, with the control beside it
        assert row["mia_auc_025"] not in page
    (study,) = loading.gather(Store(tmp_path / "noisy"))
    assert study.tables["noise"][["gap", "gap_lo", "gap_excess"]].isna().all(axis=None)
    assert study.tables["noise"]["loss"].notna().all()
    check_old_rows(tmp_path / "same", difgen)
    shown = difgen("show", "train.steps=60", "--runs", "noisy", "--json")
    cell = json.loads(shown.stdout)
    assert cell["findings"][0].startswith("Membership, the gap")
    assert "mia_auc_025" not in cell["metrics"]["model"]
