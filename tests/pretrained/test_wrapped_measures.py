"""What metrics say of a snapshot does not depend on how it is read: wrapped as others' networks, it is the same model.

The snapshot is trained here, on 32 digits, so that it has begun to copy and every number is one of a real model.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difgen_cli import data, sampling
from difgen_cli.data import digits
from difgen_cli.diffusion import Denoiser, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.schedules import levels_from
from difgen_cli.diffusion.training import train
from difgen_cli.metrics import Result, gap, membership, path
from difgen_cli.models import denoiser as read_as
from difgen_cli.models import mlp, unet
from difgen_cli.sampling import euler

sys.path.insert(0, str(Path(__file__).parent))
import wrapping
from wrapping import KINDS, WHOLE, Wrapped, of_variance, steps_of

# Levels of the sampler in units of σ_d, inside every schedule of KINDS.
SAMPLING = {"count": 32, "levels": (100.0, 30.0, 10.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.04, 0.0)}
THREE = ("noise of linear", "velocity of cosine", "flow")
SHORT = np.linspace(1e-4, 0.02, 30)  # the betas of a schedule that ends at 0.59


@dataclass(frozen=True)
class Trained:
    """A denoiser of this package with the digits that it was trained on, and others."""

    denoiser: Denoiser
    train: np.ndarray
    held_out: np.ndarray
    train_labels: np.ndarray | None
    held_out_labels: np.ndarray | None

    def gap(self, denoiser: Any) -> Result:
        return gap.measure(denoiser, *self._images, denoiser.sigma_data, pairs=128, resamples=100)

    def membership(self, denoiser: Any) -> dict[str, Any]:
        return membership.measure(denoiser, *self._images, denoiser.sigma_data).values

    def path(self, denoiser: Any) -> dict[str, Any]:
        def states(at: Any, **more: Any) -> Any:
            return sampling.states(denoiser, euler.sample, (1, 8, 8), self._shares, "cpu", at=at, **more, **SAMPLING)

        return path.measure(states, self.train, self.held_out, denoiser.sigma_data, points=128).values

    def samples(self, denoiser: Any) -> np.ndarray:
        return sampling.draw(denoiser, euler.sample, (1, 8, 8), self._shares, **SAMPLING).x

    @property
    def _images(self) -> tuple[Any, ...]:
        return self.train, self.held_out, self.train_labels, self.held_out_labels

    @property
    def _shares(self) -> np.ndarray | None:
        return None if self.train_labels is None else np.bincount(self.train_labels, minlength=10) / len(self.train)

    @cached_property
    def native(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], np.ndarray]:
        """What the snapshot's own run says: gap, membership, path and samples."""
        own = self.denoiser
        return self.gap(own).values, self.membership(own), self.path(own), self.samples(own)


def trained(network: nn.Module, steps: int) -> Trained:
    pool = digits.load()
    split = data.split(pool, size=32, held_out=96)
    images, labels = pool.images[split.train], pool.labels[split.train] if network.classes else None
    for state in train(  # noqa: B007
        network, to_tensor(images), None if labels is None else torch.from_numpy(labels),
        data.sigma_data(pool.images[split.rest]), steps=steps, batch=32, ema=0.95,
    ):  # fmt: skip
        pass
    held_out = None if labels is None else pool.labels[split.held_out]
    parts = data.scaled(images), data.scaled(pool.images[split.held_out])
    return Trained(copy.deepcopy(state.ema).eval(), *parts, labels, held_out)


@pytest.fixture(scope="module")
def unconditional() -> Trained:
    return trained(initialise(lambda: unet.build((1, 8, 8), 0, width=8, multipliers=(1, 2)), 0), 400)


@pytest.fixture(scope="module")
def conditional() -> Trained:
    return trained(initialise(lambda: mlp.build((1, 8, 8), 10, width=192, depth=2), 0), 300)


