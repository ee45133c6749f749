"""What answers are made from, and what they consist of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from difgen_cli.report.findings.numbers import Row, share
from difgen_cli.report.study import blind
from difgen_cli.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from difgen_cli.report.study.copied import Copied
    from difgen_cli.report.study.standing_out import StandingOut

FAR_MOST = 0.5  # of the samples, that may be farther from all training images than held-out ones are
ELSEWHERE = "HELD_OUT"  # in a command: images that the reader must find


class State(StrEnum):
    """What may be said to a question."""

    YES = "yes"
    NOT_SHOWN = "not_shown"
    UNKNOWN = "cannot_be_told"
    NOT_ASKED = "not_asked"


LEADS = {
    State.YES: "Yes", State.NOT_SHOWN: "Not shown", State.UNKNOWN: "Cannot be told", State.NOT_ASKED: "Not asked",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A question, its state, and sentences that carry the numbers.

    lead: the first words, by default those of the state. remedy: what would settle it, where it cannot be told.
    """

    question: str
    state: State
    sentences: tuple[str, ...]
    lead: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """The answer in one paragraph."""
        sentences = [f"{self.lead or LEADS[self.state]}.", *self.sentences]
        return " ".join([*sentences, *([f"To settle it: {self.remedy}"] if self.remedy else [])])

    @property
    def content(self) -> dict[str, Any]:
        """For machines."""
        return {
            "question": self.question, "state": self.state.value, "text": self.text,
            "sentences": list(self.sentences), "remedy": self.remedy or None,
        }  # fmt: skip


@dataclass(frozen=True)
class AuditedModel:
    """What is audited, as it was given, and the images that it is compared with.

    same_pool: the held-out images are a random part of one pool with the training images, so that nothing but chance
    tells them apart; False where they come from files of their own. train: empty where nobody knows the images.
    """

    model: str
    train: str
    train_images: int
    sha256: str = ""
    held_out: str | None = None
    held_out_images: int = 0
    same_pool: bool = False
    options: tuple[tuple[str, ...], ...] = ()  # others that were given, each with its value
    claims: tuple[str, ...] = ()  # images of which somebody asks whether they were used

    def command(self, *more: str, held_out: bool = True) -> str:
        """The audit again, with every measure that it has by default, and other options."""
        given = ["--held-out", self.held_out] if self.held_out else []
        if self.same_pool and self.held_out_images and not self.held_out:
            given = ["--hold-out", str(self.held_out_images)]
        given = given if held_out else []
        own = [word for option in self.options if option[0] not in more for word in option]
        against = ["--against", self.train] if self.train else []
        return printable(shlex.join(["difgen", "audit", self.model, *against, *given, *own, *more]))


@dataclass(frozen=True)
class Checkpoint:
    """The values of one checkpoint."""

    step: int
    row: Row


@dataclass(frozen=True)
class Evidence:
    """What the answers are made from: the values of the last checkpoint, and what they are compared with.

    copied: None where the nearest training images were not measured. standing_out: None where no losses were measured
    image by image. checkpoints: all that are finished, ascending.
    least_loss: the line of the weighted loss of `least_loss.per_run`; None without one. left_out: metric -> why.
    absent: why there are no values, where no checkpoint is finished. claims: a line each, of `study.claims.read`.
    """

    subject: AuditedModel
    row: Row
    copycat: Row
    copied: Copied | None = None
    standing_out: StandingOut | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    least_loss: pd.Series | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""
    claims: tuple[Row, ...] = ()

    @property
    def compared(self) -> bool:
        """Whether any held-out image is left to compare with."""
        return self.subject.held_out_images > (self.row["near_duplicates_held_out"] or 0)

    @property
    def differs(self) -> bool:
        """Whether held-out and training images differ so much that the model is not needed to tell them apart."""
        return blind.reason(self.row.values) is not None

    @property
    def unchecked(self) -> bool:
        """Whether the held-out images come from elsewhere, and nobody checked that they are of the same kind."""
        return not self.subject.same_pool and not self.row.has_values(blind.AREA, blind.LOWER, blind.UPPER)

    @property
    def strange(self) -> bool:
        """Whether most samples are not like the images at all, such as noise."""
        return self.copied is not None and self.copied.far is not None and self.copied.far > FAR_MOST

    def not_measured(self, question: str, metric: str) -> Answer:
        """The answer where a metric has no value: for the reason that the plan gave, or the row."""
        if self.absent:
            reason = f"No checkpoint was measured: {self.absent}."
            remedy = f"mend the cause, then {self.subject.command()}"
            return Answer(question, State.UNKNOWN, (reason,), remedy=remedy)
        if not self.compared:
            return self.without_held_out(question)
        reason = f": {why}" if (why := self.left_out.get(metric)) else ""
        again = f"mend that, then {self.subject.command()}" if reason else self.subject.command()
        return Answer(question, State.UNKNOWN, (f"What it needs was not measured{reason}.",), remedy=again)

    def without_held_out(self, question: str) -> Answer:
        """The answer where there is nothing to compare the training images with."""
        reason = "There are no held-out images: nothing says what the model does with images that it never saw."
        if self.subject.held_out_images:
            reason = f"All {self.subject.held_out_images:,} held-out images are training images, or nearly the same."
        remedy = self.subject.command("--held-out", ELSEWHERE, held_out=False)
        return Answer(question, State.UNKNOWN, (reason,), remedy=f"{remedy}, images of the same source, never shown")

    def of_another_kind(self, question: str) -> Answer | None:
        """The answer where the model is not needed to tell held-out images from training images; None where it is."""
        remedy = (
            f"{self.subject.command('--held-out', ELSEWHERE, held_out=False)}, images of the same source and format"
        )
        if self.differs:
            reason = (
                "Training and held-out images differ without the model: a classifier that never saw it tells one from "
                f"the other in {share(self.row, blind.AREA)} of pairs, where chance gives 50 %."
            )
            return Answer(question, State.UNKNOWN, (reason,), remedy=remedy)
        if self.unchecked:
            if blind.AREA in self.row:
                reason = (
                    "There are too few images to check whether training and held-out images differ without the model."
                )
                return Answer(question, State.UNKNOWN, (reason,), remedy=remedy)
            reason = "Nobody checked whether training and held-out images differ without the model."
            return Answer(question, State.UNKNOWN, (reason,), remedy=self.subject.command())
        return None
