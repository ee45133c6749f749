"""What is left of images to be unlearnt: the metrics of all training images, group by group, and known models."""

import numpy as np
import pytest
from denoisers import OfLabel, Wiener, digit_parts, gaussian, shared
from torch import nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import gap, membership, memorization
from difgen_cli.metrics.unlearning import COLUMNS, measure

Values = dict[str, float]
MEMBERSHIP = [f"{word}{end}" for word in ("025", "050", "100") for end in ("", "_lo", "_hi")]


def run(
    denoiser: nn.Module, samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, marked: np.ndarray,
    sigma_d: float, labels: tuple[np.ndarray | None, np.ndarray | None] = (None, None), **settings: int,
) -> Values:  # fmt: skip
    values = measure(denoiser, samples, train, held_out, *labels, marked, sigma_d, shared, **settings).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def first(count: int, of: int) -> np.ndarray:
    return np.arange(of) < count


def test_membership_and_gap_are_those_of_each_group_alone() -> None:
    train, held_out, marked = gaussian(90, 1), 1.2 * gaussian(60, 2), first(40, 90)
    values = run(Wiener(0.7), held_out, train, held_out, marked, 0.7, images=40)
    for name, group in (("unlearnt", train[marked]), ("kept", train[~marked])):
        alone = membership.measure(Wiener(0.7), group[:40], held_out, None, None, 0.7, images=40).values
        for word in MEMBERSHIP:
            assert values[f"{name}_mia_auc_{word}"] == alone[f"mia_auc_{word}"]
        levels = {"sigma_min": 0.25, "sigma_max": 1.0, "sigmas": 3, "pairs": 320}
        table = gap.measure(Wiener(0.7), group[:40], held_out[:40], None, None, 0.7, **levels).tables["noise"]
        assert values[f"{name}_gap_050"] == pytest.approx(table["gap"][1], abs=1e-9)
        assert values[f"{name}_gap_050_lo"] < values[f"{name}_gap_050"] < values[f"{name}_gap_050_hi"]
        assert values[f"{name}_images"] == 40


def test_copies_of_the_two_groups_add_up_to_all_copies() -> None:
    train, held_out, _, sigma_d = digit_parts(128)
    marked = first(32, 128)
    rng = np.random.default_rng(0)
    copied = train[[*range(10), *range(10), *range(40, 45)]]  # 20 samples of 10 images, and 5 of 5
    changed = copied + 0.02 * rng.standard_normal(copied.shape).astype(np.float32)
    samples = np.concatenate([changed, held_out[:75]])
    values = run(IdealDenoiser(to_tensor(train), sigma_d), samples, train, held_out[75:], marked, sigma_d)
    everything = memorization.measure(samples, train, held_out[75:], shared).values
    assert values["unlearnt_copies"] + values["kept_copies"] == pytest.approx(everything["mem_frac"])
    assert (values["unlearnt_copies"], values["unlearnt_copied"], values["kept_copied"]) == (0.2, 10, 5)
    controls = values["unlearnt_copies_control"] + values["kept_copies_control"]
    assert controls == pytest.approx(everything["mem_frac_control"])
    powers = (32 * values["unlearnt_power"] + 96 * values["kept_power"]) / 128
    assert powers == pytest.approx(everything["mem_power"])


def test_a_memorizer_that_never_saw_them_shows_nothing_of_them() -> None:
    train, held_out, _, sigma_d = digit_parts(128)
    marked = first(32, 128)
    saw_all, retrained = (IdealDenoiser(to_tensor(t), sigma_d) for t in (train, train[~marked]))
    before = run(saw_all, train, train, held_out, marked, sigma_d)
    after = run(retrained, train[~marked], train, held_out, marked, sigma_d)
    assert (before["unlearnt_mia_auc_050"], before["kept_mia_auc_050"], after["kept_mia_auc_050"]) == (1, 1, 1)
    assert after["unlearnt_mia_auc_050_lo"] < 0.5 < after["unlearnt_mia_auc_050_hi"]
    assert (before["unlearnt_copies"], after["unlearnt_copies"], after["kept_copies"]) == (0.25, 0, 1)
    assert before["unlearnt_gap_050"] is None or before["unlearnt_gap_050"] > 1e3
    assert after["unlearnt_gap_050_lo"] < 0 < after["unlearnt_gap_050_hi"]


def test_an_image_that_is_kept_as_another_copy_is_no_image_that_was_unlearnt() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    train = np.concatenate([train, train[:3]])  # three of those to be unlearnt are kept a second time
    marked = first(16, 67)
    values = run(Wiener(sigma_d), held_out, train, held_out, marked, sigma_d)
    assert (values["unlearnt_images"], values["kept_images"]) == (13, 51)


def test_a_group_is_compared_with_held_out_images_of_its_own_conditions() -> None:
    """The denoiser refuses labels that it never saw; label 2 is of no image that is to be unlearnt."""
    train, held_out = gaussian(40, 1, 4).reshape(-1, 2, 2, 1), gaussian(60, 2, 4).reshape(-1, 2, 2, 1)
    labels, of_held_out = np.arange(40) % 3, np.arange(60) % 4
    marked = (labels < 2) & first(30, 40)
    values = run(OfLabel(), held_out, train, held_out, marked, 1.0, (labels, of_held_out))
    for name, group, labelled in (
        ("unlearnt", train[marked], labels[marked]),
        ("kept", train[~marked], labels[~marked]),
    ):
        known = np.isin(of_held_out, labelled)
        n = min(len(group), int(known.sum()))
        alone = membership.measure(
            OfLabel(), group, held_out[known][:n], labelled, of_held_out[known][:n], 1.0, images=n
        ).values
        limited = run(OfLabel(), held_out, train, held_out, marked, 1.0, (labels, of_held_out), images=n)
        assert limited[f"{name}_mia_auc_050"] == alone["mia_auc_050"]
        assert values[f"{name}_mia_auc_050"] is not None


def test_a_level_that_the_denoiser_is_not_for_has_no_number() -> None:
    denoiser = Wiener(0.7)
    denoiser.sigma_range = (0.6 * 0.7, float("inf"))  # type: ignore[assignment]
    values = run(denoiser, gaussian(9, 3), gaussian(40, 1), gaussian(40, 2), first(20, 40), 0.7)
    names = (
        "unlearnt_mia_auc_025",
        "unlearnt_mia_auc_050",
        "unlearnt_mia_auc_050_lo",
        "kept_gap_050",
        "kept_gap_050_hi",
    )
    assert [values[name] for name in names] == [None] * 5
    assert values["unlearnt_mia_auc_100"] is not None


@pytest.mark.parametrize("count", [0, 40])
def test_one_group_alone_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"needs images of both groups: {count} of 40"):
        run(Wiener(0.7), gaussian(9, 3), gaussian(40, 1), gaussian(40, 2), first(count, 40), 0.7)
