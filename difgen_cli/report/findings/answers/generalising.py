"""Does it generalise? Whether training images are treated as unseen ones are, and how good the samples are."""

from __future__ import annotations

from difgen_cli.report.findings import samples
from difgen_cli.report.findings.answers import copying
from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.numbers import Row, percent, share
from difgen_cli.report.findings.samples import Lean
from difgen_cli.report.plotting import labels

QUESTION = "Does it generalise?"
SLIGHT = 0.05  # a gap that no reader would call one, however surely it is there
POOR = 10.0  # floors: a network that copies 64 digits is 11 of them away from real ones, one that generalises 1.8


def does_it_generalise(evidence: Evidence) -> Answer:
    """Yes only where nothing speaks against it, each measure could have, and the samples are good."""
    row = evidence.row
    if evidence.absent or not evidence.compared:
        return evidence.not_measured(QUESTION, "gap")
    if answer := evidence.of_another_kind(QUESTION):
        return answer
    copied = copying.does_it_copy(evidence)
    if copied.state is State.UNKNOWN and (row.constant or row.few or evidence.strange):
        return Answer(QUESTION, State.UNKNOWN, copied.sentences, remedy=copied.remedy)
    for metric, column in (("gap", "gap_max"), ("preference", "train_pref_excess"), ("frechet", "fd_test")):
        if column not in row:
            return evidence.not_measured(QUESTION, metric)
    if not row.has_values("gap_max", "gap_max_lo", "gap_max_hi", "gap_null"):
        return evidence.not_measured(QUESTION, "gap")
    gap, (verdict, why) = gap_is_open(row), samples.leaning(row)
    sentences = [_gap(row, gap), *_leaning(row, verdict, why), *_quality(row)]
    poor = is_poor(row)
    against = [gap and row.number("gap_max_lo") > SLIGHT, verdict is Lean.NEARER, copied.state is State.YES, poor]
    if any(against):
        if copied.state is State.YES:
            sentences.append("It copies, as said above.")
        return Answer(QUESTION, State.NOT_SHOWN, tuple(sentences))
    if verdict is Lean.UNDECIDED or copied.state is State.UNKNOWN or _floors(row) is None:
        if copied.state is State.UNKNOWN:
            sentences.append("Whether it copies cannot be told.")
        remedy = evidence.subject.command("--count", f"{4 * (row['sample.count'] or 250):.0f}")
        return Answer(QUESTION, State.UNKNOWN, tuple(sentences), remedy=f"{remedy}, or more held-out images")
    return Answer(QUESTION, State.YES, tuple(sentences), lead="Yes, as far as these measures see")


def gap_is_open(row: Row) -> bool:
    """Whether the error on held-out images is surely larger, and by more than between two random halves of them.

    The largest of many gaps is above 0 without any; in 95 % of cases that of two halves is below `gap_null`.
    """
    needed = row.has_values("gap_max", "gap_max_lo", "gap_null")
    return needed and row.number("gap_max_lo") > 0 and row.number("gap_max") > row.number("gap_null")


def is_poor(row: Row) -> bool:
    """Whether the samples as a whole are surely far from held-out images."""
    lower, floor = row["fd_test_lo"], row["fd_floor"]
    return lower is not None and floor is not None and lower > POOR * floor


def _gap(row: Row, is_open: bool) -> str:
    """Where the error on held-out images is larger most, and by how much."""
    where = f" (at noise of {labels.number(row['gap_sigma'])} times the images' spread)" if row["gap_sigma"] else ""
    null = percent(row.number("gap_null"))
    if is_open:
        return (
            f"Its error on held-out images is {_larger(row)} on training images{where}; between two halves of the "
            f"held-out images the largest such difference is below {null} in 95 % of cases."
        )
    most = percent(max(row.number(name) for name in ("gap_max_hi", "gap_max", "gap_null")))
    return (
        "Its error on held-out images is not shown to be larger than on training images: the largest difference is "
        f"{share(row, 'gap_max')}{where}, and between two halves of the held-out images up to {null}; one above {most} "
        "would have been seen."
    )


def _larger(row: Row) -> str:
    """`45 % [40 %, 51 %] larger than`, and from twice on `3.1 [2.9, 3.4] times that`."""
    if row.number("gap_max") < 1:
        return f"{share(row, 'gap_max')} larger than"
    value, lower, upper = (labels.number(1 + row.number(f"gap_max{end}")) for end in ("", "_lo", "_hi"))
    return f"{value} [{lower}, {upper}] times that"


def _leaning(row: Row, verdict: Lean, why: str) -> list[str]:
    share_words = f": {share(row, 'train_pref_share')} as much as exact copies" if samples.has_share(row) else ""
    if verdict is Lean.NEARER:
        return [f"Its samples lie nearer to the training images than held-out images do{share_words}."]
    if verdict is Lean.UNDECIDED:
        return [f"Whether its samples lie nearer to the training images cannot be decided: {why}."]
    if verdict is Lean.FARTHER:
        return ["Its samples lie nearer to held-out images than to training images."]
    return [f"Its samples are not shown to lie nearer to the training images than held-out images do{share_words}."]


def _quality(row: Row) -> list[str]:
    """How far the samples as a whole are from held-out images, in floors: what real images are from one another."""
    floors = _floors(row)
    if floors is None:
        return []
    floor, ends = row.number("fd_floor"), (row["fd_test_lo"], row["fd_test_hi"])
    written = labels.number(floors)
    if ends[0] is not None and ends[1] is not None:
        written += f" [{labels.number(ends[0] / floor)}, {labels.number(ends[1] / floor)}]"
    far = ", which is far" if is_poor(row) else ""
    return [
        f"As a whole they are {written} times as far from held-out images as real images are from one another{far}."
    ]


def _floors(row: Row) -> float | None:
    floor = row["fd_floor"]
    return row.number("fd_test") / floor if row.has_values("fd_test") and floor else None
