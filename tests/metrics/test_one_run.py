"""The least epsilon that a model shows: models of known epsilon, one that tells all, and what must not matter."""

import numpy as np
import pytest
import torch
from denoisers import Wiener, gaussian
from torch import Tensor, nn

from difgen_cli.data import scaled, sigma_data, split
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics._epsilon import least, most
from difgen_cli.metrics.one_run import COLUMNS, foreseen, measure


class Remembering(nn.Module):
    """Knows the images that it was told of, by their first value, and makes zeros of all others."""

    def __init__(self, images: np.ndarray, remembered: np.ndarray) -> None:
        super().__init__()
        self.sigma_data, self.images, self.remembered = 1.0, to_tensor(images), torch.from_numpy(remembered)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        nearest = (x[:, :1] - self.images[None, :, 0]).abs().argmin(1)
        return self.images[nearest] * self.remembered[nearest, None]


def numbered(count: int) -> np.ndarray:
    """(count, 4) points that noise of 0.25 does not confuse."""
    return np.repeat(100.0 * np.arange(1, count + 1)[:, None], 4, axis=1).astype(np.float32)


def coins_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The digits that are not held out, which of them are trained on, T, σ_d."""
    pool = load()
    parts = split(pool, held_out=1400, seed=seed, draw="coin")
    return (
        scaled(pool.images[parts.rest]), np.isin(parts.rest, parts.train), scaled(pool.images[parts.train]),
        sigma_data(pool.images[parts.rest]),
    )  # fmt: skip


@pytest.mark.parametrize("guesses", [None, 1, 80, 397])
def test_the_ideal_denoiser_tells_every_image(guesses: int | None) -> None:
    rest, coins, train, sigma_d = coins_of(3)
    values = measure(IdealDenoiser(to_tensor(train), sigma_d), rest, None, coins, sigma_d, guesses=guesses).values
    assert set(values) == set(COLUMNS)
    r = guesses or 397 // 5
    if guesses != 397:  # with all of them a guess is wrong for each image more or less than half
        assert values["eps_right"] == values["eps_guesses"] == r
        assert values["eps_least"] == values["eps_most"] == pytest.approx(most(r))
    else:
        assert values["eps_right"] == r - abs(int(coins.sum()) - 199)
    assert values["eps_images"] == 397
    assert values["eps_trained_on"] == coins.sum() == len(train) != 198


def test_a_model_that_saw_none_of_them_shows_nothing() -> None:
    """The same score for every world of coins: epsilon 0 is covered."""
    images, rng, above = gaussian(300, 1), np.random.default_rng(0), 0
    for _ in range(100):
        values = measure(Wiener(0.7), images, None, rng.random(300) < 0.5, 0.7).values
        above += values["eps_least"] > 0  # type: ignore[operator]
    assert above <= 14  # 5 expected; P(more) < 1e-4


@pytest.mark.parametrize("epsilon", [1.0, 2.0])
def test_randomised_response_is_covered_and_its_epsilon_is_nearly_shown(epsilon: float) -> None:
    """A model that remembers an image with the truth of its coin, and else with the contrary, is epsilon-private."""
    images, rng, bounds = numbered(500), np.random.default_rng(7), []
    for _ in range(60):
        coins = rng.random(500) < 0.5
        honest = rng.random(500) < np.exp(epsilon) / (1 + np.exp(epsilon))
        values = measure(Remembering(images, coins == honest), images, None, coins, 1.0, guesses=400).values
        bounds.append(values["eps_least"])
    assert sum(bound > epsilon for bound in bounds) <= 9  # 3 expected; P(more) < 1e-3
    assert 0.7 * epsilon < np.mean(bounds) < epsilon


def test_seeds_pool_by_the_sums_of_their_counts() -> None:
    rest, counts = coins_of(0)[0], []
    for seed in range(3):
        _, coins, train, sigma_d = coins_of(seed)
        half_known = IdealDenoiser(to_tensor(train[: len(train) // 2]), sigma_d)
        values = measure(half_known, rest, None, coins, sigma_d, guesses=200).values
        counts.append((values["eps_right"], values["eps_guesses"], values["eps_least"]))
    right, guesses, bounds = (list(part) for part in zip(*counts, strict=True))
    assert least(sum(right), sum(guesses)) > np.mean(bounds)  # type: ignore[arg-type]


def test_the_noise_does_not_know_who_was_trained_on() -> None:
    """With the coins turned over the guesses are the same: right ones are wrong."""
    images = gaussian(200, 5)
    coins = np.random.default_rng(1).random(200) < 0.5
    one, other = (measure(Wiener(0.7), images, None, c, 0.7).values for c in (coins, ~coins))
    assert one["eps_right"] + other["eps_right"] == one["eps_guesses"] == 40  # type: ignore[operator]


def test_every_image_is_asked_under_its_own_label() -> None:
    class OwnLabel(nn.Module):
        sigma_data = 1.0

        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            assert labels is not None
            return (labels[:, None] % 2) * torch.round(x / 100) * 100

    images, coins = numbered(60), np.arange(60) % 2 == 1
    values = measure(OwnLabel(), images, np.arange(60), coins, 1.0, guesses=60).values
    assert values["eps_right"] == 60


def test_more_images_than_are_asked_for_are_chosen_by_number() -> None:
    images, coins = numbered(300), np.random.default_rng(0).random(300) < 0.5
    values = measure(Remembering(images, coins), images, None, coins, 1.0, images=100).values
    assert (values["eps_images"], values["eps_guesses"], values["eps_right"]) == (100, 20, 20)
    assert 30 < values["eps_trained_on"] < 70  # type: ignore[operator]
    assert values["eps_trained_on"] != coins[:100].sum()


def test_without_fair_coins_or_the_noise_level_there_is_no_value() -> None:
    images, coins = gaussian(50, 1), np.random.default_rng(0).random(50) < 0.5
    assert set(measure(Wiener(0.7), images, None, None, 0.7).values.values()) == {None}
    narrow = Wiener(0.7)
    narrow.sigma_range = (0.5, 10.0)  # type: ignore[assignment]
    assert set(measure(narrow, images, None, coins, 0.7).values.values()) == {None}


def test_delta_lowers_what_is_shown() -> None:
    images, coins = numbered(300), np.random.default_rng(0).random(300) < 0.5
    model = Remembering(images, coins)
    plain, with_delta = (measure(model, images, None, coins, 1.0, delta=d).values for d in (0.0, 1e-4))
    assert with_delta["eps_least"] == with_delta["eps_most"] < plain["eps_least"]  # type: ignore[operator]
    assert with_delta["eps_least"] == least(60, 60, canaries=300, delta=1e-4)


def test_what_can_be_shown_is_foreseen() -> None:
    settings = {"guesses": None, "images": 2048, "delta": 0.0}
    assert foreseen(897, settings) == (
        "179 guesses among 897 images can show an epsilon of 4.08 at most, in each training"
    )
    assert "it needs images that are trained on by fair coins" in foreseen(None, settings)
    with pytest.raises(ValueError, match="guesses: 51 are more than the 50 images"):
        foreseen(50, settings | {"guesses": 51})
