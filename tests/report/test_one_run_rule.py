"""What is said of the least epsilon: at least so much, or nothing shown; seeds together where their coins differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from difgen_cli.metrics import least_epsilon, most_epsilon
from difgen_cli.report.findings import samples, study
from difgen_cli.report.findings.numbers import Row


def row(right: int, guesses: int = 179, images: int = 897) -> dict[str, Any]:
    return {
        "eps_least": least_epsilon(right, guesses), "eps_most": most_epsilon(guesses), "eps_right": right,
        "eps_guesses": guesses, "eps_images": images, "eps_trained_on": images // 2,
    }  # fmt: skip


def told(values: dict[str, Any]) -> str | None:
    return samples.RULES["one_run"](Row(values), Row({}))


def cells(*lines: tuple[int, int, int], width: int = 8, delta: float = 0.0) -> pd.DataFrame:
    """Finished cells of one setting: step, seed of the data, right guesses."""
    return pd.DataFrame([
        row(right) | {"step": step, "seed": k, "data.seed": seed, "model.width": width, "score.one_run.delta": delta}
        for k, (step, seed, right) in enumerate(lines)
    ])  # fmt: skip


def of_study(frame: pd.DataFrame, *paths: str) -> str | None:
    done = frame.assign(state="done")
    curves: Any = SimpleNamespace(cells=done, done=done, paths=list(paths))
    return study.RULES["one_run"](curves, done)


def test_a_training_shows_at_least_so_much_and_what_all_guesses_could() -> None:
    assert told(row(159)) == (
        "This training shows an epsilon of at least 1.67 for one image, with 95 % confidence: 159 of 179 guesses of "
        "who was trained on are right, and all of them could show 4.08."
    )


def test_nothing_shown_is_never_called_private() -> None:
    sentence = told(row(95))
    assert sentence == (
        "This training shows no epsilon above 0 for one image, which does not show that there is none: 95 of 179 "
        "guesses of who was trained on are right."
    )
    assert "private" not in sentence
    assert told(dict.fromkeys(row(1))) is None


def test_seeds_with_coins_of_their_own_are_pooled_at_the_last_snapshot() -> None:
    sentence = of_study(cells((300, 0, 100), (300, 1, 100), (900, 0, 159), (900, 1, 164)), "train.steps")
    least = least_epsilon(323, 358)
    assert sentence == (
        f"At the last snapshots: 2 trainings with coins of their own show an epsilon of at least {least:.2f} for one "
        f"image, with 95 % confidence: 323 of 358 guesses of who was trained on are right, and all of them could show "
        f"{most_epsilon(358):.2f}."
    )


def test_trainings_with_the_same_coins_count_once() -> None:
    """Seeds that differ in initial weights alone guess the same coins: pooled, luck would count twice."""
    sentence = of_study(cells((900, 5, 159), (900, 5, 170)))
    assert sentence is not None
    assert "1 training with coins of its own shows an epsilon of at least 1.67" in sentence
    assert "159 of 179" in sentence


def test_delta_counts_in_what_seeds_show_together() -> None:
    frame = cells((900, 0, 159), (900, 1, 164), delta=1e-4)
    least = least_epsilon(323, 358, canaries=2 * 897, delta=1e-4)
    assert least < least_epsilon(323, 358)
    assert f"at least {least:.2f} for one image" in str(of_study(frame))


@pytest.mark.parametrize(
    ("right", "words"),
    [
        ((95, 94), "an epsilon above 0 for one image is shown in none of 2 settings, which does not show"),
        ((95, 159), "is shown in 1 of 2 settings, at least 1.67; elsewhere nothing is shown, which does not show"),
        ((159, 178), "is shown in 2 of 2 settings, at least 1.67 to 3.61, each with 95 % confidence."),
    ],
)
def test_settings_are_counted_with_the_ends_of_what_they_show(right: tuple[int, int], words: str) -> None:
    frame = pd.concat([cells((900, 0, r), width=w) for r, w in zip(right, (8, 16), strict=True)])
    sentence = of_study(frame, "model.width")
    assert words in str(sentence)
    assert "private" not in str(sentence)


def test_a_study_without_coins_says_nothing() -> None:
    empty = cells((900, 0, 159)).assign(eps_least=float("nan"))
    assert of_study(empty) is None
    assert of_study(empty.drop(columns="eps_least")) is None
