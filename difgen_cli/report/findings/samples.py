"""What can be said of one set of samples beside held-out images and an exact copier.

`RULES` are in the order in which a reader must hear them: first what makes the other numbers say little, then copies,
then the lean towards the training images, then what the measures could not have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from difgen_cli.report.findings.numbers import Row, count, percent, share, value
from difgen_cli.report.plotting import labels

FEW = 10  # distinct images, below which shares and intervals over samples say little
SURE_POWER = 0.9  # from which on a rule that finds nothing rules plain copies out
CONTROL_MOST = 0.05  # of held-out images that a rule may call copies before it counts as blind
COPYCAT_LEAST = 0.9  # of exact copies that a rule must see
TAIL = 0.01  # what copy_tail is without copies
KINDS_OF_CHANGE = {
    "aligned_shifted": "moved by a pixel",
    "aligned_mirrored": "mirrored",
    "aligned_toned": "changed in brightness or contrast",
    "aligned_smoothed": "smoothed",
}

Rule = Callable[[Row, Row], str | None]  # the samples' row, an exact copier's (empty where it was not scored)


def of_samples(row: Mapping[str, Any], copycat: Mapping[str, Any] | None = None) -> list[str]:
    """The sentences for one row of samples; `copycat`: the row of resampled training images."""
    return [sentence for _, sentence in told(row, copycat)]


def told(row: Mapping[str, Any], copycat: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """The name of each rule that has something to say, and its sentence."""
    samples, copier = Row(row), Row(copycat or {})
    for name, rule in RULES.items():
        sentence = rule(samples, copier)
        if sentence:
            yield name, sentence


# What the samples are ------------------------------------------------------------------------------------------------


def one_colour(row: Row, _: Row) -> str | None:
    constant = row["sample_constant"]
    if not constant:
        return None
    if _all_constant(row):
        return "All samples are of a single colour: these measures say nothing about copying here."
    of = f" of {row['sample.count']:,.0f}" if row.known("sample.count") else ""
    verb = "is" if constant == 1 else "are"
    return f"{constant:,.0f}{of} samples {verb} of a single colour; the preference leaves them out."


def few_distinct(row: Row, _: Row) -> str | None:
    distinct, n = row["sample_distinct"], row["sample.count"]
    if distinct is None or _all_constant(row):
        return None
    if not _few(row):
        many_repeat = n is not None and 2 * distinct <= n
        return f"The {n:,.0f} samples are {distinct:,.0f} distinct images." if many_repeat else None
    if distinct == 1:
        return "All samples are one image: no share of samples says how often the model copies."
    return (
        f"The samples are only {distinct:.0f} distinct images: no share of samples says how often the model copies, "
        "and no interval over samples holds."
    )


def old_version(row: Row, _: Row) -> str | None:
    """Rows of `memorization` before version 3 know nothing of repeats."""
    if not row["near_duplicates"] or row.known("train_distinct"):
        return None
    return (
        f"{count(row.number('near_duplicates'), 'training image')} have a near-duplicate among the others, and the "
        "version of memorization that made these numbers misses copies of them: score again."
    )


def ratio_is_blind(row: Row, copier: Row) -> str | None:
    """The ratio rule's own controls say that it cannot tell copies here."""
    if "mem_frac" in row and row["mem_frac"] is None:
        return (
            "The training set is a single distinct image: there is no second nearest one, and the ratio rule says "
            "nothing."
        )
    if row.known("mem_frac", "mem_frac_control_lo") and row.number("mem_frac_control_lo") > CONTROL_MOST:
        return (
            f"The ratio rule cannot tell copies here: it calls {share(row, 'mem_frac_control')} of the held-out images "
            "copies."
        )
    if row.known("mem_frac") and copier.known("mem_frac") and copier.number("mem_frac") < COPYCAT_LEAST:
        return (
            f"The ratio rule cannot see copies here: it calls only {percent(copier.number('mem_frac'))} of the "
            "training images themselves copies."
        )
    return None


# Copies --------------------------------------------------------------------------------------------------------------


def identical(row: Row, _: Row) -> str | None:
    found = row["mem_identical"]
    if not found:
        return None
    of = f" of {row['sample.count']:,.0f}" if row.known("sample.count") else ""
    verb = "is" if found == 1 else "are"
    return f"{found:,.0f}{of} samples {verb} identical to a training image in every value."


def ratio_copies(row: Row, copier: Row) -> str | None:
    """Samples called copies by d1/d2 < 1/3, where more are than of the held-out images, or nothing can be compared."""
    if not _ratio_speaks(row, copier) or row.number("mem_frac") == 0:
        return None
    compared, few = row.known("mem_frac_control_hi"), _few(row)
    if compared and not few and not row.above("mem_frac", "mem_frac_control"):
        return None
    said = f"{percent(row.number('mem_frac'))} of the samples are copies by the ratio rule"
    if row.known("mem_unique"):
        said += f", of {count(row.number('mem_unique'), 'distinct training image')}"
    if few:
        against = f"; of the held-out images {percent(row.number('mem_frac_control'))}" if compared else ""
        return f"{said}{against}."
    said += f": mem_frac {value(row, 'mem_frac')}"
    if not compared:
        return f"{said}; without held-out images nothing says how many of such images would be."
    return f"{said}, more than held-out images: {value(row, 'mem_frac_control')}."


