"""Grids on files as people have them: what is said when planning, before anything is submitted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difgen_cli.data import HELD_OUT_SEED
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

GRID = """
base:
  data: {{{data}}}
  condition: {{{condition}}}
  model: {{name: mlp, width: 16}}
  train: {{batch: 4}}
  sample: {{steps: 4, count: 8}}
  score: {score}
axes: {{train.steps: [10]}}
"""
PlanOf = Callable[[Path], Plan]
WriteGrid = Callable[..., Path]


def grid(data: str, condition: str = "name: none", score: str = "[memorization]") -> str:
    return GRID.format(data=data, condition=condition, score=score)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("distinct", "score", "words"),
    [
        (2, "[memorization]", "data.held_out: each of the 10 images occurs in the rest too, byte for byte"),
        (2, "[gap]", "data.held_out: each of the 10 images occurs in the rest too, byte for byte"),
    ],
)
def test_held_out_images_that_all_occur_in_the_rest_are_refused_when_planning(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf, distinct: int, score: str, words: str
) -> None:
    np.savez(tmp_path / "few.npz", images=images(distinct)[np.arange(40) % distinct])
    with pytest.raises(GridError, match=words) as error:
        plan_of(write_grid(grid("name: npz, path: few.npz, held_out: 10", score=score)))
    assert error.value.place is not None
    assert error.value.place.line == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": np.zeros((20, 4, 4), np.uint8)}, "all images are of one and the same colour"),
        ({"images": np.full((20, 4, 4, 3), 77, np.uint8)}, "all images are of one and the same colour"),
        ({"points": np.ones((20, 3), np.float32)}, "all points are one value"),
        ({"points": 1e30 * np.eye(20, 3, dtype=np.float32)}, r"a standard deviation of 2.*e\+29, and 1e-12 to"),
        ({"points": 1e-30 * np.eye(20, 3, dtype=np.float32)}, r"a standard deviation of 2.*e-31, and 1e-12 to"),
    ],
)
def test_data_that_float32_cannot_compute_with_are_refused_when_planning(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf, content: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "flat.npz", **content)
    with pytest.raises(GridError, match=words) as error:
        plan_of(write_grid(grid("name: npz, path: flat.npz, held_out: 0, size: 10")))
    assert error.value.place is not None
    assert error.value.place.line == 3


@pytest.mark.parametrize("exponent", [-8, 0, 8])
def test_points_of_any_unit_are_planned(tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf, exponent: int) -> None:
    np.savez(tmp_path / "scaled.npz", points=(10.0**exponent * np.eye(20, 3)).astype(np.float32))
    assert plan_of(write_grid(grid("name: npz, path: scaled.npz, held_out: 0, size: 10"))).cells


def test_what_a_metric_needs_is_held_against_the_images_that_are_left(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf
) -> None:
    drawn = np.random.default_rng(HELD_OUT_SEED).permutation(40)[:3]
    nearly = images(2)[np.zeros(40, int)]
    nearly[drawn[1]] = images(2)[1]  # the only one of three that the rest does not have
    np.savez(tmp_path / "nearly.npz", images=nearly)
    words = r"needs at least 2 held-out images, and data\.held_out is 3, of which 2 occur in the rest too"
    path = write_grid(grid("name: npz, path: nearly.npz, held_out: 3", score="[preference]"))
    with pytest.raises(GridError, match=words):
        plan_of(path)


@pytest.mark.parametrize("said", ["~/few.npz", "$HOME/few.npz", "${HOME}/few.npz", "'~/few.npz'"])
def test_a_path_of_a_grid_is_expanded(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    np.savez(tmp_path / "home" / "few.npz", images=images(20))
    np.savez(tmp_path / "few.npz", images=images(20))
    (tmp_path / "home" / "labels.csv").write_text("index,label\n" + "".join(f"{k},{k % 2}\n" for k in range(20)))
    home, plain = (
        plan_of(write_grid(grid(f'name: npz, path: "{path}", held_out: 4'))) for path in (said.strip("'"), "few.npz")
    )
    assert [c.samples for c in home.cells] == [c.samples for c in plain.cells], "where data lie is no part of a key"
    assert plan_of(write_grid(grid("name: npz, path: few.npz, held_out: 4", "name: file, path: ~/labels.csv"))).cells


def test_labels_that_cannot_be_used_stop_those_grids_alone_that_use_them(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf
) -> None:
    np.savez(tmp_path / "a.npz", images=images(20), labels=np.arange(20) * 10**9)
    data = "name: npz, path: a.npz, held_out: 4"
    plan = plan_of(write_grid(grid(data)))
    ids = f"{tmp_path}/a.npz: 20 images have 20 different labels, such as 0 and 19000000000: these name images"
    assert f"labels are not used: {ids}, not classes" in plan.warnings
    with pytest.raises(GridError, match=r"condition\.name: this data set has no labels that can be used: .*these name"):
        plan_of(write_grid(grid(data, "name: labels")))


def test_labels_by_name_of_file_condition_a_folder(tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf) -> None:
    from PIL import Image

    (tmp_path / "set").mkdir()
    for k, image in enumerate(images(20)):
        Image.fromarray(image).save(tmp_path / "set" / f"{k}.png")
    (tmp_path / "set" / "notes.txt").write_text("words")
    rows = [f"{k}.png,{k % 3}\n" for k in range(20)]
    order = sorted(range(20), key=str)  # as a folder is read: 0, 1, 10, 11, …, 2
    plans = []
    for said in (
        "file,label\n" + "".join(rows),
        "index,label\n" + "".join(f"{i},{k % 3}\n" for i, k in enumerate(order)),
    ):
        (tmp_path / "c.csv").write_text(said)
        for kind in ("folder", "files"):
            data = f"name: {kind}, path: set, held_out: 4"
            plans.append(plan_of(write_grid(grid(data, "name: file, path: c.csv"))))
    assert len({plan.models[0].run_key for plan in plans}) == 1, "the same labels"
    assert f"passed over in {tmp_path}/set: 1 .txt" in plans[0].warnings
    (tmp_path / "c.csv").write_text("file,label\n" + "".join(rows[:-1]) + "x.png,1\n")
    with pytest.raises(GridError, match=r"c\.csv: x\.png is no image of this data set: .* first is, 0\.png"):
        plan_of(write_grid(grid("name: folder, path: set, held_out: 4", "name: file, path: c.csv")))
    with pytest.raises(GridError, match=r"the images of this data set have no files that `file` could name"):
        plan_of(write_grid(grid("name: digits, held_out: 4", "name: file, path: c.csv")))


def test_settings_that_convert_nothing_are_in_no_key(tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf) -> None:
    np.savez(tmp_path / "a.npz", images=images(20))
    homes = [
        plan_of(write_grid(grid(f"name: npz, path: a.npz, held_out: 4{more}"))).models[0].run_key
        for more in ("", ", resize: 4", ", mode: grey", ", mode: rgb", ", resize: 2")
    ]
    assert homes[0] == homes[1] == homes[2], "the content is the same"
    assert len(set(homes)) == 3
