"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli import completion

if TYPE_CHECKING:
    from difgen_cli.engine.store.notes import Annotation

GridFile = Annotated[Path, typer.Argument(help="A grid file, such as grids/size.yaml.", metavar="GRID")]
Runs = Annotated[Path, typer.Option("--runs", help="The run directory.", envvar="DIFGEN_RUNS", metavar="FOLDER")]
RunsArgument = Annotated[Path | None, typer.Argument(help="The run directory.", metavar="RUNS")]
RunsOption = Annotated[
    Path | None, typer.Option("--runs", help="The run directory; default: $DIFGEN_RUNS, else runs.", metavar="FOLDER")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Replace a setting or an axis.", metavar="KEY=VALUE")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only cells with this value.", metavar="KEY=VALUE", autocompletion=completion.cells),
]
GridName = Annotated[
    str | None,
    typer.Option("--grid", help="The grid; default: the newest.", metavar="NAME", autocompletion=completion.grids),
]
EveryGrid = Annotated[
    str | None,
    typer.Option(
        "--grid", help="One grid's name; default: every grid.", metavar="NAME", autocompletion=completion.grids
    ),
]
Note = Annotated[
    str | None, typer.Option("--note", help="A note to keep with the grid, at most 500 characters.", metavar="TEXT")
]
Tag = Annotated[list[str] | None, typer.Option("--tag", help="A tag to keep with the grid.", metavar="TAG")]
CellWords = Annotated[
    list[str],
    typer.Argument(
        help="An index of `plan`, the beginning of a key, or KEY=VALUE filters.",
        metavar="CELL",
        autocompletion=completion.cells,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Cluster = Annotated[
    str,
    typer.Option(
        help="Where to run: auto, local, slurm or inline.", metavar="WHERE", autocompletion=completion.clusters
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="How many workers; default: one per GPU or core.", metavar="N")
]
JobsPerGpu = Annotated[str, typer.Option(help="Workers that share one GPU: a number, or auto.", metavar="N")]
Profile = Annotated[str | None, typer.Option(help="A profile of difgen.toml.", metavar="NAME")]
Against = Annotated[
    Path, typer.Option(help="What the model was trained on: a folder, Parquet, .npz, or digits.", metavar="IMAGES")
]
HeldOut = Annotated[Path | None, typer.Option(help="Images of the same kind, never trained on.", metavar="IMAGES")]
HoldOut = Annotated[
    int | None, typer.Option(min=1, help="How many held-out images to draw from --against.", metavar="N")
]
Mirrored = Annotated[bool, typer.Option("--mirrored", help="Training used mirror images too.")]
CopyFeatures = Annotated[
    str | None, typer.Option("--copy-features", help="Look for copies in this feature space too.", metavar="NAME")
]
ReportFolder = Annotated[
    Path | None, typer.Option("--out", help="The folder of the report; default: report/NAME.", metavar="FOLDER")
]

Force = Annotated[bool, typer.Option("--force", help="Replace the file.")]

CLUSTERS = ("auto", "local", "slurm", "inline")


def check_choice(option: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise GridError for a value that is not one of those allowed."""
    from difgen_cli.engine.grid.document import GridError

    if value not in allowed:
        raise GridError(f"{option} {value}: choose from {', '.join(str(a) for a in allowed if a)}")


def jobs_per_gpu_of(text: str) -> int | None:
    """How many workers share one GPU; None: as many as a probe finds best."""
    from difgen_cli.engine.grid.document import GridError

    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise GridError(f"--jobs-per-gpu {text}: write a whole number of at least 1, or auto")
    return int(text)


def run_directory(argument: Path | None, option: Path | None) -> Path:
    """The run directory, named as an argument or by --runs, else by $DIFGEN_RUNS; GridError where both name one."""
    from difgen_cli.engine.grid.document import GridError

    if argument is not None and option is not None:
        raise GridError(f"{argument} and --runs {option}: name the run directory once")
    return argument or option or Path(os.environ.get("DIFGEN_RUNS") or "runs")


def check_free(path: Path, *, force: bool, may_force: bool = True) -> None:
    """GridError where a file is in the way that nobody asked to replace. may_force: the command has --force."""
    from difgen_cli.engine.grid.document import GridError

    if path.exists() and not force:
        raise GridError(f"{path}: exists; name another file{', or replace it with --force' if may_force else ''}")


def existing(runs: Path) -> Path:
    """The same folder; GridError where it is no run directory."""
    from difgen_cli.engine import select

    return select.existing(runs)


def settings_of(texts: list[str] | None, option: str = "--set") -> dict[str, str]:
    """The values of --set, or of another option, by their keys; GridError for what is not KEY=VALUE."""
    from difgen_cli.engine.grid.document import GridError

    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise GridError(f"{option} {text}: write KEY=VALUE, such as model.width=128")
        pairs[key.strip()] = value.strip()
    return pairs


def annotation_of(note: str | None, tags: Sequence[str] | None, removed: Sequence[str] | None = None) -> Annotation:
    """What a person adds to the notes of a grid; GridError for what cannot be kept."""
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.store.notes import Annotation

    annotation = Annotation((note or "").strip(), tuple(tags or ()), tuple(removed or ()))
    if (fault := annotation.fault()) is not None:
        raise GridError(fault)
    return annotation
