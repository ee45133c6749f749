"""`--retry failed`: what --only names is tried again, and nothing else; a dry run lets nothing be tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from difgen_cli import sweep
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.sweep import Planned


def _failed(grid: Path, runs: Path) -> Planned:
    """The tiny grid, the scoring of every model cell failed."""
    planned = sweep.prepare(grid, runs, {})
    for cell in planned.plan.models:
        folder = planned.store.run_folder(cell.run_key, planned.plan.slug(cell))
        attempt = folder.claim(f"score-{cell.samples}", Claimant())
        assert attempt is not None
        attempt.end("failed", cause="by the test")
    return sweep.prepare(grid, runs, {})


def _states(planned: Planned) -> dict[tuple[int | None, int], str]:
    return {
        (cell.step, cell.settings()["data.size"]): planned.store.run_folder(
            cell.run_key, planned.plan.slug(cell)
        ).history(f"score-{cell.samples}")[-1][1]["state"]
        for cell in planned.plan.models
    }


def test_only_what_is_named_is_tried_again(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    planned = _failed(write_grid(), tmp_path / "runs")
    assert planned.state.counts["failed"] == 4
    assert not [s for s in planned.state.work.scorings if s.kind == "model"]
    again = sweep.retry_failed(planned, ["train.steps=10"], release=True)
    assert [s.step for s in again.state.work.scorings if s.kind == "model"] == [10, 10]
    assert _states(again) == {(10, 8): "released", (10, 16): "released", (20, 8): "failed", (20, 16): "failed"}


def test_a_dry_run_plans_the_same_and_releases_nothing(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    planned = _failed(write_grid(), tmp_path / "runs")
    again = sweep.retry_failed(planned, ["data.size=8"], release=False)
    assert [s.step for s in again.state.work.scorings] == [10, 20]
    assert set(_states(again).values()) == {"failed"}
    assert sweep.prepare(tmp_path / "tiny.yaml", tmp_path / "runs", {}).state.counts["failed"] == 4