def changed_copies(row: Row, _: Row) -> str | None:
    """Copies that were moved, mirrored, toned or smoothed, which the plain rule misses."""
    if _few(row) or not row.known("aligned_frac"):
        return None
    if row.known("aligned_control_lo") and row.number("aligned_control_lo") > CONTROL_MOST:
        return (
            "Whether samples are changed copies cannot be told here: undone in the same way, "
            f"{share(row, 'aligned_control')} of the held-out images would be called so."
        )
    kinds = [(row[name] or 0.0, words) for name, words in KINDS_OF_CHANGE.items()]
    seen = [f"{words} ({percent(part)})" for part, words in sorted(kinds, reverse=True) if part >= TAIL]
    if not seen or not _beyond_control(row):
        return None
    against = (
        f"of the held-out images {share(row, 'aligned_control')} would be"
        if row.known("aligned_control")
        else "without held-out images nothing says how many of such images would be"
    )
    return f"Samples that the plain rule misses are changed copies: {', '.join(seen)}; {against}."


def copies_by_parts(row: Row, _: Row) -> str | None:
    """Collages: each quarter is a copy, of whichever training image."""
    if _few(row) or not row.known("tile_copy_frac"):
        return None
    if not _surely_above(row, "tile_copy_frac", "tile_copy_frac_control"):
        return None
    if row.number("tile_copy_frac_lo") <= max(row["mem_frac_hi"] or 0.0, row["aligned_frac_hi"] or 0.0):
        return None  # the whole images are copies, and so are their quarters
    against = f" (of the held-out images {share(row, 'tile_copy_frac_control')})"
    known = row.known("tile_copy_frac_control")
    return (
        f"{share(row, 'tile_copy_frac')} of the samples are copies by parts: each quarter is a copy of a training "
        f"image's quarter{against if known else ''}."
    )


def unusually_near(row: Row, _: Row) -> str | None:
    """More samples near one training image than the rule at 1/3 calls copies."""
    if _few(row) or not row.known("copy_tail", "copy_tail_lo", "copy_tail_hi"):
        return None
    if row.number("copy_tail_lo") <= max(TAIL, row["mem_frac_hi"] or 0.0):
        return None
    return (
        f"{share(row, 'copy_tail')} of the samples lie nearer to one training image than 99 % of the held-out images "
        "do: the rule at d1/d2 < 1/3 alone understates how many are derived from one."
    )


# The lean towards the training images --------------------------------------------------------------------------------


def lean(row: Row, _: Row) -> str | None:
    """Are samples nearer to training images than as many unseen images are? With what an exact copier would read."""
    if "train_pref_excess" not in row or _all_constant(row):
        return None
    start = "Whether the samples lean towards the training images cannot be told"
    if not row.known("train_pref_excess"):
        distinct = row["train_pref_distinct"]
        return f"{start}: too few distinct samples took part ({distinct:.0f})." if distinct is not None else None
    if not row.known("train_pref_excess_lo", "train_pref_excess_hi"):
        if row.known("train_pref_winners"):
            deciding = count(round(row.number("train_pref_winners")), "distinct image")
            return f"{start}: it rests on about {deciding}, too few."
        return f"{start}: there are too few images to form an interval."
    lower, upper = row.number("train_pref_excess_lo"), row.number("train_pref_excess_hi")
    numbers = f"train_pref_excess {value(row, 'train_pref_excess')}"
    copier = row["train_pref_copycat"]
    if lower > 0:
        part = f", {share(row, 'train_pref_share')} of what an exact copier reads" if _has_share(row) else ""
        return f"The samples lie nearer to the training images than held-out images do: {numbers}{part}."
    if upper < 0:
        return f"The samples lie nearer to the held-out images than other held-out images do: {numbers}."
    if copier is not None and upper >= copier:
        return f"{start}: an exact copier reads {labels.number(copier)} here, within the interval ({numbers})."
    limit = ""
    if _has_share(row):
        limit = f"; the interval ends at {percent(row.number('train_pref_share_hi'))} of what an exact copier reads"
    return f"No lean towards the training images was seen: {numbers}{limit}."


# What could not have been seen ---------------------------------------------------------------------------------------


