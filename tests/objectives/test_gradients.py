"""Whatever a network predicts and however it is weighted, the loss is least at the posterior mean: its gradient is zero
there, and is not where an error is planted."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian import DIMENSIONS, Answer, Exact, data, denoiser, z_of_gradient
from torch import Tensor

from difgen_cli import objectives
from difgen_cli.diffusion import COEFFICIENTS, Denoiser
from difgen_cli.diffusion.objective import Batch, Draws, edm_levels
from difgen_cli.objectives import distill, edm, repa, unlearn

COUNT = 2048
LAWS = [
    {"law": "edm"}, {"law": "vp"}, {"law": "vp", "timesteps": 1000}, {"law": "cosine"}, {"law": "uniform_t"},
    {"law": "logit_normal"},
]  # fmt: skip


def batch(seed: int, sigma_data: float, count: int = COUNT, **levels: object) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = data(count, sigma_data, generator)
    sigma, weight = objectives.levels(torch.randn(count, generator=generator), sigma_data, **levels)
    noise = torch.randn(images.shape, generator=generator)
    return Batch(images, None, torch.arange(count), None, sigma, weight, noise)


@pytest.mark.parametrize("prediction", COEFFICIENTS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: "-".join(map(str, law.values())))
def test_at_the_posterior_mean_the_gradient_is_zero_and_an_error_is_seen(prediction: str, law: dict) -> None:
    sigma_data = 0.4
    weight = prediction

    def mean_square(error: float) -> float:
        d, network = denoiser(prediction, sigma_data, error)
        z = z_of_gradient(lambda seed: edm.loss(d, batch(seed, sigma_data, weight=weight, **law)), network.theta)
        return float(z.square().mean())

    assert 0.7 < mean_square(0.0) < 1.5
    assert mean_square(0.05) > 2.5


@pytest.mark.parametrize("prediction", COEFFICIENTS)
def test_an_image_and_the_posterior_mean_have_the_same_gradient_on_average(prediction: str) -> None:
    """With the target in closed form it is zero in every batch, not on average alone."""
    exact = Exact(0.4)
    d, network = denoiser(prediction, 0.4)
    b = batch(0, 0.4)
    target = exact(b.noised, b.sigma)
    with_target = Batch(b.images, None, b.places, None, b.sigma, b.weight, b.noise, {"target": target})
    edm.loss(d, with_target).backward()
    assert network.theta.grad is not None
    closed = network.theta.grad.clone()
    network.theta.grad = None
    edm.loss(d, b).backward()
    assert float(closed.abs().max()) < 1e-3 * float(network.theta.grad.abs().max())


def test_velocity_in_units_of_the_data_is_edm_up_to_the_sign() -> None:
    """Of what a network predicts. It is told ln s / 4 in the place of ln σ / 4."""
    sigma, x = torch.logspace(-2, 2, 9), torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    s = sigma / 0.4
    skip, out, scale = COEFFICIENTS["edm"](s)
    assert all(torch.equal(a, b) for a, b in zip(COEFFICIENTS["velocity"](s), (skip, -out, scale), strict=True))

    class Network(torch.nn.Module):
        def __init__(self, sign: int, told: float) -> None:
            super().__init__()
            self.sign, self.told = sign, told

        def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
            return self.sign * torch.sin(3 * x + 5 * (noise - self.told)[:, None])

    velocity, edm_ = Denoiser(Network(-1, 0.0), 0.4, "velocity"), Denoiser(Network(1, math.log(0.4) / 4), 0.4)
    torch.testing.assert_close(velocity(x, sigma), edm_(x, sigma), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(Denoiser(Network(1, 0.0), 0.4, "velocity")(x, sigma), edm_(x, sigma), atol=1e-2)


class Linear(torch.nn.Module):
    """D = θ x, labels ignored."""

    sigma_data = 0.4

    def __init__(self) -> None:
        super().__init__()
        self.theta = torch.nn.Parameter(torch.full((), 0.5))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.theta * x


def gradient(loss: Tensor, d: Linear) -> float:
    d.theta.grad = None
    loss.backward()
    assert d.theta.grad is not None
    return float(d.theta.grad)


@pytest.mark.parametrize("prediction", COEFFICIENTS)
def test_a_student_that_takes_its_teachers_two_steps_at_once_has_no_loss_and_no_gradient(prediction: str) -> None:
    """In every batch, not on average alone: the target of a student is where its teacher goes, and has no noise."""
    settings = {"steps": 8, "every": 2, "rho": 7.0, "sigma_min": 0.02, "sigma_max": 40.0}
    exact, b = Exact(0.4), batch(0, 0.4, 256)
    drawn = distill.draw(b, Draws(0, torch.device("cpu")), 0.4, **settings)
    b = Batch(b.images, None, b.places, None, b.sigma, b.weight, b.noise, drawn)
    assert set(drawn["sigma"].tolist()) >= set(drawn["after"].tolist()) - {0.0}

    class Student(Exact):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            y, level, ends = x.double(), sigma.double()[:, None], (drawn["between"], drawn["after"])
            for end in ends:
                y = y + (end[:, None] - level) * (y - exact(y, level[:, 0])) / level
                level = end.double()[:, None]
            # Euler from x over the whole step leads to y.
            first = sigma.double()[:, None]
            return x - first * (y - x) / (level - first)

    def found(error: float) -> tuple[float, float]:
        network = Answer(Student(0.4), prediction, error)
        value = distill.loss(Denoiser(network, 0.4, prediction), b, exact, **settings)
        value.backward()
        assert network.theta.grad is not None
        return value.item(), float(network.theta.grad.norm())

    (loss, slope), (wrong_loss, wrong_slope) = found(0.0), found(0.05)
    assert loss < 1e-3 * wrong_loss
    assert slope < 1e-2 * wrong_slope


def test_alignment_adds_its_own_gradient_to_that_of_edm() -> None:
    d, b = Linear(), batch(0, 0.4, 64)
    targets = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    head = repa.heads(DIMENSIONS, 3, head_width=8)

    class Seen:
        value = torch.empty(0)

    class Watched(Linear):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            Seen.value = self.theta * x
            return self.theta * x

    d = Watched()
    plain = gradient(edm.loss(d, b), d)
    values = [gradient(repa.loss(d, b, head, Seen, targets, alignment=w), d) - plain for w in (0.0, 1.0, 2.0)]
    assert values[0] == 0
    assert values[2] == pytest.approx(2 * values[1], rel=1e-3)
    assert values[1] != 0
    assert repa.canonical({"alignment": 0.0, "features": "auto"}) == ("edm", {})


SPREAD, SHIFT, SHARE = 0.3, 0.2, 0.25  # of two Gaussians: those to be unlearnt lie SHIFT from the kept, SHARE of all


class Mixed(torch.nn.Module):
    """θ (affine in x) beside the answer to unlearning of one of two Gaussians, in closed form."""

    sigma_data = 0.4

    def __init__(self, method: str, strength: float, share: float = SHARE, error: float = 0.0) -> None:
        super().__init__()
        self.method, self.strength, self.share, self.error = method, strength, share, error
        self.theta = torch.nn.Parameter(torch.zeros(DIMENSIONS + 1, DIMENSIONS))

    def means(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior means of a kept image and of one to be unlearnt, and the probability of the second."""
        total = SPREAD**2 + sigma.double().square()[:, None]
        kept, marked = ((m * (total - SPREAD**2) + SPREAD**2 * x.double()) / total for m in (0.0, SHIFT))
        densities = [torch.exp(-(x.double() - m).square().sum(1, keepdim=True) / (2 * total)) for m in (0.0, SHIFT)]
        odds = self.share * densities[1] / ((1 - self.share) * densities[0])
        return kept, marked, odds / (1 + odds)

    def teacher(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean over all images."""
        kept, marked, p = self.means(x, sigma)
        return ((1 - p) * kept + p * marked).to(x.dtype)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        kept, marked, p = self.means(x, sigma)
        if self.method == "neggrad":
            answer = ((1 - p) * kept - self.strength * p * marked) / (1 - p - self.strength * p)
        else:
            taught = (1 - p) * kept + p * marked
            answer = (1 - p) * kept + p * ((1 + self.strength) * taught - self.strength * marked)
        affine = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        return answer.to(x.dtype) + self.error + affine @ self.theta


def mixed_batch(seed: int, share: float) -> tuple[Batch, Tensor]:
    """A batch of both, and which images are to be unlearnt."""
    generator = torch.Generator().manual_seed(seed)
    marked = torch.rand(COUNT, generator=generator) < share
    images = SPREAD * torch.randn(COUNT, DIMENSIONS, generator=generator) + SHIFT * marked[:, None]
    sigma, weight = objectives.levels(0.5 * torch.randn(COUNT, generator=generator) + 1.5, 0.4)
    noise = torch.randn(images.shape, generator=generator)
    return Batch(images, None, torch.arange(COUNT), None, sigma, weight, noise), marked


@pytest.mark.parametrize(
    ("method", "strength", "share"),
    [
        ("neggrad", 0.0, SHARE), ("neggrad", 0.2, SHARE), ("neggrad", 1.0, 0.0), ("erase", 0.0, SHARE),
        ("erase", 0.7, SHARE), ("erase", 1.0, 0.0),
    ],
)  # fmt: skip
def test_the_gradient_of_unlearning_is_zero_at_its_answer_in_closed_form(
    method: str, strength: float, share: float
) -> None:
    """Without images to be unlearnt, and with strength 0 of neggrad, that is the posterior mean of the kept images."""

    def mean_square(error: float) -> float:
        d = Mixed(method, strength, share, error)

        def loss(seed: int) -> Tensor:
            b, marked = mixed_batch(seed, share)
            return unlearn.loss(
                d, b, None if method == "neggrad" else d.teacher, marked, method=method, strength=strength
            )

        return float(z_of_gradient(loss, d.theta).square().mean())

    assert 0.5 < mean_square(0.0) < 1.6
    assert mean_square(0.05) > 25


def test_a_batch_without_images_to_be_unlearnt_has_the_loss_of_edm_to_the_bit() -> None:
    d, b = Linear(), batch(0, 0.4, 64)
    none = torch.zeros(64, dtype=torch.bool)
    for taught in (None, Exact(0.4)):
        assert torch.equal(unlearn.loss(d, b, taught, none, strength=2.0), edm.loss(d, b))


def test_a_batch_of_images_to_be_unlearnt_alone_has_minus_its_loss() -> None:
    d, b = Linear(), batch(0, 0.4, 64)
    every = torch.ones(64, dtype=torch.bool)
    assert unlearn.loss(d, b, None, every, strength=0.5).item() == pytest.approx(-0.5 * edm.loss(d, b).item())
    assert unlearn.loss(d, b, None, every, strength=0.0).item() == 0


def test_places_say_which_images_of_a_batch_are_to_be_unlearnt() -> None:
    """The mask is of the training set, not of the batch."""
    d, b = Linear(), batch(0, 0.4, 4)
    shown = Batch(b.images, None, torch.tensor([7, 2, 7, 0]), None, b.sigma, b.weight, b.noise)
    value = unlearn.loss(d, shown, None, torch.arange(9) == 7, strength=1.0)
    alone = [edm.loss(d, Batch(*(x[[i]] if isinstance(x, Tensor) else x for x in fields(b)))).item() for i in range(4)]
    assert value.item() == pytest.approx((-alone[0] + alone[1] - alone[2] + alone[3]) / 4, rel=1e-5)


def fields(b: Batch) -> tuple[Tensor | None, ...]:
    return b.images, b.labels, b.places, b.flipped, b.sigma, b.weight, b.noise


def test_the_levels_of_an_objective_without_settings_are_those_of_edm() -> None:
    """Old trajectories have no objective in their key, so that the defaults must agree to the bit."""
    normal = torch.randn(256, generator=torch.Generator().manual_seed(0))
    for plain, own in zip(edm_levels(normal, 0.3), objectives.levels(normal, 0.3), strict=True):
        assert torch.equal(plain, own)
