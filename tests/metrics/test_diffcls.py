"""The diffusion classifier: brute force, known intervals, and who is no class-conditional model."""

import numpy as np
import pytest
import torch
from denoisers import CPU, OfLabel, Wiener, gaussian
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result, wilson
from difgen_cli.metrics._noise import bank
from difgen_cli.metrics.diffcls import COLUMNS, _difference, class_losses, measure


def run(denoiser: nn.Module, of_T: np.ndarray, of_H: np.ndarray, **settings: object) -> dict[str, float]:
    """Images of one value, their class; conditions are the classes."""
    parts = [np.repeat(of[:, None], 4, axis=1).astype(np.float32) for of in (of_T, of_H)]
    result: Result = measure(denoiser, *parts, of_T, of_H, of_T, 1.0, **settings)  # type: ignore[arg-type, misc]
    assert set(result.values) == set(COLUMNS)
    return result.values  # type: ignore[return-value]


class Ignorant(nn.Module):
    """Does not look at its label."""

    sigma_data = 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


CLASSES = np.arange(60) % 3


def test_a_model_of_the_classes_names_them_all() -> None:
    values = run(OfLabel(), CLASSES, CLASSES[:40])
    assert values["diffcls_acc"] == values["diffcls_acc_hi"] == 1
    assert (values["diffcls_gap"], values["diffcls_chance"]) == (0, pytest.approx(1 / 3))
    assert values["diffcls_acc_lo"] == pytest.approx(wilson(40, 40)[0])
    assert values["diffcls_gap_lo"] < 0 < values["diffcls_gap_hi"]


def test_a_model_that_ignores_its_label_guesses_exactly_at_chance() -> None:
    values = run(Ignorant(), CLASSES, CLASSES[:40])
    assert values["diffcls_acc"] == values["diffcls_chance"] == pytest.approx(1 / 3)


def test_the_choice_is_the_argmin_of_the_weighted_losses_on_the_same_noise() -> None:
    """By brute force in float64, for a denoiser that leans on its label by σ."""

    class Leaning(nn.Module):
        sigma_data = 0.7

        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            assert labels is not None
            return x / (1 + sigma[:, None] ** 2) + 0.1 * labels[:, None] * sigma[:, None]

    train, held_out = gaussian(50, 1), gaussian(70, 2)
    of_T, of_H = (np.random.default_rng(seed).integers(4, size=n) for seed, n in ((1, 50), (2, 70)))
    settings = {"images": 60, "draws": 3, "sigmas": (0.5, 2.0)}
    values = measure(Leaning(), train, held_out, of_T, of_H, of_T, 0.7, **settings).values  # type: ignore[arg-type]
    shares = []
    for split, (images, labels) in enumerate(((train, of_T), (held_out[:60], of_H[:60]))):
        noise = bank(images, None, 3, split, CPU).noise.double().numpy().reshape(len(images), 3, -1)
        clean, total = images[:, None].astype(np.float64), np.zeros((len(images), 4))
        for sigma in (0.35, 1.4):
            for label in range(4):
                denoised = (clean + sigma * noise) / (1 + sigma**2) + 0.1 * label * sigma
                total[:, label] += ((denoised - clean) ** 2).mean(axis=(1, 2)) / sigma**2
        shares.append((total.argmin(axis=1) == labels).mean())
    assert values["diffcls_acc"] == pytest.approx(shares[1])
    assert values["diffcls_gap"] == pytest.approx(shares[0] - shares[1])


def test_a_memorizer_of_labels_without_meaning_has_the_largest_gap() -> None:
    train, held_out = gaussian(40, 1, d=64), gaussian(200, 2, d=64)
    of_T, of_H = np.arange(40) % 2, np.arange(200) % 2
    ideal = IdealDenoiser(to_tensor(train), 0.7, torch.from_numpy(of_T))
    values = measure(ideal, train, held_out, of_T, of_H, of_T, 0.7, sigmas=(0.5,)).values
    assert values["diffcls_acc_lo"] < 0.5 < values["diffcls_acc_hi"]  # type: ignore[operator]
    assert values["diffcls_gap"] == 1 - values["diffcls_acc"]  # type: ignore[operator]
    assert values["diffcls_gap_lo"] > 0.3  # type: ignore[operator]


def test_a_gap_is_training_less_held_out_with_the_interval_of_newcombe() -> None:
    assert _difference([56 / 70, 48 / 80], [wilson(56, 70), wilson(48, 80)]) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )  # Newcombe 1998, table II, method 10


def test_classes_are_compared_by_the_label_they_were_trained_under() -> None:
    """Labels with gaps: the candidates are those of T."""
    values = run(OfLabel(10), np.array([0, 4, 9] * 5), np.array([0, 4, 9, 4]))
    assert (values["diffcls_acc"], values["diffcls_chance"]) == (1, pytest.approx(1 / 3))


def test_held_out_images_of_other_classes_are_left_out_and_labels_stay_with_images() -> None:
    of_H = np.array([7, 0, 1, 7, 2, 1])
    assert run(OfLabel(), CLASSES, of_H)["diffcls_acc_lo"] == pytest.approx(wilson(4, 4)[0])
    with pytest.raises(ValueError, match="of the classes that T has"):
        run(OfLabel(), CLASSES, np.array([7, 7]))


def test_what_is_no_class_conditional_model_is_not_asked() -> None:
    images, classes = gaussian(20, 0), np.arange(20) % 2
    for labels, of_T in (
        (None, classes),  # unconditional
        (classes, None),  # data without labels
        (np.arange(20) % 4, classes),  # clusters finer than classes
        (np.zeros(20, np.int64), classes),
        (np.arange(20), classes),
        (np.roll(np.repeat([0, 1], 10), 3), classes),  # as many, but others
    ):
        values = measure(Wiener(0.7), images, images, labels, labels, of_T, 0.7).values  # type: ignore[arg-type]
        assert set(values.values()) == {None}


def test_conditions_may_be_classes_by_another_number() -> None:
    images, labels, classes = np.full((9, 4), 2, np.float32), np.full(9, 2), np.full(9, 5)
    values = measure(OfLabel(), images, images, labels, labels, classes, 1.0).values  # type: ignore[arg-type]
    assert values["diffcls_acc"] == values["diffcls_chance"] == 1  # a single class


def test_losses_of_classes_differ_by_the_class_alone() -> None:
    part = bank(gaussian(5, 0), np.zeros(5, np.int64), 2, 0, CPU)
    found = class_losses(Ignorant(), part, np.array([0.5, 1.0]), np.array([0, 1, 2]))
    assert (found == found[:, :1]).all()


def test_few_images_give_values() -> None:
    for of_T, of_H in (([0], [0]), ([0, 1], [1]), ([1, 2], [1, 2, 1])):
        values = run(OfLabel(), np.array(of_T), np.array(of_H))
        assert np.isfinite(list(values.values())).all()


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="above 0"):
        run(OfLabel(), CLASSES, CLASSES, sigmas=(0.0,))
    with pytest.raises(ValueError, match="above 0"):
        run(OfLabel(), CLASSES, CLASSES, sigmas=())
