"""Sentences for copies among samples, and for what the rules for copies could not have detected."""

from __future__ import annotations

from collections.abc import Callable

from difgen_cli.report.findings.numbers import Row, count, percent, share, value
from difgen_cli.report.study.verdicts import CONTROL_MOST

SURE_POWER = 0.9  # from which on a rule that finds nothing rules plain copies out
COPYCAT_LEAST = 0.9  # of exact copies that a rule must see
FEW_CHANCE = 0.025  # that few unseen images give as many copies
TAIL = 0.01  # what copy_tail is without copies
KINDS_OF_CHANGE = {
    "aligned_shifted": "moved by a pixel",
    "aligned_mirrored": "mirrored",
    "aligned_toned": "changed in brightness or contrast",
    "aligned_smoothed": "smoothed",
}


def ratio_is_blind(row: Row, copier: Row) -> str | None:
    """Where its own controls show that the ratio rule cannot detect copies."""
    if "mem_frac" in row and row["mem_frac"] is None:
        one = "The training set is a single distinct image"
        if row["near_duplicates"]:  # they may be alike in a chain alone, or of little contrast
            one = "All training images are joined by near-duplicates and count as a single distinct image"
        return f"{one}: it has no second nearest image, and the ratio rule cannot be used."
    if row.has_values("mem_frac", "mem_frac_control_lo") and row.number("mem_frac_control_lo") > CONTROL_MOST:
        return (
            f"The ratio rule cannot distinguish copies here: it calls {share(row, 'mem_frac_control')} of the held-out "
            "images copies."
        )
    if row.has_values("mem_frac") and copier.has_values("mem_frac") and copier.number("mem_frac") < COPYCAT_LEAST:
        return (
            f"The ratio rule cannot detect copies here: it calls only {percent(copier.number('mem_frac'))} of the "
            "training images themselves copies."
        )
    return None


def identical(row: Row, _: Row) -> str | None:
    sample_count = row["mem_identical"]
    if not sample_count:
        return None
    of = f" of {row['sample.count']:,.0f}" if row.has_values("sample.count") else ""
    verb = "is" if sample_count == 1 else "are"
    return f"{sample_count:,.0f}{of} samples {verb} identical to a training image in every value."


def ratio_copies(row: Row, copier: Row) -> str | None:
    """Samples called copies by d1/d2 < 1/3, where more are than of the held-out images, or nothing can be compared."""
    if not _ratio_speaks(row, copier) or row.number("mem_frac") == 0:
        return None
    compared, few = row.has_values("mem_frac_control_hi"), row.few
    if compared and not few and not beyond_control(row, copier):
        return None
    sentence = f"{percent(row.number('mem_frac'))} of the samples are copies by the ratio rule"
    if row.has_values("mem_unique"):
        sentence += f", of {count(row.number('mem_unique'), 'distinct training image')}"
    if few:
        against = f"; of the held-out images, {percent(row.number('mem_frac_control'))} are" if compared else ""
        return f"{sentence}{against}."
    sentence += f": mem_frac {value(row, 'mem_frac')}"
    if not compared:
        return f"{sentence}; without held-out images it is not known how many unseen images the rule calls copies."
    return f"{sentence}, more than held-out images: {value(row, 'mem_frac_control')}."


def beyond_control(row: Row, copier: Row) -> bool:
    """Whether the ratio rule can see, and calls more of the samples copies than of the held-out images."""
    return _ratio_speaks(row, copier) and not row.few and row.above("mem_frac", "mem_frac_control")


def few_copies(row: Row, copier: Row) -> bool:
    """Whether so many of few distinct samples are copies as unseen images would hardly ever give."""
    if not row.few or not row["mem_unique"] or ratio_is_blind(row, copier):
        return False
    most = row["mem_frac_control_hi"]
    if most is None:
        return False
    from scipy.special import bdtrc

    distinct, copied = int(row.number("sample_distinct")), int(row.number("mem_unique"))
    return bool(bdtrc(min(copied, distinct) - 1, distinct, most) < FEW_CHANCE)


def changed_copies(row: Row, _: Row) -> str | None:
    """Copies that were moved, mirrored, toned or smoothed, which the plain rule misses."""
    if row.few or not row.has_values("aligned_frac"):
        return None
    if _alignment_is_blind(row):
        return (
            "Whether samples are changed copies cannot be decided here: the same rule calls "
            f"{share(row, 'aligned_control')} of the held-out images changed copies."
        )
    kinds = [(row[name] or 0.0, words) for name, words in KINDS_OF_CHANGE.items()]
    seen = [f"{words} ({percent(part)})" for part, words in sorted(kinds, reverse=True) if part >= TAIL]
    if not seen or not _beyond_control(row):
        return None
    against = (
        f"the same rule calls {share(row, 'aligned_control')} of the held-out images copies"
        if row.has_values("aligned_control")
        else "without held-out images it is not known how many unseen images the rule calls copies"
    )
    return f"Samples that the plain rule misses are changed copies: {', '.join(seen)}; {against}."


