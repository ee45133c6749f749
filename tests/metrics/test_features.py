"""Steps that measures in a feature space share: exact distances, random draws, and who is a held-out image."""

import numpy as np
import pytest

from difgen_cli.metrics import _features
from difgen_cli.metrics._features import among, drawn, features_of, name_of, squared_distances_to


@pytest.mark.parametrize("offset", [0, 1000])
def test_squared_distances_equal_the_differences_even_of_copies(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features, "PAIRS", 7)
    rng = np.random.default_rng(0)
    references = (rng.standard_normal((40, 30)) + offset).astype(np.float32)
    x = np.concatenate([references[:20], references[:20] + np.float32(1e-2), rng.standard_normal((20, 30))])
    exact = ((x[:, None].astype(np.float64) - references) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances_to(references)(x), exact, rtol=1e-9, atol=0)


def test_a_draw_is_without_replacement_and_of_no_more_than_there_are() -> None:
    rows = np.arange(50)
    found = drawn(rows, 20, (3, 1))
    assert len(set(found.tolist())) == 20
    assert found.tolist() == sorted(found) != list(range(20))
    np.testing.assert_array_equal(found, drawn(rows, 20, (3, 1)))
    assert drawn(rows, 50, (3, 1)) is rows
    assert drawn(rows, 80, (3, 1)) is rows


def test_samples_are_held_out_images_only_where_all_of_them_are() -> None:
    images = np.random.default_rng(0).standard_normal((9, 2, 2, 1)).astype(np.float32)
    assert among(images[[3, 3, 1]], images)
    assert not among(images, images[:8])
    assert not among(images[1:3] + 1, images)


def test_a_space_without_a_name_bears_that_of_its_setting() -> None:
    class Space:
        name = "digits-cnn64"

        def __call__(self, images: np.ndarray) -> np.ndarray:
            return images

    assert name_of(Space(), "classifier") == "digits-cnn64"
    assert name_of(lambda images: images, "classifier") == "classifier"


def test_features_that_are_not_finite_are_one_sentence_with_the_metrics_name() -> None:
    with pytest.raises(ValueError, match="kernel: the feature space gives NaN or infinite"):
        features_of("kernel", lambda images: np.append(images, [[0, 0, np.inf]], axis=0), np.ones((2, 3)))