def ratio_silent(row: Row, copier: Row) -> str | None:
    """The ratio rule found nothing: never that there are no copies, and always what it would have missed."""
    if not _ratio_speaks(row, copier) or ratio_copies(row, copier):
        return None
    numbers = f"mem_frac {value(row, 'mem_frac')}"
    if row.known("mem_frac_control"):
        said = "What the ratio rule finds among the samples is not surely more than held-out images give: "
        said += f"{numbers}, held-out images {value(row, 'mem_frac_control')}"
    else:
        said = f"The ratio rule finds nothing among the samples: {numbers}"
    if row.known("mem_power") and row.number("mem_power") < SURE_POWER:
        said += f"; it would miss {percent(1 - row.number('mem_power'))} of copies with noise of 0.1 a pixel"
    return f"{said}."


def power(row: Row, copier: Row) -> str | None:
    """What the ratio rule would catch, where it has found something."""
    if not row.known("mem_power") or not ratio_copies(row, copier):
        return None
    return f"The rule would catch {percent(row.number('mem_power'))} of copies with noise of 0.1 a pixel at this size."


def repeats(row: Row, _: Row) -> str | None:
    if not row["near_duplicates"] or not row.known("train_distinct"):
        return None
    near, distinct = row.number("near_duplicates"), count(row.number("train_distinct"), "distinct image")
    return (
        f"{count(near, 'training image')} {'has a' if near == 1 else 'have'} near-duplicate{'' if near == 1 else 's'} "
        f"in the training set: repeats count as one image, which leaves {distinct}."
    )


def held_out_left_out(row: Row, _: Row) -> str | None:
    found = row["near_duplicates_held_out"]
    if not found:
        return None
    return (
        f"{count(found, 'held-out image was', 'held-out images were')} left out: an image that may be trained on is "
        "nearly the same, as it is or mirrored."
    )


def nothing_found(row: Row, copier: Row) -> str | None:
    """Said only where every measure that was scored could see, and saw nothing; it is no proof of absence."""
    needed = ("mem_frac", "mem_frac_control_hi", "train_pref_excess", "train_pref_excess_lo", "train_pref_excess_hi")
    if not row.known(*needed) or _few(row) or row["sample_constant"] or ratio_is_blind(row, copier):
        return None
    if any(rule(row, copier) for rule in (old_version, identical, changed_copies, copies_by_parts, unusually_near)):
        return None
    if row.above("mem_frac", "mem_frac_control"):
        return None
    if not row.number("train_pref_excess_lo") <= 0 <= row.number("train_pref_excess_hi"):
        return None
    copycat = row["train_pref_copycat"]
    if copycat is not None and row.number("train_pref_excess_hi") >= copycat:
        return None
    weak = "weak copies and " if (row["mem_power"] or 0.0) < SURE_POWER else ""
    return (
        f"Nothing here tells the samples from images that were never trained on; {weak}copies that are changed more "
        "(rotated, say) can be missed."
    )


def _all_constant(row: Row) -> bool:
    constant, n = row["sample_constant"], row["sample.count"]
    distinct = row["train_pref_distinct"]
    if not constant:
        return False
    return constant == n if n is not None else distinct == 0


def _few(row: Row) -> bool:
    """Whether the samples are so few distinct images that shares of samples say little."""
    distinct, n = row["sample_distinct"], row["sample.count"]
    return distinct is not None and distinct < FEW and (n is None or n > distinct)


def _surely_above(row: Row, name: str, control: str) -> bool:
    """Above its control's interval; without held-out images, above 0."""
    if row.known(f"{control}_hi"):
        return row.above(name, control)
    lower = row[f"{name}_lo"]
    return lower is not None and lower > 0


def _beyond_control(row: Row) -> bool:
    """Whether more samples are changed copies than held-out images would be: by alignment, or smoothed ones."""
    aligned = _surely_above(row, "aligned_frac", "aligned_control")
    more = row.number("aligned_frac") - (row["mem_frac"] or 0.0) >= TAIL
    smoothed, most = row["aligned_smoothed"] or 0.0, row["aligned_smoothed_control_hi"]
    return (aligned and more) or (smoothed > TAIL and (most is None or smoothed > most))


def _has_share(row: Row) -> bool:
    return row.known("train_pref_share", "train_pref_share_lo", "train_pref_share_hi")


def _ratio_speaks(row: Row, copier: Row) -> bool:
    return row.known("mem_frac") and not _all_constant(row) and not ratio_is_blind(row, copier)


# name -> rule, in the order in which they are told
RULES: dict[str, Rule] = {
    "one_colour": one_colour,
    "few_distinct": few_distinct,
    "old_version": old_version,
    "ratio_is_blind": ratio_is_blind,
    "identical": identical,
    "ratio_copies": ratio_copies,
    "changed_copies": changed_copies,
    "copies_by_parts": copies_by_parts,
    "unusually_near": unusually_near,
    "ratio_silent": ratio_silent,
    "power": power,
    "lean": lean,
    "repeats": repeats,
    "held_out_left_out": held_out_left_out,
    "nothing_found": nothing_found,
}
