"""One lab and one undisturbed run for all tests on SLURM; skipped with the reason where there can be none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comparing import Content, content

from slurm.cluster import Lab, LabError
from slurm.study import Study

ASKED = os.environ.get("DIFGEN_SLURM_TESTS", "short")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: minutes on the SLURM lab; run with DIFGEN_SLURM_TESTS=all")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what DIFGEN_SLURM_TESTS does not ask for, and say how to ask."""
    if ASKED not in ("short", "all", "none"):
        raise pytest.UsageError(f"DIFGEN_SLURM_TESTS={ASKED}: short, all or none")
    how = "run with `make slurm-test` or DIFGEN_SLURM_TESTS=all"
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        if ASKED == "none":
            item.add_marker(pytest.mark.skip(reason=f"DIFGEN_SLURM_TESTS=none; {how}"))
        elif ASKED == "short" and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=f"minutes on the SLURM lab; {how}"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two nodes of three CPUs with accounting; preemption and requeueing are quick."""
    try:
        cluster = Lab.start(2, LAB_CPUS="3", LAB_GRACE="10")
    except LabError as why:
        pytest.skip(str(why))
    try:
        yield cluster
    finally:
        cluster.wipe()


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """What an undisturbed run of the small grid on this machine holds."""
    study = Study.at(tmp_path_factory.mktemp("calm"), None)
    done = study.difgen("-q", "sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return content(study.runs)


@pytest.fixture
def new_study(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Makes studies on the lab; afterwards they are ended, and the lab is whole and empty again."""
    made: list[Study] = []

    def new(name: str = "study", **more: object) -> Study:
        study = Study.at(tmp_path / name, lab, **more)  # type: ignore[arg-type]
        made.append(study)
        return study

    yield new
    for study in made:
        study.close()
    lab.calm_down()
