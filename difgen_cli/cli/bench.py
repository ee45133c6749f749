"""`difgen bench`: images per second of each network, compared with the limits of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors, fail
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import Json, check_choice

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.cost.bench import Subject, Throughput
    from difgen_cli.engine.cost.machine import Limits
    from difgen_cli.engine.plugins import Library

NAME_LEAST = 16  # characters of a network's name in a line
DISPENSABLE = ("weights", "GFLOP/image", "bound by", "samples/s", "MFU")  # columns, in the order in which they go


@command()
def bench(
    grid: Annotated[
        Path | None, typer.Argument(help="A grid whose networks are measured; default: a short list.", metavar="GRID")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; default: a GPU if there is one.", metavar="DEVICE")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Seconds of training, and of sampling, for each network.", metavar="SECONDS")
    ] = 3.0,
    way: Annotated[
        str, typer.Option(help="How steps are computed: eager, compiled or graphed.", metavar="WAY")
    ] = "eager",
    json_: Json = False,
) -> None:
    """Train and sample networks for a few seconds each.

    Prints images per second, compared with the limits of this machine.

    Example: difgen bench grids/size.yaml --seconds 5
    """
    with errors():
        check_choice("--way", way, ("eager", "compiled", "graphed"))
        device = _device(device)
        subjects, library = _subjects(grid, device)
        from difgen_cli.engine.cost import bench as benching
        from difgen_cli.engine.cost import machine
        from difgen_cli.engine.worker import modes

        about, limits, console = machine.here(device), benching.limits(subjects, device), messages()
        if not json_:
            _print_heading(about, limits, output())
        throughputs = []
        if note := benching.busy(os.getloadavg()[0], len(os.sched_getaffinity(0))):
            console.print(f"note: {note}", style="yellow")
        for subject in subjects:
            console.print(f"{subject.name} …")
            mode = modes.training_mode(way, subject.shape, device, say=console.print)
            measured = benching.run(subject, library, device, seconds, limits[subject.precision], mode)
            throughputs.append(replace(measured, way=modes.used(mode)))
        if json_:
            print_json(content(about, limits, throughputs))
        else:
            print_table(throughputs, output())


def _device(option: str | None) -> str:
    """The chosen device; exit code 3 where this machine does not have it."""
    from difgen_cli.engine.cost import bench
    from difgen_cli.engine.grid.document import GridError

    gpus = bench.gpus()
    device = option or ("cuda" if gpus else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (":" in device and not (kind == "cuda" and number.isdigit())):
        raise GridError(f"--device {option}: choose cpu, cuda, or a GPU by its number, such as cuda:1")
    if kind == "cuda" and int(number or 0) >= gpus:
        fail(f"--device {option}: there is no such GPU here; {gpus} can be used", 3)
    return device


def _subjects(grid: Path | None, device: str) -> tuple[list[Subject], Library]:
    """The networks of a grid, or the short list."""
    from difgen_cli import sweep
    from difgen_cli.engine.cost import bench
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.plugins import Library

    if grid is None:
        return bench.subjects(device), Library()
    planned = sweep.prepare(grid, Path("runs"), {})
    subjects = bench.of_plan(planned.plan.trajectories.values(), planned.finder.shapes())
    if not subjects:
        raise GridError(f"{grid}: trains no network")
    return subjects, Library(planned.plugins)


def _print_heading(about: Mapping[str, Any], limits: Mapping[str, Limits | None], console: Console) -> None:
    """The machine, and what it does at most."""
    threads = f"{about['threads']} thread" + ("s" if about["threads"] != 1 else "")
    lines = [f"{about['device']}, {threads}, torch {about['torch']}"]
    lines += [f"measured in {precision}: {_limits(peak)}" for precision, peak in limits.items()]
    for line in lines:
        console.print(line)


def _limits(peak: Limits | None) -> str:
    if peak is None:
        return "nothing, since the device has no memory left"
    matrix, memory = peak.flops_per_second / 1e9, peak.bytes_per_second / 1e9
    return f"{matrix:,.0f} GFLOP/s of matrix products, {memory:,.0f} GB/s of memory"


def print_table(throughputs: Sequence[Throughput], console: Console) -> None:
    """One line for each network; a narrow terminal folds the name and skips some columns."""
    from rich.table import Table

    rows = [_cells(line.facts) for line in throughputs]
    columns = _fitting(rows, console.width)
    table = Table(box=None, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for name in columns[1:]:
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    console.print(table)


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns that there is room for, the network's in 16 characters at least."""
    columns = list(rows[0])
    wide = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    wide[columns[0]] = min(NAME_LEAST, wide[columns[0]])
    for name in DISPENSABLE:
        if sum(wide[name] for name in columns) + 2 * (len(columns) - 1) > width:
            columns.remove(name)
    return columns


def _cells(facts: Mapping[str, Any]) -> dict[str, str]:
    """A network's line by column; `?` for what cannot be counted."""
    flops, samples = facts["flops_per_image"], facts["samples_per_second"]
    return {
        "network": facts["network"],
        "weights": f"{facts['weights']:,}",
        "GFLOP/image": "?" if flops is None else f"{flops / 1e9:.3g}",
        "images/s": f"{facts['images_per_second']:,.0f}",
        "roofline": _share(facts["roofline"]),
        "MFU": _share(facts["mfu"]),
        "bound by": facts["bound"] or "?",
        "samples/s": f"{samples:,.0f}" if samples >= 10 else f"{samples:.2f}",
    }


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.0%}"


def content(
    about: Mapping[str, Any], limits: Mapping[str, Limits | None], throughputs: Sequence[Throughput]
) -> dict[str, Any]:
    """The same for machines, in units: FLOP/s, bytes/s, images/s; shares of 1."""
    peaks = {precision: vars(peak) if peak else None for precision, peak in limits.items()}
    return {"machine": dict(about), "limits": peaks, "networks": [line.facts for line in throughputs]}
