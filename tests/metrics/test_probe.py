"""The linear probe: what it reads, that it is deterministic, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from denoisers import CPU, Arrays, Wiener, digit_parts, gaussian, shared
from torch import Tensor, nn

from difgen_cli.data import split
from difgen_cli.data.digits import load
from difgen_cli.diffusion import Denoiser, IdealDenoiser, preconditioning, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.metrics._noise import bank
from difgen_cli.metrics.probe import COLUMNS, accuracy, hidden, measure, middle
from difgen_cli.models import mlp, unet

WORDS = ("025", "050", "100")
Classes = np.ndarray | None


def values_of(denoiser: nn.Module, train: np.ndarray, held_out: np.ndarray, of_T: Classes, of_H: Classes) -> Arrays:
    values = measure(denoiser, train, held_out, of_T, of_H, 0.7, shared, pairs=200).values  # type: ignore[arg-type]
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


class Reader(nn.Module):
    """A network whose middle is `read` of its input; refuses conditions."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.middle = Lambda(read)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is None
        self.middle(x)
        return torch.zeros_like(x)


class Lambda(nn.Module):
    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)


def blobs(n: int, seed: int, classes: int = 3, distance: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """Points of classes so far apart that no noise mixes them."""
    labels = np.random.default_rng(seed).integers(classes, size=n)
    return gaussian(n, seed) + distance * np.eye(8, dtype=np.float32)[labels], labels


def test_a_middle_that_holds_the_class_is_read_without_error_and_one_that_holds_nothing_is_guessed() -> None:
    train, of_T = blobs(100, 1)
    held_out, of_H = blobs(90, 2)
    knows = values_of(Denoiser(Reader(lambda x: x), 0.7), train, held_out, of_T, of_H)
    blind = values_of(Denoiser(Reader(lambda x: torch.zeros_like(x)), 0.7), train, held_out, of_T, of_H)
    most = np.bincount(of_T).argmax()
    for word in WORDS:
        assert knows[f"probe_acc_{word}"] == knows[f"probe_acc_{word}_hi"] == knows[f"probe_acc_{word}_control"] == 1
        assert 0.9 < knows[f"probe_acc_{word}_lo"] < 1
        assert blind[f"probe_acc_{word}"] == pytest.approx((of_H == most).mean())


@pytest.mark.parametrize("labels", [0, 10])
def test_features_of_the_mlp_are_its_middle_blocks_output(labels: int) -> None:
    network = initialise(lambda: mlp.build((8,), labels, width=16, depth=3), 0)
    denoiser, images = Denoiser(network, 0.7).eval(), bank(gaussian(12, 0), None, 2, 0, CPU)
    inside = middle(denoiser)
    assert inside is not None
    with torch.no_grad():
        x, sigma = images.images + 0.35 * images.noise, torch.full((24,), 0.35)
        _, _, c_in, c_noise = preconditioning(sigma, 0.7)
        noise = network.features(c_noise)
        state = network.labels(network.first(c_in[:, None] * x) + network.noise(noise), None)
        for block in network.blocks[:2]:
            state = block(state, noise)
    np.testing.assert_allclose(hidden(denoiser, inside, images, 0.35), state.numpy(), rtol=1e-5, atol=1e-6)
    assert not inside._forward_hooks


def test_features_of_the_unet_are_its_middles_output_averaged_over_pixels() -> None:
    network = initialise(lambda: unet.build((1, 8, 8), 0, width=8, depth=1, multipliers=(1, 2)), 0)
    denoiser = Denoiser(network, 0.7).eval()
    assert middle(denoiser) is network.middle[-1]
    images = bank(np.random.default_rng(0).random((6, 8, 8, 1), np.float32), None, 1, 0, CPU)
    seen: list[Tensor] = []
    handle = network.middle[-1].register_forward_hook(lambda *given: seen.append(given[-1]))
    found = hidden(denoiser, network.middle[-1], images, 0.5)
    handle.remove()
    assert seen[0].shape == (6, 16, 4, 4)
    np.testing.assert_allclose(found, seen[0].double().mean(dim=(2, 3)).numpy(), rtol=1e-5, atol=1e-6)


def test_the_condition_is_dropped_as_it_would_tell_the_class() -> None:
    """Reader refuses conditions, and the metric asks for no condition labels at all."""
    train, of_T = blobs(50, 1)
    values_of(Denoiser(Reader(lambda x: x), 0.7), train, train, of_T, of_T)


def test_the_same_images_give_the_same_accuracy_bit_for_bit() -> None:
    pool = load()
    found = split(pool, size=64, held_out=200)
    train, held_out, _, sigma_d = digit_parts(64, 200)
    classes = pool.labels[found.train], pool.labels[found.held_out]  # type: ignore[index]
    network = initialise(lambda: mlp.build((1, 8, 8), 0, width=32), 0)
    one, two = (
        measure(Denoiser(network, sigma_d), train, held_out, *classes, sigma_d, shared, pairs=128).values
        for _ in range(2)
    )
    assert one == two
    assert 0.3 < one["probe_acc_025"] < one["probe_acc_025_hi"]  # type: ignore[operator]  # far above one in ten


def test_the_control_is_computed_once_for_all_snapshots() -> None:
    train, of_T = blobs(50, 1)
    kept: dict[str, Arrays] = {}

    def remember(name: str, compute: Callable[[], Arrays]) -> Arrays:
        return kept.setdefault(name, compute())

    for read in (lambda x: x, lambda x: -x):
        measure(Denoiser(Reader(read), 0.7), train, train, of_T, of_T, 0.7, remember, pairs=100)
    assert list(kept) == ["pixels"]
    assert set(kept["pixels"]) == set(WORDS)


def test_draws_of_an_image_count_once_in_the_interval() -> None:
    train, of_T = blobs(100, 1)
    held_out, of_H = blobs(10, 2)
    values = values_of(Denoiser(Reader(lambda x: x), 0.7), train, held_out, of_T, of_H)
    assert values["probe_acc_050_lo"] == pytest.approx(10 / (10 + 1.959964**2))  # Wilson's bound for 10 of 10


def test_the_regression_is_scikit_learns_on_standardised_features() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (x, of_x), (y, of_y) = blobs(80, 1, distance=1.0), blobs(60, 2, distance=1.0)
    peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x.astype(np.float64), of_x)
    expected = peer.score(y.astype(np.float64), of_y)
    assert accuracy((x.astype(np.float64), y.astype(np.float64)), (of_x, of_y)) == expected
    assert 0.4 < expected < 1


