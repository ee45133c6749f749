"""Feature spaces without weights files: deterministic, whatever the batch, and sensitive to what they are for."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.features import State, classifier, in_blocks, pca, pixels, random_conv

POOL = load()
SPLIT = split(POOL)
REST, HELD_OUT = scaled(POOL.images[SPLIT.rest]), scaled(POOL.images[SPLIT.held_out])
assert POOL.labels is not None
LABELS = POOL.labels[SPLIT.rest]


@pytest.fixture(scope="module")
def trained() -> State:
    return classifier.fit(REST, LABELS)


@pytest.fixture
def states(trained: State) -> dict[ModuleType, State]:
    return {
        pixels: pixels.fit(),
        pca: pca.fit(REST, components=10),
        random_conv: random_conv.fit(REST),
        classifier: trained,
    }


@pytest.mark.parametrize(("space", "width"), [(pixels, 64), (pca, 10), (random_conv, 64), (classifier, 64)])
def test_features_of_an_image_do_not_depend_on_its_batch(
    space: ModuleType, width: int, states: dict[ModuleType, State]
) -> None:
    state = states[space]
    together = space.embed(HELD_OUT[:300], state)
    assert together.shape == (300, width)
    assert together.dtype == np.float32
    apart = [space.embed(HELD_OUT[i : i + 1], state) for i in range(0, 300, 37)]
    np.testing.assert_array_equal(np.concatenate(apart), together[::37])
    assert space.embed(HELD_OUT[:0], state).shape == (0, width)


def test_blocks_are_full_and_padding_never_comes_back() -> None:
    seen = []

    def embed(block: np.ndarray) -> np.ndarray:
        seen.append(len(block))
        return block + 1

    rows = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(in_blocks(embed, rows, block=3), rows + 1)
    assert seen == [3, 3]


def test_pca_equals_scikit_learns(states: dict[ModuleType, State]) -> None:
    flat = REST.reshape(len(REST), -1)
    peer = PCA(10, svd_solver="full").fit(flat)
    ours = pca.embed(HELD_OUT, states[pca])
    theirs = peer.transform(HELD_OUT.reshape(len(HELD_OUT), -1))
    np.testing.assert_allclose(abs(ours), abs(theirs), atol=1e-3)


def test_pca_of_all_components_keeps_distances_and_never_has_more_than_there_are() -> None:
    points = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    found = pca.embed(points, pca.fit(points, components=64))
    assert found.shape == (50, 3)
    np.testing.assert_allclose(
        np.linalg.norm(found[1:] - found[0], axis=1), np.linalg.norm(points[1:] - points[0], axis=1), rtol=1e-4
    )


def test_classifier_is_the_same_twice_and_leaves_torch_as_it_found_it(trained: State) -> None:
    few = REST[:200]
    torch.manual_seed(5)
    expected = torch.rand(3)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    one, two = (classifier.fit(few, LABELS[:200], steps=5) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_classifier_features_tell_the_digits_apart(trained: State) -> None:
    assert POOL.labels is not None
    features = classifier.embed(HELD_OUT, trained)
    predicted = (features @ trained["head.weight"].T + trained["head.bias"]).argmax(axis=1)
    assert (predicted == POOL.labels[SPLIT.held_out]).mean() > 0.97
    assert features.std(axis=0).min() > 0  # no dead feature


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
@pytest.mark.parametrize("space", [classifier, random_conv])
def test_small_and_large_grey_and_coloured_images_have_64_features(space: ModuleType, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (20, *shape)).astype(np.float32)
    labels = np.arange(20) % 3
    state = classifier.fit(images, labels, steps=2) if space is classifier else random_conv.fit(images)
    assert space.embed(images, state).shape == (20, 64)


def test_random_convolutions_depend_on_the_seed_alone() -> None:
    one, other = random_conv.fit(REST), random_conv.fit(HELD_OUT[:3])
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(random_conv.fit(REST, seed=1)["filters0"], one["filters0"])


@pytest.mark.parametrize(
    ("fit", "word"),
    [
        (lambda: classifier.fit(REST, None), "random_conv"),
        (lambda: classifier.fit(np.zeros((5, 2), np.float32), np.zeros(5, np.int64)), "4 × 4"),
        (lambda: random_conv.fit(np.zeros((5, 2), np.float32)), "pixels"),
    ],
)
def test_a_space_that_does_not_fit_the_data_says_so(fit: Callable[[], State], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        fit()