@pytest.mark.parametrize("kind", THREE)
@pytest.mark.parametrize("model", ["unconditional", "conditional"])
def test_a_wrapped_snapshot_is_measured_as_itself(model: str, kind: str, request: pytest.FixtureRequest) -> None:
    own: Trained = request.getfixturevalue(model)
    other = KINDS[kind].around(own.denoiser)
    of_gap, of_membership, of_path, samples = own.native
    ours = own.gap(other).values
    print(f"{model}, {kind}: gap_max {of_gap['gap_max']:.4f}, differs by {ours['gap_max'] - of_gap['gap_max']:.1e}")
    assert of_gap["gap_max"] > 0.5
    assert ours["gap_max"] == pytest.approx(of_gap["gap_max"], rel=1e-6)
    assert ours["gap_sigma"] == pytest.approx(of_gap["gap_sigma"], rel=1e-5)
    assert of_membership["mia_auc_050"] > 0.9
    assert own.membership(other) == of_membership
    assert of_path["path_overlap_100"] is not None
    wrapped = own.path(other)
    ranks = {name for name in of_path if name.startswith("path_")}
    assert {name: wrapped[name] for name in ranks} == {name: of_path[name] for name in ranks}
    others = {name: value for name, value in of_path.items() if value is not None}
    assert [name for name, value in wrapped.items() if value is not None] == list(others)
    assert {name: wrapped[name] for name in others} == pytest.approx(others, rel=1e-5)  # cosines are no ranks
    np.testing.assert_allclose(own.samples(other), samples, rtol=0, atol=2e-5)


@pytest.mark.parametrize("model", ["unconditional", "conditional"])
def test_a_network_of_whole_timesteps_differs_between_them_alone(model: str, request: pytest.FixtureRequest) -> None:
    """At the schedule's own levels it is the same denoiser; gap_max, whose levels lie between, moves a little."""
    own: Trained = request.getfixturevalue(model)
    other = WHOLE.around(own.denoiser)
    levels = torch.from_numpy(np.sqrt(1 / wrapping.LINEAR - 1)).float()[::32]
    x = to_tensor(own.train)[: len(levels)] + levels.view(-1, 1, 1, 1) * torch.randn(len(levels), 1, 8, 8)
    labels = None if own.train_labels is None else torch.from_numpy(own.train_labels[: len(levels)])
    with torch.no_grad():
        theirs, ours = other(x, levels, labels), own.denoiser(x, levels, labels)
    assert (theirs - ours).abs().max() < 1e-6 * x.abs().max()
    difference = own.gap(other).values["gap_max"] / own.native[0]["gap_max"] - 1
    print(f"{model}, whole timesteps: gap_max differs by {difference:+.3%}")
    assert 1e-5 < abs(difference) < 2e-3


class Within(nn.Module):
    """A network that is asked within its schedule alone; `asked` counts how often."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.asked = network, 0

    def forward(self, x: Tensor, told: Tensor, labels: Tensor | None) -> Tensor:
        assert told.min() > 0  # the ends themselves are no level of what is measured here
        assert told.max() < len(SHORT) - 1
        self.asked += 1
        return self.network(x, told, labels)


def test_levels_outside_of_the_schedule_are_missing_and_never_asked_for(unconditional: Trained) -> None:
    own, kept = unconditional, np.cumprod(1 - SHORT)
    network = Within(Wrapped(own.denoiser, steps_of(kept), of_variance, wrapping.noise))
    reading = {"prediction": "noise", "unit": 1.0, "noise_input": "timestep", "betas": tuple(SHORT.tolist())}
    other = read_as(network, own.denoiser.sigma_data, **reading).eval()
    lowest, highest = other.sigma_range
    assert highest == pytest.approx(float(levels_from(torch.from_numpy(SHORT))[-1]), rel=1e-6)
    sigma_data, edge = own.denoiser.sigma_data, highest / own.denoiser.sigma_data
    assert 0.5 < edge < 1

    of_membership = own.membership(other)
    ends = ("", "_lo", "_hi")
    assert [of_membership[f"mia_auc_100{end}"] for end in ends] == [None] * 3
    for name in ("mia_auc_025", "mia_auc_050"):
        assert [of_membership[name + end] for end in ends] == [own.native[1][name + end] for end in ends]
        assert of_membership[name] is not None

    result = own.gap(other)
    table, whole = result.tables["noise"], own.gap(own.denoiser).tables["noise"]
    inside = (lowest <= table["sigma"]) & (table["sigma"] <= highest)
    assert 6 < inside.sum() < len(inside) - 6
    for name in ("loss", "gap"):
        assert np.isnan(table[name][~inside]).all()
        np.testing.assert_allclose(table[name][inside], whole[name][inside], rtol=0, atol=1e-5)
    limited = copy.copy(own.denoiser)
    limited.sigma_range = other.sigma_range
    assert result.values["gap_max"] == pytest.approx(own.gap(limited).values["gap_max"], rel=1e-5)
    assert result.values["gap_sigma_highest"] == pytest.approx(table["sigma"][inside].max() / sigma_data)

    before = network.asked  # sampling begins at the first level that the schedule has
    of_path = own.path(other)
    assert network.asked > before
    assert all(of_path[name] is None for name in of_path if "_100" in name or "_200" in name)
    assert of_path["path_pref_050"] is not None
