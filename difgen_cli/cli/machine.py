"""What lies on this machine, and what it offers: data, weights, doctor."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.common import Json, Runs, choice, command, errors, fail, output, settings, words, write

if TYPE_CHECKING:
    from difgen_cli.engine.cost.bench import Subject
    from difgen_cli.engine.plugins import Library


@command()
def data(
    name: Annotated[str | None, typer.Argument(help="A data plug-in; default: list them.", metavar="NAME")] = None,
    path: Annotated[Path | None, typer.Argument(help="A file or folder for it to check.", metavar="PATH")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of it: KEY=VALUE.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """List the data sets at hand, or check one.

    Says what is read of it, and what is passed over.

    Example: difgen data parquet fashion_mnist/train
    """
    with errors():
        from difgen_cli.display import shelves

        shelves.data(name, path, settings(set_), output())


@command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch or verify.", metavar="ACTION")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which weights.", metavar="NAME")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to fetch to; default: $DIFGEN_WEIGHTS.", metavar="FOLDER")
    ] = None,
) -> None:
    """Show, fetch or verify the weights that feature spaces need.

    Example: difgen weights fetch inception
    """
    with errors():
        from difgen_cli.display import shelves

        choice("weights", action, ("list", "fetch", "verify"))
        shelves.weights(action, name, folder, output())


@command()
def doctor(
    runs: Runs = Path("runs"),
    profile: Annotated[
        str | None, typer.Option(help="A profile of difgen.toml, for SLURM's limits.", metavar="NAME")
    ] = None,
    json_: Json = False,
) -> None:
    """Show what this machine offers, and what is amiss.

    Versions, GPUs, SLURM, the run directory's disk, weights and profiles.

    Example: difgen doctor --runs runs/
    """
    with errors():
        from difgen_cli import display
        from difgen_cli import doctor as examining

        found = examining.gather(runs, profile)
        if json_:
            write(display.as_json(examining.content(found)) + "\n")
        else:
            examining.show(found, output())
        raise typer.Exit(1 if examining.worst(found) == "bad" else 0)


@command()
def bench(
    grid: Annotated[
        Path | None, typer.Argument(help="A grid, for its networks; default: a short list.", metavar="GRID")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; default: a GPU if there is one.", metavar="DEVICE")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="To train each network, and to sample from it.", metavar="SECONDS")
    ] = 3.0,
    way: Annotated[
        str, typer.Option(help="How steps are computed: eager, compiled or graphed.", metavar="WAY")
    ] = "eager",
    json_: Json = False,
) -> None:
    """Train and sample networks for a few seconds each.

    Images a second, beside what this machine allows.

    Example: difgen bench grids/size.yaml --seconds 5
    """
    with errors():
        from difgen_cli.display import benches

        choice("--way", way, ("eager", "compiled", "graphed"))
        device = _device(device)
        subjects, library = _subjects(grid, device)
        from difgen_cli.engine.cost import bench as benching
        from difgen_cli.engine.worker import modes

        about, limits, out, say = benching.about(device), benching.limits(subjects, device), output(), words()
        if not json_:
            benches.heading(about, limits, out)
        found = []
        if note := benching.busy(os.getloadavg()[0], len(os.sched_getaffinity(0))):
            say.print(f"note: {note}", style="yellow")
        for subject in subjects:
            say.print(f"{subject.name} …")
            computed = modes.way(way, subject.shape, device, say=say.print)
            made = benching.run(subject, library, device, seconds, limits[subject.precision], computed)
            found.append(replace(made, way=modes.used(computed)))
        if json_:
            write(benches.content(about, limits, found) + "\n")
        else:
            benches.table(found, out)


def _device(said: str | None) -> str:
    """The device that is meant, which is here."""
    from difgen_cli.engine.cost import bench
    from difgen_cli.engine.grid.document import GridError

    gpus = bench.gpus()
    named = said or ("cuda" if gpus else "cpu")
    kind, _, number = named.partition(":")
    if kind not in ("cpu", "cuda") or (":" in named and not (kind == "cuda" and number.isdigit())):
        raise GridError(f"--device {said}: choose cpu, cuda, or a GPU by its number, such as cuda:1")
    if kind == "cuda" and int(number or 0) >= gpus:
        fail(f"--device {said}: there is no such GPU here, of {gpus} that can be seen", 3)
    return named


def _subjects(grid: Path | None, device: str) -> tuple[list[Subject], Library]:
    """The networks of a grid, or the short list."""
    from difgen_cli import sweep
    from difgen_cli.engine.cost import bench
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.plugins import Library

    if grid is None:
        return bench.subjects(device), Library()
    planned = sweep.prepare(grid, Path("runs"), {})
    found = bench.of_plan(planned.plan.trajectories.values(), planned.finder.shapes())
    if not found:
        raise GridError(f"{grid}: trains no network")
    return found, Library(planned.plugins)
