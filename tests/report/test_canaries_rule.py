"""What is said of canaries: the largest bound of all that were looked at, corrected; copies by their repeats."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difgen_cli.metrics import epsilon_of, least_epsilon, least_gaussian, most_epsilon
from difgen_cli.report.figures import canaries as figure
from difgen_cli.report.findings import samples, study
from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.study import canaries
from difgen_cli.report.study.curves import CurveAxis, Curves

GUESSES, COUNT = 30, 40


def line(repeats: int, right: float, extracted: int = 0, seed: int = 0, **own: Any) -> dict[str, Any]:
    """A line of the table canary_levels, half of whose canaries are planted."""
    return {
        "repeats": repeats, "canaries": COUNT, "planted": 20, "guesses": GUESSES, "right": right, "examined": 20,
        "extracted": extracted, "examined_control": 20, "extracted_control": 0, "cell": f"{seed}{sorted(own.items())}",
        "data.seed": seed, "seed": seed,
    } | own  # fmt: skip


def curves_of(lines: list[dict[str, Any]], *paths: str) -> Curves:
    frame = pd.DataFrame(lines)
    axes = []
    for path in paths:
        levels = list(dict.fromkeys(frame[path].astype(str)))
        numeric = path != canaries.KIND
        values = tuple(map(float, levels)) if numeric else tuple(map(float, range(len(levels))))
        axes.append(CurveAxis(path, tuple(levels), values, numeric))
        frame[path] = pd.Categorical(frame[path].astype(str), categories=levels, ordered=True)
    cells = frame.drop_duplicates("cell").assign(state="done", step=1)
    return Curves(
        axes=tuple(axes), cells=cells, references=cells[:0], tables={canaries.TABLE: frame} if len(frame) else {},
        metrics=("canary_extracted",), columns={}, features="", seeds=1,
    )  # fmt: skip


def quoted(curves: Curves) -> str | None:
    return study.RULES["canaries"](curves, curves.cells)


def copied(curves: Curves) -> str | None:
    return study.RULES["copied_canaries"](curves, curves.cells)


def test_seeds_with_coins_of_their_own_are_pooled() -> None:
    read = curves_of([line(1, 20), line(1, 24, seed=1), line(1, 25, seed=1, cell="again")]).canaries
    (pooled,) = read.to_dict("records")
    assert (pooled["trainings"], pooled["right"], pooled["guesses"], pooled["canaries"]) == (2, 44, 60, 80)
    assert pooled["eps_least"] == least_epsilon(44, 60)
    assert pooled["eps_most"] == most_epsilon(60)
    assert pooled["mu_least"] == least_gaussian(44, 60, 80)
    assert pooled["eps_gauss"] == epsilon_of(pooled["mu_least"], 1e-5)


def test_the_largest_of_repeats_and_snapshots_and_kinds_is_corrected_for_their_number() -> None:
    rights = [(step, kind, k, 29 if (step, kind, k) == (200, "noise", 4) else 16)
              for step in (100, 200) for kind in ("held_out", "noise") for k in (1, 4, 16)]  # fmt: skip
    lines = [line(k, right, **{"train.steps": step, canaries.KIND: kind}) for step, kind, k, right in rights]
    curves = curves_of(lines, "train.steps", canaries.KIND)
    corrected = least_epsilon(29, GUESSES, level=1 - 0.05 / 12)
    assert set(curves.canaries["bounds"]) == {12}
    assert curves.canaries["eps_least_all"].max() == corrected < least_epsilon(29, GUESSES)
    most = most_epsilon_of(12)
    assert quoted(curves) == (
        f"Canaries: 1 training with coins of its own shows an epsilon of at least {corrected:.2f} for the 4 rows of a "
        f"canary together, and {corrected / 4:.3f} for one row, with 95 % confidence, the largest of 12 bounds and "
        f"corrected for that (at steps 200, kind noise): 29 of 30 guesses of who was planted are right, and all of "
        f"them could show {most:.2f}."
    )


def most_epsilon_of(bounds: int) -> float:
    return least_epsilon(GUESSES, GUESSES, level=1 - 0.05 / bounds)


def test_the_best_of_many_snapshots_that_know_nothing_is_above_zero_in_few_worlds() -> None:
    """Planted selection: who quotes the largest as it stands is wrong in every third world."""
    rng, above, plain = np.random.default_rng(0), 0, 0
    for _ in range(30):
        lines = [line(k, int(rng.binomial(GUESSES, 0.5)), **{"train.steps": s}) for s in range(5) for k in (1, 4)]
        curves = curves_of(lines, "train.steps")
        above += "at least" in str(quoted(curves))
        plain += curves.canaries["eps_least"].max() > 0
    assert above <= 6  # 1.5 expected; P(more) < 1e-3
    assert plain > 5


def test_nothing_shown_is_never_called_private() -> None:
    sentence = quoted(curves_of([line(1, 15), line(4, 16)]))
    assert sentence is not None
    assert sentence.startswith(
        "Canaries: 1 training with coins of its own shows no epsilon above 0, which does not show"
    )
    assert "private" not in sentence


@pytest.mark.parametrize(
    ("right", "words"),
    [
        ((15, 16), "Canaries show an epsilon above 0 for all rows of one in none of 2 settings, which does not show"),
        (
            (15, 29),
            "in 1 of 2 settings, at least 1.75, each with 95 % confidence; else",
        ),
        ((30, 29), "in 2 of 2 settings, at least 1.75 to 2.25, each with 95 % confidence."),
    ],
)
def test_settings_are_counted_with_the_ends_of_what_they_show(right: tuple[int, int], words: str) -> None:
    lines = [line(1, v, **{"model.width": w}) for v, w in zip(right, (8, 16), strict=True)]
    assert words in str(quoted(curves_of(lines, "model.width")))


def test_copies_are_told_by_repeats_at_the_last_snapshots() -> None:
    copies = {100: (0, 0, 0), 900: (0, 5, 19)}
    lines = [line(k, 20, copies[s][i], **{"train.steps": s}) for s in copies for i, k in enumerate((1, 4, 16))]
    assert copied(curves_of(lines, "train.steps")) == (
        "Of canaries that are planted 1, 4 and 16 times samples copy 0 %, 25.0 % and 95.0 % at the last snapshots (60 "
        "canaries); of 60 that were never planted 0 %."
    )


def test_a_study_without_canaries_says_nothing() -> None:
    curves: Any = SimpleNamespace(canaries=pd.DataFrame(), paths=[], cells=None)
    assert quoted(curves) is None
    assert copied(curves) is None
    unknown = curves_of([line(1, np.nan), line(4, np.nan)])  # a denoiser that is not for the noise level
    assert quoted(unknown) is None
    assert "samples copy 0 % and 0 %" in str(copied(unknown))


def test_one_training_is_told_for_all_repeats_at_once() -> None:
    row = {
        "canary_eps_group": 1.5,
        "canary_eps_row": 0.4,
        "canary_eps_most": 1.9,
        "canary_right": 80,
        "canary_guesses": 90,
    }
    rule = samples.RULES["canaries"]
    assert rule(Row(row), Row({})) == (
        "The canaries of this training show an epsilon of at least 1.50 for all rows of one together, and 0.400 for "
        "one row, with 95 % confidence: 80 of 90 guesses of who was planted are right, and all of them could show 1.90."
    )
    nothing = rule(Row(row | {"canary_eps_group": 0.0, "canary_eps_row": 0.0}), Row({}))
    assert nothing is not None
    assert "show no epsilon above 0, which does not show that there is none: 80 of 90" in nothing
    assert rule(Row(dict.fromkeys(row)), Row({})) is None


def test_a_figure_has_a_line_for_each_kind_and_is_left_out_for_one_number_of_repeats() -> None:
    lines = [line(k, 20 + k, k, **{canaries.KIND: kind}) for kind in ("held_out", "noise") for k in (1, 4)]
    (drawn,) = figure.draw(curves_of(lines, canaries.KIND))
    numbers = drawn.data.set_index(["metric", canaries.KIND, "repeats"])["mean"]
    assert numbers["eps_least", "noise", "4"] == least_epsilon(24, GUESSES)
    assert numbers["extracted_frac", "held_out", "4"] == 4 / 20
    assert "A point pools 40 canaries of 1 training" in drawn.caption
    assert not figure.draw(curves_of([line(4, 20)]))
