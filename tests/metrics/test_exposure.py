"""The losses image by image: float64, the same noise wherever an image stands, and which images are asked about."""

import numpy as np
import pytest
from denoisers import CPU, OfLabel, Wiener, digit_parts, gaussian, shared
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result
from difgen_cli.metrics.exposure import COLUMNS, TABLES, bank_by_image, measure

Lines = dict[tuple[str, int], float]


def run(
    denoiser: nn.Module, train: np.ndarray, rest: np.ndarray, held_out: np.ndarray, sigma_d: float, images: int = 2048
) -> Result:
    result = measure(
        denoiser, train, rest, held_out, None, None, None, sigma_d, shared, images=images  # type: ignore[arg-type]
    )  # fmt: skip
    assert set(result.values) == set(COLUMNS)
    assert set(result.tables["exposure"]) == set(TABLES["exposure"])
    return result


def lines(result: Result) -> Lines:
    table = result.tables["exposure"]
    keys = zip(table["split"].tolist(), table["image"].tolist(), strict=True)
    return dict(zip(keys, table["loss"].tolist(), strict=True))


def test_a_line_is_the_loss_of_an_image_under_its_own_noise_in_float64() -> None:
    pool, held_out = gaussian(30, 1), gaussian(12, 2)
    own = lines(run(Wiener(0.7), pool[5:15], pool, held_out, 0.7))
    assert len(own) == 42
    shrink, sigma = 1 / (1 + 0.25**2), 0.25 * 0.7
    for (split, place), loss in own.items():
        clean = (held_out if split == "heldout" else pool)[place]
        noise = bank_by_image(clean[None], None, 8, CPU).noise.double().numpy()
        expected = ((shrink * (clean + sigma * noise) - clean.astype(np.float64)) ** 2).mean()
        assert loss == pytest.approx(expected, rel=1e-5)
    assert {key for key in own if key[0] == "train"} == {("train", place) for place in range(5, 15)}


def test_the_noise_is_unit_noise_of_which_different_images_have_different_draws() -> None:
    noise = bank_by_image(gaussian(400, 1), None, 8, CPU).noise.numpy().reshape(-1)
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1, abs=4 / np.sqrt(2 * noise.size))
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_models_of_other_subsets_are_asked_about_the_same_images_under_the_same_noise() -> None:
    """Also where the pool is in another order, or has more in front."""
    pool, held_out = gaussian(60, 1), gaussian(20, 2)
    first = run(Wiener(0.7), pool[:30], pool, held_out, 0.7, images=20)
    second = run(Wiener(0.7), pool[30:], pool, held_out, 0.7, images=20)
    assert {(s != "heldout", place): loss for (s, place), loss in lines(first).items()} == {
        (s != "heldout", place): loss for (s, place), loss in lines(second).items()
    }
    assert first.values["exposure_train"] == second.values["exposure_rest"]
    turned = run(Wiener(0.7), pool[:30], pool[::-1], held_out, 0.7, images=20)
    assert {59 - place for s, place in lines(turned) if s != "heldout"} == {
        place for s, place in lines(first) if s != "heldout"
    }
    assert sorted(lines(turned).values()) == pytest.approx(sorted(lines(first).values()), rel=1e-6)


def test_at_most_so_many_of_each_side_are_asked_about_and_a_larger_number_has_the_same_ones() -> None:
    pool, held_out = gaussian(60, 1), gaussian(40, 2)
    few, more = (lines(run(Wiener(0.7), pool[:30], pool, held_out, 0.7, images=n)) for n in (10, 30))
    assert [sum(s == "heldout" for s, _ in one) for one in (few, more)] == [10, 30]
    assert [len(one) for one in (few, more)] == [20, 60]
    assert set(few.items()) <= set(more.items())


def test_an_image_costs_eight_evaluations() -> None:
    asked = 0

    class Counting(Wiener):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            nonlocal asked
            asked += len(x)
            return super().forward(x, sigma, labels)

    run(Counting(0.7), gaussian(10, 1), gaussian(30, 1), gaussian(20, 2), 0.7)
    assert asked == 8 * 50


def test_repeats_are_one_image_and_trained_on_where_any_of_them_is() -> None:
    pool = gaussian(20, 1)
    pool[15] = pool[3]
    result = run(Wiener(0.7), pool[10:], pool, gaussian(5, 2), 0.7)
    assert ("train", 3) in lines(result)
    assert not {place for _, place in lines(result)} & {15} - {place for s, place in lines(result) if s == "heldout"}
    assert result.values == {"exposure_train": 10, "exposure_rest": 9, "exposure_heldout": 5}


def test_images_of_conditions_that_nobody_was_trained_on_are_not_asked_about() -> None:
    """OfLabel refuses them. Each image is asked about under its own label: the distance to its constant image."""
    labels = np.repeat(np.arange(4), 10)
    pool = np.tile(labels[:, None].astype(np.float32), (1, 8)) + np.linspace(0, 1e-4, 40, dtype=np.float32)[:, None]
    train, held_out = pool[:25:2], pool[::3] + np.float32(1e-3)
    result = measure(
        OfLabel(3), train, pool, held_out, labels[:25:2], labels, labels[::3], 1.0, shared
    )  # fmt: skip
    assert {place for s, place in lines(result) if s != "heldout"} == set(range(30))
    assert result.tables["exposure"]["loss"] == pytest.approx(0.01, rel=0.05)


def test_without_held_out_images_there_are_lines_of_the_pool_alone() -> None:
    pool = gaussian(20, 1)
    assert run(Wiener(0.7), pool[:5], pool, pool[:0], 0.7).values == {
        "exposure_train": 5, "exposure_rest": 15, "exposure_heldout": 0,
    }  # fmt: skip


def test_where_the_denoiser_is_not_for_the_level_there_are_no_lines() -> None:
    class High(Wiener):
        sigma_range = (0.5, 10.0)

    result = run(High(0.7), gaussian(5, 1), gaussian(20, 1), gaussian(5, 2), 0.7)
    assert set(result.values.values()) == {0}
    assert all(len(column) == 0 for column in result.tables["exposure"].values())


def test_the_ideal_denoiser_tells_every_training_image() -> None:
    train, held_out, rest, sigma_d = digit_parts(64)
    own = lines(run(IdealDenoiser(to_tensor(train), sigma_d), train, rest, held_out, sigma_d))
    trained = [split == "train" for split, _ in own]
    assert sum(trained) == 64
    assert roc_auc_score(trained, [-loss for loss in own.values()]) == 1
