"""What spaces and rules see of planted samples: the short form of `benchmarks/spaces.py`, and `score` with a space."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from difgen_cli.cli import app
from planted.data import Data, load

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SAMPLES = 80


@pytest.fixture(scope="module")
def spaces() -> ModuleType:
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("planted_spaces", BENCHMARKS / "spaces.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setitem(sys.modules, "planted_spaces", module)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data() -> Data:
    return load("synthetic", 200, 150, SAMPLES)


@pytest.fixture(scope="module")
def seen(spaces: ModuleType, data: Data) -> dict[str, dict[str, dict[str, Any]]]:
    """Space -> world -> shares."""
    return {
        name: {line["world"]: line for line in spaces.lines(data, name, embed, SAMPLES)}
        for name, embed in spaces.spaces(["pixels", "pca", "random_conv"], data)
    }


@pytest.mark.parametrize("space", ["pixels", "pca", "random_conv"])
def test_every_space_and_rule_sees_exact_copies_and_none_among_held_out_images(seen: Any, space: str) -> None:
    copies, new = seen[space]["exact copies"], seen[space]["held-out"]
    assert (copies["ratio"], copies["near"], copies["above_06"], copies["tail"]) == (1, 1, 1, 1)
    assert new["ratio"] == seen[space]["the control: held-out"]["ratio"] == 0
    assert new["tail"] < 0.06  # 1 % of them on average, by chance up to so many of 80
    assert seen[space]["noise alone"]["tail"] == seen[space]["noise alone"]["ratio"] == 0


def test_the_ratio_rule_misses_a_shift_in_pixels_that_the_tail_sees(seen: Any) -> None:
    for space in ("pixels", "pca", "random_conv"):
        shifted = seen[space]["shifted by 1 pixel"]
        assert shifted["ratio"] < 0.05
        assert shifted["tail"] > 0.3
        assert shifted["tail"] > 3 * seen[space]["shifted by 2 pixels"]["tail"]


def test_no_space_that_is_fitted_here_sees_mirror_images_or_collages(seen: Any) -> None:
    for space in ("pixels", "pca", "random_conv"):
        for world in ("mirrored", "collages of four"):
            assert max(seen[space][world]["ratio"], seen[space][world]["tail"]) < 0.06


def test_a_threshold_is_for_one_space(seen: Any) -> None:
    """The 0.5 of SSCD calls nearly all held-out images copies in spaces without a centre."""
    for space in ("pixels", "pca", "random_conv"):
        assert seen[space]["the control: held-out"]["near"] > 0.9
        assert seen[space]["the control: T among itself"]["near"] > 0.9


def test_a_space_without_its_weights_is_named_and_not_run(
    spaces: ModuleType, data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFGEN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dict(spaces.spaces(["sscd", "classifier", "resnet56"], data)) == dict.fromkeys(
        ("sscd", "classifier", "resnet56")
    )


def test_score_reads_the_same_and_claims_what_the_controls_carry(
    spaces: ModuleType, data: Data, seen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds = spaces.worlds(data, SAMPLES)
    np.savez("train.npz", images=data.train)
    np.savez("test.npz", images=data.held_out)
    said = {}
    for world in ("copies + noise 0.1", "shifted by 1 pixel"):
        np.savez("made.npz", images=worlds[world])
        words = ["score", "made.npz", "--against", "train.npz", "--held-out", "test.npz", "--json",
                 "--metrics", "memorization", "--copy-features", "pca"]  # fmt: skip
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        content = json.loads(done.stdout)
        row, line = content["rows"]["model"], seen["pca"][world]
        assert (row["space_ratio"], row["space_near"], row["space_tail"]) == (line["ratio"], line["near"], line["tail"])
        said[world] = " ".join(content["findings"])
    assert (
        "In the feature space pca, 100 % [95.4 %, 100 %] of the samples are copies by the ratio rule"
        in (said["copies + noise 0.1"])
    )
    shifted = said["shifted by 1 pixel"]
    assert "copies by the ratio rule (" not in shifted
    assert "more similar to a training image" not in shifted  # of 150 held-out images the 99 % quantile is not known
    for sentences in said.values():
        assert "100 % [97.5 %, 100 %] of the held-out images have a cosine with a training image above" in sentences
