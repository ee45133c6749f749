"""The report: from the rows of a grid to its numbers, sentences, figures, table and one self-contained page.

Importing this package is cheap: pandas, matplotlib and rich are imported when something is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from difgen_cli.engine.columns import Columns
    from difgen_cli.report.study.album import Album
    from difgen_cli.report.study.curves import Curves


@dataclass(frozen=True)
class Pair:
    """A generated sample and its nearest training image; `ratio` is d1/d2 of Yoon et al. 2023 (0 … 1).

    identical: in every value. nearness: what pairs are ordered by, 0 for identical ones; NaN where it is not known.
    """

    seed: int
    ratio: float
    memorized: bool
    sample_png: bytes
    nearest_png: bytes
    label: int | None
    identical: bool = False
    nearness: float = float("nan")


# (cells, how many) -> by cell its most copied samples first; a cell without pictures may be left out
Gallery = Callable[[Sequence[str], int], dict[str, list[Pair]]]


@dataclass(frozen=True)
class Study:
    """One grid and everything known of its cells.

    rows: one line per planned cell, also the missing and the failed ones: a column per setting (`data.size`),
    `kind` (model, heldout, copycat, ideal), `seed`, `step`, `cell`, `trajectory`, `state` (done, missing, failed,
    stale), `cause`, and every metric. tables: by name those that metrics declare with a column `sigma_rel` or
    `repeats`, lines per noise level or number of repeats with the same setting columns; a missing or an empty one is
    not drawn. columns: by name what metrics declare of their columns. stale: what is to be said of stale cells, which
    are not drawn; or nothing. held_back: columns of the rows with what must not be stated (see
    `report/study/blind.py`), and is in rows.csv alone. exposure: the losses image by image (see
    `report/study/exposure.py`), if any. image_names: what images are called, by the key of their data set, where they
    have names. album: the images of the data sets and of the cells' samples as pictures. grid: the
    grid's YAML.
    """

    name: str
    question: str
    axes: dict[str, list[Any]]
    seeds: int
    rows: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    columns: Columns
    gallery: Gallery
    provenance: dict[str, str]
    stale: str = ""
    held_back: pd.DataFrame | None = None
    exposure: pd.DataFrame | None = None
    image_names: dict[str, list[str]] = field(default_factory=dict)
    album: Album | None = None
    notes: list[str] = field(default_factory=list)
    grid: str = ""

    @property
    def measured(self) -> pd.DataFrame:
        """The rows with all that was measured."""
        return (
            self.rows if self.held_back is None else self.rows.assign(**{str(c): v for c, v in self.held_back.items()})
        )

    @property
    def content(self) -> dict[str, Any]:
        """All but the pictures, which the rows' cells name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("gallery", "album")}

    @cached_property
    def curves(self) -> Curves:
        """The study made ready for drawing, once."""
        from difgen_cli.report.study import curves

        return curves.read(self)


@dataclass(frozen=True)
class Written:
    """What `write` left: the page, and the figures' PNG files (other formats, CSV and caption are next to each)."""

    page: Path
    figures: list[Path]


def write(
    study: Study, out: Path, *, paper: bool = False, reload: bool = False, images: bool = False
) -> Written:  # fmt: skip
    """Write `report.html`, `figures/*.{png,svg,csv,txt}`, `rows.csv`, `last.csv` and, where they exist, `onset.csv`,
    `slopes.csv`, `matched.csv`, `efficiency.csv`, `efficiency_runs.csv`, `clusters.csv`, `least_loss.csv`,
    `least_loss_runs.csv`, `errors_along.csv`, `paths.csv`, `detection.csv`, `calibrated.csv`, `calibrated_runs.csv`,
    `canaries.csv` and `prototypes.csv` into the folder `out`; with `paper` also `*.{png,svg,pdf,csv,txt}` in
    `paper/column` and `paper/text`; with `images` also `images.csv` and `images_cells.csv`, and names and pictures of
    the most exposed images on the page: else they are removed, since they are as private as the images.

    What shows the same as before is left as it is; other files of the same names are replaced, and a figure whose axis
    is gone is removed. reload: a browser loads the page again every few seconds.
    """
    from difgen_cli.report.page import stamp
    from difgen_cli.report.page.document import reloading

    digest = stamp.digest(study.content, images)
    drawn = stamp.kept(out, "page", digest)
    if drawn is None:
        stamp.forget(out, "paper")  # else old figures would look like this study's
        drawn = _draw(study, out, reload=reload, with_images=images)
        stamp.record(out, "page", digest, drawn)
    if paper and stamp.kept(out, "paper", digest) is None:
        stamp.record(out, "paper", digest, _draw_for_paper(study, out / "paper"))
    page = out / "report.html"
    publish(page, reloading(page.read_text(encoding="utf-8"), on=reload))
    return Written(page, [path for path in drawn if path.suffix == ".png"])


