"""A model that diffusers' own classes train and save: the images of diffusers' samplers, and its losses, from ours."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from difgen_cli import data
from difgen_cli.data import digits
from difgen_cli.diffusion import to_tensor
from difgen_cli.pretrained import PretrainedError, PretrainedModel, read

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what diffusers imports
    pytest.importorskip("diffusers", reason="diffusers is not installed: the extra bench has it")
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import parity

CASES = [
    ("epsilon", "linear"), ("epsilon", "trained_betas"), ("v_prediction", "squaredcos_cap_v2"),
    ("sample", "scaled_linear"), ("flow", ""),
]  # fmt: skip


@dataclass(frozen=True)
class Saved:
    folder: Path
    steps: int
    prediction: str
    model: PretrainedModel


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return data.scaled(digits.load().images)


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Saved:
    prediction, schedule = request.param
    folder, scheduler = tmp_path_factory.mktemp("model"), parity.scheduler_of(prediction, schedule)
    steps = parity.train(folder, to_tensor(images), prediction, scheduler, steps=60, batch=64)
    return Saved(folder, steps, prediction, read(folder))


@pytest.mark.filterwarnings("ignore")  # of diffusers
def test_the_same_noise_gives_the_images_of_diffusers(saved: Saved) -> None:
    denoiser = saved.model.denoiser(0.75)
    differences = parity.sampled_differences(saved.folder, denoiser, steps=25, count=8)
    assert set(differences) == (
        {"euler of a flow"} if saved.prediction == "flow" else {"euler", "ddpm, eta 0", "ddpm, eta 1"}
    )
    assert max(differences.values()) < 1e-4, differences


@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_diffusers_is_that_of_the_denoiser(saved: Saved, images: np.ndarray) -> None:
    rows = parity.loss_differences(
        saved.folder, saved.model.denoiser(0.75), saved.prediction, images[:32], parity.TIMES
    )
    losses = np.array([(theirs, ours) for _, theirs, ours in rows])
    assert losses.shape == (10, 2)
    assert np.ptp(losses[:, 0]) > 0.05  # so that a wrong level would be seen
    # At a few timesteps the products of diffusers, in float32, leave 1e-5 of the least noise levels uncertain.
    np.testing.assert_allclose(losses[:, 1], losses[:, 0], rtol=1e-6 if saved.prediction == "epsilon" else 1e-5)


@pytest.mark.filterwarnings("ignore")
def test_checkpoints_hold_the_raw_weights_and_their_average(saved: Saved) -> None:
    """The folder of the pipeline holds the average, as the example of diffusers saves it."""
    checkpoint = saved.folder / f"checkpoint-{saved.steps}"
    with pytest.raises(PretrainedError, match="unet_ema lies beside it: choose"):
        read(checkpoint / "unet")
    raw, average = (read(checkpoint / "unet", choice) for choice in ("raw", "ema"))
    assert raw.described == average.described == saved.model.described
    whole = parity.diffusers.UNet2DModel.from_pretrained(checkpoint / "unet").state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in raw.weights.items())
    assert all(torch.equal(saved.model.weights[name], tensor) for name, tensor in average.weights.items())
    assert not torch.equal(raw.weights["conv_in.weight"], average.weights["conv_in.weight"])
