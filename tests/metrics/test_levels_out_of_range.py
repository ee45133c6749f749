"""A model that is for some noise levels alone has no numbers at others, in whatever metric asks for it."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from denoisers import shared
from torch import Tensor, nn

from difgen_cli import models
from difgen_cli.data import Canaries
from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker.claims import ClaimImages
from difgen_cli.metrics import Result
from difgen_cli.models import mlp
from difgen_cli.sampling import heun, states, walks_from

OF_A_MODEL = {"denoiser", "states", "walks", "twin", "sibling"}
BANDS = ("gap_lo", "gap_hi", "feat_gap_lo", "feat_gap_hi")  # over all noise levels together
SIGMA_DATA, IMAGES = 0.7, 60
ALL, NONE = (0.0, math.inf), (1e6, 2e6)
METRICS = [name for name in Library().names("score") if OF_A_MODEL & set(Library().signature("score", name).inputs)]


def narrow() -> tuple[float, float]:
    """Absolute levels of the linear schedule, at a unit such that they begin at 0.3 σ_d."""
    return models.denoiser(nn.Identity(), SIGMA_DATA, schedule="linear", unit=30 * SIGMA_DATA).sigma_range


def network(seed: int, sigma_range: tuple[float, float]) -> Denoiser:
    """A small network of points in the plane with three conditions; refuses to be asked outside of its range."""
    built = initialise(lambda: mlp.build((2,), 3, width=16), seed)
    for parameter in built.parameters():  # the last layer begins at zero: all networks would be the same
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(seed + parameter.numel()))
    denoiser = Denoiser(built, SIGMA_DATA, "flow", sigma_range=sigma_range).eval()

    def inside(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert sigma_range[0] <= given[1].min()
        assert given[1].max() <= sigma_range[1]

    denoiser.register_forward_pre_hook(inside)
    return denoiser


def measured(metric: str, sigma_range: tuple[float, float], seed: int = 0) -> Result:
    rng = np.random.default_rng(3)
    parts = {name: rng.normal(0, SIGMA_DATA, (IMAGES, 2)).astype(np.float32) for name in ("train", "held_out", "rest")}
    labels = np.arange(IMAGES) % 3
    denoiser = network(seed, sigma_range)
    other = SimpleNamespace(
        denoiser=network(seed + 10, sigma_range), samples=parts["rest"], train=parts["rest"], train_labels=labels
    )
    shares = np.full(3, 1 / 3)

    def passed(levels: Any, **more: Any) -> tuple[np.ndarray, ...]:
        return states(denoiser, heun.sample, (2,), shares, "cpu", at=levels, count=IMAGES, steps=30, **more)

    def walked(x: np.ndarray, sigma: float, of: np.ndarray | None) -> np.ndarray:
        return walks_from(denoiser, heun.sample, (2,), shares, "cpu", begun=(x, of), sigma=sigma, steps=30)

    inputs: dict[str, Any] = parts | {
        "denoiser": denoiser, "twin": other, "sibling": other, "states": passed, "walks": walked, "shared": shared,
        "mirrored": False,
        "samples": parts["rest"][::-1], "sigma_data": SIGMA_DATA, "train_labels": labels, "held_out_labels": labels,
        "train_classes": labels, "held_out_classes": labels, "unlearn": labels == 0, "rest_labels": labels,
        "sample_labels": labels, "reference": other, "coins": labels == 0,
        "canaries": Canaries(parts["rest"], labels, np.repeat([1, 2], IMAGES // 2), labels == 0),
        "embed": lambda images: images,
        "claims": ClaimImages([parts["train"]], [None], parts["held_out"]), "references": [],
    }  # fmt: skip
    signature = Library().signature("score", metric)
    small = {"pairs": 120, "resamples": 100, "points": 60}
    settings: dict[str, Any] = {name: value for name, value in small.items() if name in signature.settings}
    settings |= {"sigmas": (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)} if metric == "paths" else {}  # each near one of the sampler
    settings |= {"asked": "0" * 64} if "asked" in signature.settings else {}
    settings |= {"base": Path("base")} if "base" in signature.settings else {}
    result: Result = (
        Library().module("score", metric).measure(**{name: inputs[name] for name in signature.inputs}, **settings)
    )
    return result


def cells(result: Result) -> dict[Any, Any]:
    """Every number of a result: of a column, or of a column, line and table; None for one that is missing."""
    numbers: dict[Any, Any] = dict(result.values)
    for name, table in result.tables.items():
        for column, values in table.items():
            column_values = [None if v != v else v for v in values.tolist()]
            numbers |= {(name, column, line): value for line, value in enumerate(column_values)}
    return numbers


@pytest.mark.parametrize("metric", METRICS)
def test_no_metric_has_a_number_of_a_model_at_a_level_that_it_is_not_for(metric: str) -> None:
    """All that differs between models is missing where the model is for no level that is asked for."""
    one, *others = (cells(measured(metric, ALL, seed)) for seed in range(4))
    of_model = [name for name, value in one.items() if any(value != other[name] for other in others)]
    outside = cells(measured(metric, NONE))
    assert of_model or metric in ("twins", "reproducibility")  # whose samples are given here
    assert {name: outside.get(name) for name in of_model} == dict.fromkeys(of_model)


@pytest.mark.parametrize("metric", METRICS)
def test_the_levels_inside_have_the_numbers_of_a_model_without_limits(metric: str) -> None:
    lowest, highest = (end / SIGMA_DATA for end in narrow())
    assert 0.25 < lowest < 0.5
    assert highest > 20
    everywhere, limited = measured(metric, ALL), measured(metric, narrow())
    for level, word in {0.25: "025", 0.5: "050", 1.0: "100", 2.0: "200"}.items():
        named = {name for name in everywhere.values if f"_{word}" in name}
        expected = {name: everywhere.values[name] if level > lowest else None for name in named}
        assert {name: limited.values[name] for name in named} == expected
    for name, table in limited.tables.items():
        if "sigma_rel" not in table:  # of one level alone, which the first test asks for
            continue
        level = everywhere.tables[name]["sigma_rel"]
        inside = (lowest <= level) & (level <= highest)
        assert 0 < inside.sum() < len(inside)
        for column in set(table) - {*BANDS, "sigma", "sigma_rel", "x", "y", "n_pairs", "kind_of_point", "split"}:
            if name in ("path", "condition_pull_levels", "paths"):  # a line for each state
                states_alone = table["kind_of_point"] == "path" if name == "paths" else slice(None)
                np.testing.assert_array_equal(table[column][states_alone], everywhere.tables[name][column][inside])
                continue
            np.testing.assert_array_equal(table[column][inside], everywhere.tables[name][column][inside])
            assert np.isnan(table[column][~inside]).all()


def test_the_largest_gap_says_over_which_levels_it_is_taken() -> None:
    everywhere, limited = measured("gap", ALL), measured("gap", narrow())
    level = everywhere.tables["noise"]["sigma_rel"]
    lowest = narrow()[0] / SIGMA_DATA
    assert everywhere.values["gap_sigma_lowest"] == pytest.approx(0.02)
    assert limited.values["gap_sigma_lowest"] == level[level >= lowest].min()
    assert limited.values["gap_sigma_highest"] == everywhere.values["gap_sigma_highest"] == pytest.approx(20)
    gaps = limited.tables["noise"]["gap"]
    assert limited.values["gap_max"] >= np.nanmax(gaps)  # type: ignore[operator]
    assert limited.values["gap_sigma"] >= lowest  # type: ignore[operator]


def test_of_two_levels_there_is_no_peak() -> None:
    level = measured("gap", ALL).tables["noise"]["sigma"][:16]
    assert set(measured("gap", (level[3], level[4])).values.values()) == {None}
    assert measured("gap", (level[3], level[5])).values["gap_max"] is not None


def test_a_class_is_told_from_all_levels_or_not_at_all() -> None:
    assert measured("diffcls", (0.6 * SIGMA_DATA, 9.0)).values["diffcls_acc"] is None
    assert measured("diffcls", (0.5 * SIGMA_DATA, 9.0)).values == measured("diffcls", ALL).values
