"""The control of membership with samples in place of T: what it must read of models whose answer is known."""

import numpy as np
import pytest
from denoisers import OfLabel, Wiener, digit_parts, gaussian

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import membership
from difgen_cli.metrics.self_membership import COLUMNS, measure

WORDS = ("025", "050", "100")


def test_samples_that_are_copies_score_as_training_images_do() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    ideal = IdealDenoiser(to_tensor(train), sigma_d)
    values = measure(ideal, train[:40], None, held_out, None, None, sigma_d).values
    assert set(values) == set(COLUMNS)
    assert [values[f"mia_self_auc_{word}"] for word in WORDS] == [1, 1, 1]


def test_a_model_of_small_values_knows_its_samples_and_no_training_images() -> None:
    """Its loss grows with the norm: low for what it makes, and as high for T as for H."""
    model, train, held_out = Wiener(0.7, 0.5), gaussian(400, 1), gaussian(400, 2)
    values = measure(model, 0.5 * gaussian(400, 3), None, held_out, None, None, 0.7).values
    of_T = membership.measure(model, train, held_out, None, None, 0.7).values
    assert of_T["mia_auc_025_lo"] < 0.5 < of_T["mia_auc_025_hi"]  # type: ignore[operator]
    assert values["mia_self_auc_025_lo"] > 0.7  # type: ignore[operator]


def test_with_the_training_images_as_samples_it_is_membership_to_the_last_digit() -> None:
    train, held_out = gaussian(60, 1), 1.1 * gaussian(80, 2)
    values = measure(Wiener(0.7), train, None, held_out, None, None, 0.7).values
    expected = membership.measure(Wiener(0.7), train, held_out, None, None, 0.7).values
    for word in WORDS:
        for end in ("", "_lo", "_hi"):
            assert values[f"mia_self_auc_{word}{end}"] == expected[f"mia_auc_{word}{end}"]


def test_samples_keep_the_labels_that_they_were_drawn_under() -> None:
    labels = np.random.default_rng(0).permutation(40)
    x = np.repeat(labels[:, None], 4, axis=1).astype(np.float32)
    values = measure(OfLabel(40), x, labels, x, labels, labels, 1.0).values
    assert values["mia_self_auc_050"] == pytest.approx(0.5)  # every image has the same loss under its own label
    moved = measure(OfLabel(40), x, np.roll(labels, 1), x, labels, labels, 1.0).values
    assert moved["mia_self_auc_050"] == 0


def test_without_samples_there_is_no_value() -> None:
    x = gaussian(9, 1)
    assert set(measure(Wiener(0.7), x[:0], None, x, None, None, 0.7).values.values()) == {None}