def test_without_labels_classes_or_a_middle_nothing_is_probed() -> None:
    train, of_T = blobs(20, 1)
    reader = Denoiser(Reader(lambda x: x), 0.7)
    for denoiser, classes in (
        (reader, None),
        (reader, np.zeros(20, np.int64)),
        (IdealDenoiser(to_tensor(train), 0.7), of_T),
        (Wiener(0.7), of_T),
        (Denoiser(nn.Linear(2, 2), 0.7), of_T),
    ):
        assert set(values_of(denoiser, train, train, classes, classes).values()) == {None}


@pytest.mark.parametrize(("size", "held_out"), [(2, 1), (2, 2), (3, 5)])
def test_few_images_give_values_or_none_and_never_nan(size: int, held_out: int) -> None:
    train, of_T = gaussian(size, 1), np.arange(size)
    values = values_of(Denoiser(Reader(lambda x: x), 0.7), train, gaussian(held_out, 2), of_T, np.zeros(held_out, int))
    assert np.isfinite(list(values.values())).all()


def test_images_that_are_all_the_same_and_classes_never_learnt_are_guessed() -> None:
    same = np.full((20, 8), 0.5, np.float32)
    values = values_of(Denoiser(Reader(lambda x: 0 * x), 0.7), same, same, np.arange(20) % 2, np.full(20, 7))
    assert values["probe_acc_050"] == values["probe_acc_050_lo"] == 0


def test_what_cannot_be_measured_is_one_sentence() -> None:
    train, of_T = blobs(20, 1)
    reader = Denoiser(Reader(lambda x: x), 0.7)
    with pytest.raises(ValueError, match="needs held-out images"):
        values_of(reader, train, train[:0], of_T, of_T[:0])
    with pytest.raises(ValueError, match="did the training diverge"):
        values_of(Denoiser(Reader(lambda x: x * np.nan), 0.7), train, train, of_T, of_T)