def changed_copies_are_shown(row: Row, copier: Row) -> bool:
    """Whether changed copies are found, and not only that they cannot be told, beside held-out images."""
    able = row.has_values("aligned_control") and not _alignment_is_blind(row)
    return able and changed_copies(row, copier) is not None


def copies_by_parts(row: Row, _: Row) -> str | None:
    """Collages: each quarter is a copy, of whichever training image."""
    if row.few or not row.has_values("tile_copy_frac"):
        return None
    if not _surely_above(row, "tile_copy_frac", "tile_copy_frac_control"):
        return None
    if row.number("tile_copy_frac_lo") <= max(row["mem_frac_hi"] or 0.0, row["aligned_frac_hi"] or 0.0):
        return None  # the whole images are copies, and so are their quarters
    against = f" (held-out images: {share(row, 'tile_copy_frac_control')})"
    has_control = row.has_values("tile_copy_frac_control")
    return (
        f"{share(row, 'tile_copy_frac')} of the samples are copies by parts: each quarter is a copy of a training "
        f"image's quarter{against if has_control else ''}."
    )


def unusually_near(row: Row, _: Row) -> str | None:
    """More samples near one training image than the rule at 1/3 calls copies."""
    if row.few or not row.has_values("copy_tail", "copy_tail_lo", "copy_tail_hi"):
        return None
    if row.number("copy_tail_lo") <= max(TAIL, row["mem_frac_hi"] or 0.0):
        return None
    return (
        f"{share(row, 'copy_tail')} of the samples lie nearer to one training image than 99 % of the held-out images "
        "do: the ratio rule alone understates how many are derived from one."
    )


def ratio_silent(row: Row, copier: Row) -> str | None:
    """The ratio rule found nothing: never that there are no copies, and always what it would have missed."""
    if not _ratio_speaks(row, copier) or ratio_copies(row, copier):
        return None
    numbers = f"mem_frac {value(row, 'mem_frac')}"
    if row.has_values("mem_frac_control"):
        sentence = "The ratio rule does not find more copies among the samples than among held-out images, within the "
        sentence += f"95 % intervals: {numbers}, held-out images {value(row, 'mem_frac_control')}"
    else:
        sentence = f"The ratio rule finds nothing among the samples: {numbers}"
    if row.has_values("mem_power") and row.number("mem_power") < SURE_POWER:
        sentence += f"; it would miss {percent(1 - row.number('mem_power'))} of copies with noise of 0.1 a pixel"
    return f"{sentence}."


def power(row: Row, copier: Row) -> str | None:
    """What the ratio rule would catch, where it has found something."""
    if not row.has_values("mem_power") or not ratio_copies(row, copier):
        return None
    return f"The rule would catch {percent(row.number('mem_power'))} of copies with noise of 0.1 a pixel at this size."


def of_other_kinds(row: Row, copier: Row) -> list[str]:
    """What shows copies beside the ratio rule, by comparison with held-out images: sentences, or none."""
    rules: list[Callable[[Row, Row], str | None]] = [unusually_near]
    if changed_copies_are_shown(row, copier):
        rules.insert(0, changed_copies)
    if row.has_values("tile_copy_frac_control_hi"):
        rules.insert(-1, copies_by_parts)
    return [sentence for rule in rules if not row.constant and (sentence := rule(row, copier))]


def _alignment_is_blind(row: Row) -> bool:
    return row.has_values("aligned_control_lo") and row.number("aligned_control_lo") > CONTROL_MOST


def _surely_above(row: Row, name: str, control: str) -> bool:
    """Above its control's interval; without held-out images, above 0."""
    if row.has_values(f"{control}_hi"):
        return row.above(name, control)
    lower = row[f"{name}_lo"]
    return lower is not None and lower > 0


def _beyond_control(row: Row) -> bool:
    """Whether more samples are changed copies than held-out images would be: by alignment, or smoothed ones."""
    aligned = _surely_above(row, "aligned_frac", "aligned_control")
    more = row.number("aligned_frac") - (row["mem_frac"] or 0.0) >= TAIL
    smoothed, most = row["aligned_smoothed"] or 0.0, row["aligned_smoothed_control_hi"]
    return (aligned and more) or (smoothed > TAIL and (most is None or smoothed > most))


def _ratio_speaks(row: Row, copier: Row) -> bool:
    return row.has_values("mem_frac") and not row.constant and not ratio_is_blind(row, copier)