def _draw(study: Study, out: Path, *, reload: bool, with_images: bool) -> list[Path]:
    """The page, its figures and the tables behind it; every file that was written."""
    from difgen_cli.report import page, spreadsheet
    from difgen_cli.report.figures import listing
    from difgen_cli.report.page.document import reloading
    from difgen_cli.report.study import (
        calibrated,
        canaries,
        clusters,
        detection,
        efficiency,
        errors_along,
        images,
        least_loss,
        matched,
        onset,
        paths,
        prototypes,
    )

    read = study.curves
    drawn = listing.draw(read)
    files = listing.save(drawn, out / "figures")
    spreadsheet.write(study.measured, out / "rows.csv")
    spreadsheet.write(read.last, out / "last.csv")
    files += [out / "rows.csv", out / "last.csv", *onset.write(read.finished.onsets, out)]
    files += clusters.write(clusters.bounds(read), out)
    files += least_loss.write(read.least_loss, out)
    files += matched.write(matched.compared(read), out)
    files += efficiency.write(read.efficiency, out)
    files += errors_along.write(errors_along.read(read), out)
    files += paths.write(paths.read(read), out)
    files += detection.write(detection.read(read), out)
    files += calibrated.write(read.calibrated, out)
    files += canaries.write(read.canaries, out)
    files += prototypes.write(read.prototypes, out)
    tables = images.named(read, study.image_names, study.album) if with_images else images.NOBODY_ASKED
    files += images.write(tables, out)
    content = page.compose(study, drawn, tables[0] if with_images else None)
    publish(out / "report.html", reloading(content, on=reload))
    return [*files, out / "report.html"]


def _draw_for_paper(study: Study, folder: Path) -> list[Path]:
    """Every figure at a paper's widths; every file that was written."""
    from difgen_cli.report.figures import listing
    from difgen_cli.report.plotting.paper import PAPERS

    files = []
    for paper in PAPERS:
        files += listing.save(listing.draw(study.curves, paper), folder / paper.name)
    return files


def publish(page: Path, content: str) -> None:
    """Write a page in one go, unless it is there: whoever opens it meanwhile sees the old or the new one, whole."""
    from difgen_cli.engine.store.files import replace

    def fill(path: Path) -> None:
        path.write_text(content, encoding="utf-8")

    if not page.exists() or page.read_text(encoding="utf-8") != content:
        replace(page, fill)


def summary(study: Study, *, width: int | None = None) -> Table:
    """The last snapshots, over seeds. `width`: columns of the terminal, to drop what does not fit; None: keep all."""
    from difgen_cli.report.table import table

    return table(study.curves, study.name, width)


def sentences(study: Study) -> list[str]:
    """What the numbers of a study say, the most important first."""
    from difgen_cli.report import findings

    return findings.of_study(study.curves)


def show(study: Study, console: Console, *, first: int | None = None) -> None:
    """Print what was found, `summary`, and all else that there is to say: fitted to a terminal, never cut when piped.

    first: print only so many sentences, and nothing below the table.
    """
    from rich.table import Table
    from rich.text import Text

    from difgen_cli.report import findings

    written = sentences(study)
    above = written[: findings.FIRST if first is None else first]

    def print_sentence(sentence: str) -> None:
        """Wrapped between words below a bullet; a line of its own in a pipe."""
        if not console.is_terminal:
            console.print(Text(sentence), soft_wrap=True)
            return
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row("•", Text(sentence))
        console.print(line)

    for sentence in above:
        print_sentence(sentence)
    fitted = summary(study, width=console.width if console.is_terminal else None)
    console.print(fitted, crop=False)
    for sentence in written[len(above) :] if first is None else ():
        print_sentence(sentence)
