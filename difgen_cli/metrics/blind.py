"""Can training images be told from held-out ones without any model? The control of every membership number.

A metric names, in NON_MEMBERS, its columns that take held-out images for what the training images could have been.
Where the data bring held-out images of their own, this metric is planned beside it, and `report/study/blind.py` refuses
these columns where the answer is yes.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result, Shared, Value
from difgen_cli.metrics._features import drawn
from difgen_cli.metrics._ranks import Auroc, auroc_of_placements, placements
from difgen_cli.metrics._traces import traces
from difgen_cli.neighbours import distinct

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

VERSION = 1
KINDS = ("model", "ideal")  # of rows that have it: it is of the images alone, and stands beside what a denoiser does
HELD_OUT_MIN = 1

COLUMNS = {
    "blind_auc": (
        "float64",
        "",
        "AUROC of a classifier that tells T from H by the images alone, without the model: 0.5 where they are alike",
        {"label": "AUROC of training against held-out images, without the model", "n": "blind_images"},
    ),
    "blind_auc_lo": ("float64", "", "lower end of its 95 % interval over images: above 0.52 membership is refused"),
    "blind_auc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "blind_images": ("int64", "images", "of T, and as many of H", {"role": "count"}),
}

SEED = 11
FOLDS, INNER = 5, 3
LEAST = 50  # images on each side, ten in each fold


def measure(train: np.ndarray, held_out: np.ndarray, shared: Shared, *, images: Annotated[int, Ge(1)] = 2048) -> Result:
    """The AUROC of the images' pixels alone, over fifths of the images.

    Each fifth but the first is scored by classifiers that were fitted on the fifths before it, logistic regression or
    gradient boosting, whichever does better in a cross-validation within those. So no image has a say in what scores
    it, neither by being fitted nor by the choice, and what one fifth gives is independent of chance in the next: the
    interval holds one half for a random split. (Of the usual five folds each is scored by a classifier fitted on the
    others, so that every pair of folds counts twice: DeLong's variance is half of the true one.) Repeats and
    near-duplicates count once. None below 50 images on each side.

    images: on each side, at most; drawn at random from more.
    """

    def compute() -> dict[str, np.ndarray]:
        sides = [drawn(x[distinct(x)], images, (SEED, k)) for k, x in enumerate((train, held_out))]
        n = min(len(side) for side in sides)
        area = told_apart(sides[0][:n], sides[1][:n]) if n >= LEAST else None
        ends = (area.value, area.lower, area.upper) if area else (None, None, None)
        return {"area": np.array(ends, float), "images": np.array(n)}

    arrays = shared("area", compute)
    names = ("blind_auc", "blind_auc_lo", "blind_auc_hi")
    values: dict[str, Value] = {
        name: None if np.isnan(end) else float(end) for name, end in zip(names, arrays["area"], strict=True)
    }
    return Result(values | {"blind_images": int(arrays["images"])})


def told_apart(ones: np.ndarray, others: np.ndarray) -> Auroc:
    """How well classifiers tell as many images (n, ...) of one kind from those of another; n of 50 or more."""
    n = len(ones)
    features, kind = traces(np.concatenate([ones, others])), np.repeat([1, 0], n)
    chance = np.random.default_rng(SEED)
    fold = np.concatenate([chance.permutation(np.arange(n) % FOLDS) for _ in range(2)])
    above, below = [], []
    for k in range(1, FOLDS):
        before, now = fold < k, fold == k
        learner = _better(features[before], kind[before])
        scores = _scores(learner.fit(features[before], kind[before]), features[now])
        members, rest = scores[kind[now] == 1], scores[kind[now] == 0]
        above.append(placements(members, rest))
        below.append(1 - placements(rest, members))
    return auroc_of_placements(np.concatenate(above), np.concatenate(below))


def _better(features: np.ndarray, kind: np.ndarray) -> "ClassifierMixin":
    """The learner, not yet fitted, that tells the kinds apart better, by cross-validation."""
    from sklearn.model_selection import StratifiedKFold

    def success(learner: "ClassifierMixin") -> float:
        parts = StratifiedKFold(INNER, shuffle=True, random_state=SEED).split(features, kind)
        areas = []
        for fitted, asked in parts:
            scores = _scores(learner.fit(features[fitted], kind[fitted]), features[asked])
            areas.append(placements(scores[kind[asked] == 1], scores[kind[asked] == 0]).mean())
        return float(np.mean(areas))

    return max(_learners(), key=success)


def _learners() -> Iterator["ClassifierMixin"]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    yield make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    yield HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, early_stopping=False, random_state=SEED)


def _scores(learner: "ClassifierMixin", features: np.ndarray) -> np.ndarray:
    return np.asarray(learner.predict_proba(features)[:, 1])
