"""Sentences for copies in a feature space, which claim no more than held-out and training images allow."""

from __future__ import annotations

from difgen_cli.report.findings.copies import TAIL
from difgen_cli.report.findings.numbers import Row, share
from difgen_cli.report.study.verdicts import CONTROL_MOST

RULES = {
    "space_ratio": "are copies by the ratio rule",
    "space_near": "have a cosine with a training image above the threshold",
}
ALIKE, BASELINE = "rp_uncopied", "rp_baseline"
PULL = "cfg_mag_auc"


def copied(row: Row) -> list[str]:
    """What shows copies in the space: a rule that finds more of the samples than of held-out images, and than of
    training images among one another, and that calls few held-out images copies."""
    if row.few or row.constant:
        return []
    shown = [_claim(row, name) for name in RULES if _shows(row, name)]
    return [f"{_in_space(row)}, {'; '.join(shown)}."] if shown else []


def in_a_space(row: Row, _: Row) -> str | None:
    """What the rules find in the space of `feature_copies`, and which of them cannot tell."""
    if "space_near" not in row or row.few or row.constant:
        return None
    sentences = copied(row)
    sentences += [
        f"{_in_space(row)}, {share(row, f'{name}_control')} of the held-out images {RULES[name]}: that rule decides "
        "nothing there."
        for name in RULES
        if _is_blind(row, name)
    ]
    if not copied(row):
        sentences += _nearer(row)
    if not sentences:
        sentences += _silent(row)
    return " ".join(sentences) or None


def _nearer(row: Row) -> list[str]:
    """More samples than 1 % beyond what unseen images reach: a lean, or copies that no other rule sees."""
    if not row.has_values("space_tail", "space_tail_lo") or row.number("space_tail_lo") <= TAIL:
        return []
    return [
        f"{_in_space(row)}, {share(row, 'space_tail')} of the samples are more similar to a training image than 99 % "
        "of the held-out images are: 1 % would be without copies or a lean to the training images."
    ]


def _silent(row: Row) -> list[str]:
    able = [name for name in RULES if row.has_values(name, f"{name}_control")]
    numbers = "; ".join(f"{name} {share(row, name)}, held-out images {share(row, f'{name}_control')}" for name in able)
    return [f"{_in_space(row)} no more copies than among held-out images are found: {numbers}."] if able else []


def _claim(row: Row, name: str) -> str:
    own = f"{name}_train"
    of_own = f"; training images among one another: {share(row, own)}" if row.has_values(own) else ""
    of_unseen = f"held-out images: {share(row, f'{name}_control')}"
    return f"{share(row, name)} of the samples {RULES[name]} ({of_unseen}{of_own})"


def _shows(row: Row, name: str) -> bool:
    background = row[f"{name}_train_hi"]
    lower = row[f"{name}_lo"]
    beyond = background is None or (lower is not None and lower > background)
    return row.above(name, f"{name}_control") and beyond and not _is_blind(row, name)


def _is_blind(row: Row, name: str) -> bool:
    return row.has_values(f"{name}_control_lo") and row.number(f"{name}_control_lo") > CONTROL_MOST


def _in_space(row: Row) -> str:
    return f"In the feature space {row.values.get('space_features')}"


# Two networks, and one with and without its condition ----------------------------------------------------------------


def reproduced(row: Row, _: Row) -> str | None:
    """Pairs of two networks that are alike without being copies, more than shuffled pairs are."""
    if not row.has_values(ALIKE, BASELINE) or row.few or row.constant or not row.above(ALIKE, BASELINE):
        return None
    return (
        f"{share(row, ALIKE)} of the samples are like those of a network that was trained on the other half, from the "
        f"same noise, and neither is as similar to an image that its network saw (shuffled pairs: "
        f"{share(row, BASELINE)})."
    )


def pulled(row: Row, _: Row) -> str | None:
    """Whether the condition pulls copies more than other samples, or less."""
    lower, upper = row[f"{PULL}_lo"], row[f"{PULL}_hi"]
    if lower is None or upper is None or lower <= 0.5 <= upper:
        return None
    way = "more" if lower > 0.5 else "less"
    return (
        f"The condition pulls copies {way} than other samples: of one copy and one other sample, the copy is pulled "
        f"more in {share(row, PULL)} of pairs."
    )
