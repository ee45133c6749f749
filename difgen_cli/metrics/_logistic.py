"""Logistic regression on features that are standardised on the images that it is fitted on: a linear probe."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """`fitted`: scikit-learn's, of standardised features; with the mean and the spread of those it was fitted on."""

    fitted: Any
    mean: np.ndarray  # (d,)
    spread: np.ndarray  # (d,), 1 for a constant feature

    def classify(self, features: np.ndarray) -> np.ndarray:
        """The class of each row, (n,)."""
        return np.asarray(self.fitted.predict((features - self.mean) / self.spread))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of each class in ascending order, (n, classes) float64."""
        return np.asarray(self.fitted.predict_proba((features - self.mean) / self.spread))


def fit(features: np.ndarray, classes: np.ndarray) -> Probe:
    """On features (n, d) of two classes (n,) or more, with scikit-learn's penalty."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    spread = np.where(deviation > 0, deviation, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near its optimum the accuracy no longer moves
        fitted = LogisticRegression(max_iter=ITERATIONS).fit((features - mean) / spread, classes)
    return Probe(fitted, mean, spread)
