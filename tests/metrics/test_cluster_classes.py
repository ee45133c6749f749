"""Agreement of conditions with classes: scikit-learn, brute force over matchings, and partitions with known answers."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from difgen_cli.metrics.cluster_classes import COLUMNS, contingency, matched, measure, mutual_information, rand_index

Pairs = list[tuple[int, int]]


def drawn(n: int, seed: int, agree: float, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels and classes of n images, of which a share has the class of its label and the others any."""
    rng = np.random.default_rng((seed, n))
    labels = rng.integers(0, count, n)
    return labels, np.where(rng.random(n) < agree, labels, rng.integers(0, count, n))


def test_without_a_condition_or_without_classes_there_is_nothing_to_agree() -> None:
    some = np.zeros(3, np.int64)
    for labels, classes in ((None, some), (some, None), (some[:0], some[:0])):
        assert measure(labels, classes).values == dict.fromkeys(COLUMNS)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_information_and_rand_index_are_those_of_scikit_learn(pairs: Pairs) -> None:
    labels, classes = np.array(pairs).T
    counts = contingency(labels, classes)
    theirs = normalized_mutual_info_score(classes, labels), adjusted_rand_score(classes, labels)
    assert rand_index(counts).value == pytest.approx(theirs[1], abs=1e-12)
    if len(set(labels)) == len(set(classes)) == 1:
        assert mutual_information(counts).value == 1  # scikit-learn says 1 too since 0.22, and 0 before
    else:
        assert mutual_information(counts).value == pytest.approx(theirs[0], abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_accuracy_is_that_of_the_best_of_all_matchings(pairs: Pairs) -> None:
    labels, classes = np.array(pairs).T
    best = max(int((np.array(order)[labels] == classes).sum()) for order in permutations(range(4)))
    assert matched(contingency(labels, classes)) == best


def test_the_same_partition_under_other_names_agrees_wholly() -> None:
    classes = np.repeat(np.arange(5), 40)
    values = measure((classes * 3 + 1) % 5 + 7, classes).values
    assert values["clusters_acc"] == values["clusters_nmi"] == values["clusters_ari"] == pytest.approx(1)
    assert values["clusters_classes"] == 5
    assert values["clusters_acc_control"] < 0.4  # type: ignore[operator]


def test_labels_that_know_nothing_score_as_their_control_and_have_no_interval_of_accuracy() -> None:
    values = measure(*drawn(2000, 1, 0.0)).values
    assert values["clusters_acc"] == pytest.approx(values["clusters_acc_control"], abs=0.02)
    assert values["clusters_acc_lo"] is None
    assert values["clusters_ari_lo"] <= 0 <= values["clusters_ari_hi"]  # type: ignore[operator]
    assert values["clusters_nmi"] == pytest.approx(values["clusters_nmi_control"], abs=0.003)


def test_more_labels_than_classes_and_labels_with_few_images_have_no_interval() -> None:
    classes = np.repeat(np.arange(4), 50)
    unique = measure(np.arange(200), classes).values
    assert unique["clusters_acc"] == 4 / 200
    assert unique["clusters_ari"] == 0
    assert [unique[f"clusters_{name}_lo"] for name in ("acc", "nmi", "ari")] == [None] * 3
    split = measure(classes + 4 * (np.arange(200) % 2), classes).values  # each class in two halves
    assert split["clusters_acc"] == 0.5
    assert split["clusters_acc_lo"] is None
    assert split["clusters_ari_lo"] is not None


def test_the_information_has_no_interval_where_many_images_are_the_only_ones_of_their_kind() -> None:
    few, many = (measure(*drawn(n, 2, 0.6, 10)).values for n in (100, 5000))
    assert few["clusters_nmi_lo"] is None
    assert many["clusters_nmi_lo"] <= many["clusters_nmi"] <= many["clusters_nmi_hi"]  # type: ignore[operator]


def test_the_errors_are_those_of_leaving_out_one_image_at_a_time() -> None:
    labels, classes = drawn(1000, 3, 0.7)
    for estimate in (mutual_information, rand_index):
        left_out = [estimate(contingency(np.delete(labels, i), np.delete(classes, i))).value for i in range(1000)]
        assert estimate(contingency(labels, classes)).error == pytest.approx(np.std(left_out) * np.sqrt(999), rel=0.02)
