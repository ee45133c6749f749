"""The blind baseline is planned where data bring held-out images of their own, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plan.controls import CLAIMS
from difgen_cli.engine.plugins import Library

GRID = """
base:
  data: {{{data}}}
  model: {{name: mlp, width: 16}}
  train: {{batch: 4}}
  sample: {{steps: 4, count: 8}}
  {score}
axes: {{train.steps: [10]}}
"""
OWN = "name: files, path: train.npz, held_out_path: other.npz, held_out: 12"
PLUGIN = '''
"""Images that say which of them are held out."""
import numpy as np
from difgen_cli.data import Pool

SOURCES = ()


def load() -> Pool:
    """(40, 4, 4, 1)."""
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    return Pool(images, held_out=np.arange(12))
'''
PlanOf = Callable[[Path], Plan]
WriteGrid = Callable[..., Path]


@pytest.fixture
def metrics(tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf) -> Callable[[str, str], tuple[set[str], list[str]]]:
    """What the cells of a model are scored with, and the notes that name the control."""
    chance = np.random.default_rng(0)
    for name, count in (("train", 30), ("other", 12)):
        np.savez(tmp_path / f"{name}.npz", images=chance.integers(0, 256, (count, 4, 4), np.uint8))
    (tmp_path / "plugins" / "data").mkdir(parents=True)
    (tmp_path / "plugins" / "data" / "declared.py").write_text(PLUGIN, encoding="utf-8")

    def planned(data: str, score: str) -> tuple[set[str], list[str]]:
        plan = plan_of(write_grid(GRID.format(data=data, score=score)))
        return set(plan.models[0].metrics), [note for note in plan.warnings if "the metric blind is added" in note]

    return planned


@pytest.mark.parametrize("data", [OWN, "name: declared, held_out: 12"])
@pytest.mark.parametrize("metric", ["membership", "self_membership", "gap", "preference"])
def test_it_is_added_where_held_out_images_come_from_elsewhere(metrics, data: str, metric: str) -> None:
    assert metrics(data, f"score: [{metric}]")[0] == {metric, "blind"}
    (note,) = metrics(data, f"score: [{metric}, clique]")[1]
    assert note.endswith(f"would look like a trace of training ({metric})")


def test_the_default_measures_stay_when_it_is_added(metrics) -> None:
    assert metrics(OWN, "")[0] == {"memorization", "preference", "frechet", "gap", "blind"}


def test_it_is_not_added_where_difgen_draws_them_or_nothing_rests_on_them(metrics) -> None:
    assert metrics("name: files, path: train.npz, held_out: 12", "score: [membership]") == ({"membership"}, [])
    assert metrics(OWN, "score: [memorization, clique]") == ({"memorization", "clique"}, [])


def test_it_is_added_once_and_with_the_settings_that_the_grid_has(
    tmp_path: Path, write_grid: WriteGrid, plan_of: PlanOf, metrics
) -> None:
    assert metrics(OWN, "score: {membership: {}, blind: {images: 64}}") == ({"membership", "blind"}, [])
    plan = plan_of(tmp_path / "tiny.yaml")
    assert plan.models[0].settings()["score.blind.images"] == 64
    assert metrics("name: files, path: train.npz, held_out: 12", "score: [blind]") == ({"blind"}, [])


def test_metrics_of_the_same_images_share_one_key_whatever_the_sampler(
    write_grid: WriteGrid, plan_of: PlanOf, metrics
) -> None:
    """Membership is shared among samplers, and so is the baseline; the control by samples is not."""
    metrics(OWN, "score: [membership]")
    text = GRID.format(data=OWN, score="score: [membership, self_membership]").replace(
        "[10]}", "[10], sample.steps: [4, 5]}"
    )
    keys = [cell.metrics for cell in plan_of(write_grid(text)).models]
    for metric, distinct in (("membership", 1), ("blind", 1), ("self_membership", 2)):
        assert len({one[metric] for one in keys}) == distinct


def test_every_column_that_a_metric_claims_is_one_of_its_own() -> None:
    library = Library()
    claiming = 0
    for metric in library.names("score"):
        constants = library.signature("score", metric).constants
        columns = [*constants["COLUMNS"], *(c for table in constants.get("TABLES", {}).values() for c in table)]
        for name in constants.get(CLAIMS, ()):
            claiming += 1
            assert any(c.startswith(name) if name.endswith("_") else c == name for c in columns), (metric, name)
    assert claiming > 10


def test_data_that_hold_out_their_like_by_construction_need_no_baseline(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = "base:\n  data: {name: circle, held_out: 10}\n  model: {name: analytic, delta: 0.5}\n  score: [gap]\n"
    plan = plan_of(write_grid(text))
    assert {metric for cell in plan.cells for metric in cell.metrics} == {"gap"}


def test_the_baseline_stands_beside_denoisers_and_in_no_row_of_real_images(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = "base:\n  data: {name: digits, held_out: 300, size: 64}\n  model: {name: mlp}\n  score: [gap, blind]\n"
    plan = plan_of(write_grid(text))
    assert {cell.kind for cell in plan.cells if "blind" in cell.metrics} == {"model", "ideal"}


def test_a_setting_of_a_plugin_takes_the_place_of_a_shared_one_of_another_type(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    """`draw` of gaussians is a number, and that of all data a word."""
    text = "base:\n  data: {name: gaussians, held_out: 50, draw: 3}\n  model: {name: mlp}\n  score: [gap]\n"
    (cell,) = plan_of(write_grid(text)).models
    assert cell.settings()["data.draw"] == 3
