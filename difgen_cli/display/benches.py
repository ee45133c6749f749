"""Throughput beside the roofline, for a terminal or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from difgen_cli.display import as_json

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.cost.bench import Throughput
    from difgen_cli.engine.cost.roofline import Limits

NAME_LEAST = 16  # characters of a network's name in a line
DISPENSABLE = ("weights", "GFLOP/image", "bound by", "samples/s", "MFU")  # columns, in the order in which they go


def heading(about: Mapping[str, Any], limits: Mapping[str, Limits | None], console: Console) -> None:
    """The machine, and what it does at most."""
    threads = f"{about['threads']} thread" + ("s" if about["threads"] != 1 else "")
    lines = [f"{about['device']}, {threads}, torch {about['torch']}"]
    lines += [f"measured in {precision}: {_limits(found)}" for precision, found in limits.items()]
    for line in lines:
        console.print(line)


def _limits(found: Limits | None) -> str:
    if found is None:
        return "nothing, since the device has no memory left"
    matrix, memory = found.flops_per_second / 1e9, found.bytes_per_second / 1e9
    return f"{matrix:,.0f} GFLOP/s of matrix products, {memory:,.0f} GB/s of memory"


def table(found: Sequence[Throughput], console: Console) -> None:
    """One line a network; where the terminal is narrow its name takes more lines, and some columns are left out."""
    from rich.table import Table

    rows = [_cells(line.facts) for line in found]
    columns = _fitting(rows, console.width)
    shown = Table(box=None, pad_edge=False)
    shown.add_column(columns[0], overflow="fold")
    for name in columns[1:]:
        shown.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        shown.add_row(*(row[name] for name in columns))
    console.print(shown)


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


def content(about: Mapping[str, Any], limits: Mapping[str, Limits | None], found: Sequence[Throughput]) -> str:
    """The same for machines, in units: FLOP/s, bytes/s, images/s; shares of 1."""
    known = {precision: vars(each) if each else None for precision, each in limits.items()}
    return as_json({"machine": dict(about), "limits": known, "networks": [line.facts for line in found]})
