"""The page of an audit: answers first, then the copied pairs, the curves over checkpoints, controls and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from difgen_cli.report import Study, Written, controls, publish, spreadsheet
from difgen_cli.report.figures import listing
from difgen_cli.report.findings import answers
from difgen_cli.report.findings.answers import Answer, AuditedModel, Evidence
from difgen_cli.report.findings.answers import images as which
from difgen_cli.report.findings.answers.evidence import Checkpoint
from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.page import audit_parts, parts, stamp
from difgen_cli.report.page.document import document
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.study import claims, copied, least_loss, loading, standing_out
from difgen_cli.report.study.copied import Copied
from difgen_cli.report.study.standing_out import StandingOut
from difgen_cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.store import Store

OTHERS = "other-metrics"  # a figure of all measures without one of their own, which the page has in a table
NARROW = 72  # columns of a terminal, below which a question and its answer share their lines, and no table fits
MAIN = (*controls.FIRST, "gap_max", "gap_null", "mia_auc_025", "blind_auc", "clique_frac")  # measures, on the terminal
METHODS = (
    "An answer is made from these numbers by fixed rules, which docs/measures.md explains. Shown means that a 95 % "
    "interval lies beyond that of the control: held-out images in place of samples, or held-out in place of training "
    "images; of a claim, a p-value below 0.01. Not shown is no proof of absence. Intervals are given this model and "
    "these images."
)


@dataclass(frozen=True)
class Audited:
    """The study of an audit, and what was audited.

    copied, claims, standing_out: of the last finished checkpoint. notes: what a reader must know. left_out: metric ->
    why it was not measured.
    """

    study: Study
    subject: AuditedModel
    copied: Copied | None = None
    claims: pd.DataFrame | None = None
    notes: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    standing_out: StandingOut | None = None

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The rows of the model's finished checkpoints, by step."""
        rows = self.study.rows
        done = rows[(rows["kind"] == "model") & (rows["state"] == "done")]
        return done.sort_values("step", kind="stable") if "step" in done else done

    @cached_property
    def by_kind(self) -> dict[str, dict[str, Any]]:
        """The values of the last finished checkpoint, and of each reference that was scored."""
        rows = self.study.rows
        references = rows[(rows["kind"] != "model") & (rows["state"] == "done")]
        # Of unknown training images, the references are made of images in their place.
        return controls.by_kind(pd.concat([self.finished.tail(1), *([references] if self.subject.train else [])]))

    @cached_property
    def evidence(self) -> Evidence:
        """What the answers are made from."""
        done = self.finished
        steps = done.dropna(subset=["step"]) if "step" in done else done.head(0)
        lines = steps.to_dict("records")
        checkpoints = tuple(Checkpoint(int(one["step"]), Row({str(k): v for k, v in one.items()})) for one in lines)
        return Evidence(
            subject=self.subject,
            row=Row(self.by_kind.get("model", {})),
            copycat=Row(self.by_kind.get("copycat", {})),
            copied=self.copied,
            standing_out=self.standing_out,
            checkpoints=checkpoints,
            least_loss=_least_loss(self.study),
            left_out=self.left_out,
            absent="; ".join(self._causes) or "none is finished" if done.empty else "",
            claims=tuple(Row(line) for line in self.claim_lines),
        )

    @property
    def claim_lines(self) -> list[dict[str, Any]]:
        """Each claim with the name of its images, and its numbers."""
        records = [] if self.claims is None else self.claims.to_dict("records")
        own = [{str(name): value for name, value in line.items()} for line in records]
        return [{"images": printable(name)} | line for name, line in zip(self.subject.claims, own, strict=False)]

    @cached_property
    def answers(self) -> list[Answer]:
        """In the order of the page."""
        return answers.answered(self.evidence)

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before the answers."""
        rows = self.study.rows
        model = rows[rows["kind"] == "model"]
        missing = len(model) - len(self.finished)
        several = [f"{missing} of {len(model)} checkpoints have no numbers."] if missing and len(self.finished) else []
        words = [*(f"Failed: {cause}" for cause in self._causes), *several, *filter(None, [self.study.stale])]
        return [printable(word) for word in words]

    @property
    def remarks(self) -> list[str]:
        """What the plan noted."""
        return [printable(note) for note in self.notes]

    @property
    def absent(self) -> list[str]:
        """What was not measured, and why."""
        return [printable(f"Not computed: {metric}: {why}.") for metric, why in self.left_out.items()]

    @property
    def _causes(self) -> list[str]:
        return [str(cause) for cause in self.study.rows["cause"].dropna().unique()]

    @property
    def heading(self) -> str:
        """What was audited, with what it was compared."""
        subject = self.subject
        sha = f" (SHA-256 {subject.sha256[:12]}…)" if subject.sha256 else ""
        at = f", at step {self.evidence.checkpoints[-1].step:,}" if len(self.evidence.checkpoints) > 1 else ""
        if not subject.train:
            return printable(f"{subject.model}{sha}{at}, whose training images are not known")
        distinct = Row(self.by_kind.get("model", {}))["train_distinct"]
        images = f"{subject.train_images:,} images" + (f", {distinct:,.0f} distinct" if distinct is not None else "")
        held_out = "without held-out images"
        if subject.held_out_images:
            source = "the same pool" if subject.same_pool else "files of their own"
            named = f" {subject.held_out}" if subject.held_out else " images"
            held_out = f"and held-out{named} ({subject.held_out_images:,}, from {source})"
        return printable(f"{subject.model}{sha}{at}, against {subject.train} ({images}) {held_out}")


def gather(
    store: Store, name: str, folder: Path, subject: AuditedModel, *, notes: Sequence[str] = (),
    left_out: Mapping[str, str] | None = None, names: Sequence[str] | None = None,
) -> Audited:  # fmt: skip
    """Read an audit from its run directory. name, folder: of its grid. names: of the images, as they are loaded."""
    study = loading.gather(store, name, folder)[0]
    bare = Audited(study, subject)
    rows = bare.by_kind
    cells = {kind: str(row["cell"]) for kind, row in rows.items()}
    read = copied.read(store, cells["model"], cells.get("heldout"), names) if "model" in cells else None
    best = standing_out.read(study.curves, cells["model"], names) if "model" in cells and subject.train else None
    asked = claims.read(store, rows["model"]) if "model" in rows and subject.claims else None
    return Audited(study, subject, read, asked, tuple(notes), dict(left_out or {}), best)


def write(audited: Audited, out: Path, *, images: bool = False) -> Written:
    """Write `report.html`, `rows.csv`, `copied.csv`, `claims.csv` and `figures/` into `out`, unless all is there.

    images: also `exposed.csv`, and the same images on the page; else it is removed, since it is as private as they are.
    """
    of_copies = audited.copied.images if audited.copied is not None else pd.DataFrame()
    listed = _exposed(audited) if images else pd.DataFrame()
    digest = stamp.digest(
        audited.study.content, of_copies, listed, images, audited.heading,
        [answer.content for answer in audited.answers], audited.notes, dict(audited.left_out),
        str(audited.claim_lines),
    )  # fmt: skip
    files = stamp.kept(out, "page", digest)
    if files is None:
        files = _draw(audited, of_copies, listed, out, with_images=images)
        stamp.record(out, "page", digest, files)
    return Written(out / "report.html", [path for path in files if path.suffix == ".png"])


def show(audited: Audited, console: Console) -> None:
    """Print the answers, then the table of the main measures, then what was not measured and why."""
    soft = not console.is_terminal
    console.print(Text(audited.heading), soft_wrap=soft)
    for sentence in audited.warnings:
        console.print(Text(sentence, "yellow"), soft_wrap=soft)
    lines = [*((answer.question, answer.text) for answer in audited.answers), ("Not tested", audit_parts.not_tested())]
    if soft or console.width < NARROW:
        for question, text in lines:
            console.print(Text.assemble((question.upper(), "bold"), "  ", text), soft_wrap=soft)
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for question, text in lines:
            table.add_row(Text(question.upper()), Text(text))
        console.print(table)
    if audited.by_kind and (soft or console.width >= NARROW):
        title = printable(audited.study.question)
        console.print(controls.for_terminal(title, audited.by_kind, audited.study.curves, MAIN), crop=False)
    for sentence in [*audited.remarks, *audited.absent]:
        console.print(Text(sentence), soft_wrap=soft)


def content(audited: Audited, written: Written | None = None) -> dict[str, Any]:
    """The same for machines: answers, what was not tested, and every value; what does not exist is null."""
    named = [name for name, spec in audited.study.columns.items() if spec.meaning]
    rows = {
        kind: {name: None if pd.isna(row[name]) else row[name] for name in named if name in row}
        for kind, row in audited.by_kind.items()
    }
    images = [] if audited.copied is None else audited.copied.images.to_dict("records")
    asked = [{name: None if pd.isna(own) else own for name, own in line.items()} for line in audited.claim_lines]
    return {
        "question": audited.study.question, "audited": {**vars(audited.subject), "heading": audited.heading},
        "answers": [answer.content for answer in audited.answers], "not_tested": list(answers.NOT_TESTED),
        "warnings": audited.warnings, "notes": audited.remarks, "left_out": dict(audited.left_out),
        "claims": asked, "copied": images, "rows": rows, "report": str(written.page) if written else None,
    }  # fmt: skip


def _least_loss(study: Study) -> pd.Series | None:
    """The weighted held-out loss of the one training run."""
    runs = study.curves.least_loss.runs
    lines = runs[runs["level"] == least_loss.WEIGHTED] if len(runs) else runs
    return lines.iloc[0] if len(lines) == 1 else None


# The page ------------------------------------------------------------------------------------------------------------


def _exposed(audited: Audited) -> pd.DataFrame:
    """The lines of exposed.csv; none where nothing may be said of who was in."""
    best, album = audited.standing_out, audited.study.album
    if best is None or not which.standing_out(audited.evidence):
        return pd.DataFrame()
    near = None if album is None else album.nearest_samples(best.images.rename(columns={"place": "image"}))
    return best.images if near is None else best.images.assign(d1=near["d1"], sample=near["sample"].astype("Int64"))


def _draw(
    audited: Audited, images: pd.DataFrame, listed: pd.DataFrame, out: Path, *, with_images: bool
) -> list[Path]:  # fmt: skip
    """The page, its figures and the tables behind it; every file that was written."""
    several = len(audited.evidence.checkpoints) > 1
    figures = [one for one in listing.draw(audited.study.curves) if one.name != OTHERS] if several else []
    files = listing.save(figures, out / "figures")
    spreadsheet.write(audited.study.measured, out / "rows.csv")
    spreadsheet.write(images, out / "copied.csv")
    files += spreadsheet.write_each(
        {
            "exposed.csv": listed.drop(columns=["pool", "cell"], errors="ignore"),
            "claims.csv": pd.DataFrame(audited.claim_lines),
        },
        out,
    )
    page = out / "report.html"
    publish(page, _page(audited, figures, listed if with_images else None))
    return [*files, out / "rows.csv", out / "copied.csv", page]


def _page(audited: Audited, figures: list[DrawnFigure], listed: pd.DataFrame | None) -> str:
    methods = parts.note(METHODS) + "".join(map(parts.note, audited.absent)) + parts.provenance(audited.study)
    cell = str(audited.by_kind.get("model", {}).get("cell"))
    sections = [
        parts.section("Copied training images", audit_parts.copies(audited.copied, cell, audited.study.gallery)),
        _standing_out(audited, listed),
        parts.section("Claims", audit_parts.claims(audited.claim_lines)) if audited.claim_lines else "",
        parts.section("Over the checkpoints", "".join(map(parts.chart, figures))) if figures else "",
        parts.section("Controls", controls.for_page(audited.by_kind, audited.study.curves)) if audited.by_kind else "",
        parts.section("Methods and provenance", methods),
    ]
    return document("audit", f"{_header(audited)}<main>{''.join(sections)}</main>", figures)


def _standing_out(audited: Audited, listed: pd.DataFrame | None) -> str:
    """The section of exposed images; nothing where nothing may be said of who was in."""
    sentences = which.standing_out(audited.evidence)
    if audited.standing_out is None or not sentences:
        return ""
    shown = audited.standing_out if listed is None else replace(audited.standing_out, images=listed)
    asked = listed is not None
    body = audit_parts.standing_out(shown, sentences, audited.study.album, with_images=asked)
    return parts.section("The most exposed images", body)


def _header(audited: Audited) -> str:
    warnings = "".join(parts.note(text, "warning") for text in [*audited.warnings, *audited.remarks])
    return (
        f"<header><div><h1>{escape(printable(audited.study.question))}</h1>"
        f'<p class="question">{escape(audited.heading)}</p>{warnings}'
        f"{audit_parts.listed(audited.answers)}</div></header>"
    )
