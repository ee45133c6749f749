"""Throughput beside the roofline, for a terminal or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from difgen_cli.display import as_json

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.perf.bench import Throughput
    from difgen_cli.perf.roofline import Limits

COLUMNS = ("network", "weights", "GFLOP/image", "images/s", "roofline", "MFU", "bound by", "samples/s")


def heading(about: Mapping[str, Any], limits: Mapping[str, Limits | None], console: Console) -> None:
    """The machine, and what it does at most."""
    threads = f"{about['threads']} thread" + ("s" if about["threads"] != 1 else "")
    lines = [f"{about['device']}, {threads}, torch {about['torch']}"]
    lines += [f"measured in {precision}: {_limits(found)}" for precision, found in limits.items()]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _limits(found: Limits | None) -> str:
    if found is None:
        return "nothing, since the device has no memory left"
    matrix, memory = found.flops_per_second / 1e9, found.bytes_per_second / 1e9
    return f"{matrix:,.0f} GFLOP/s of matrix products, {memory:,.0f} GB/s of memory"


def table(found: Sequence[Throughput], console: Console) -> None:
    """One line a network; its name takes more lines where the terminal is narrow."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        first = name == COLUMNS[0]
        shown.add_column(name, no_wrap=not first, justify="left" if first else "right", overflow="fold")
    for line in found:
        shown.add_row(*_cells(line.facts))
    console.print(shown, highlight=False, markup=False)


def _cells(facts: Mapping[str, Any]) -> Iterable[str]:
    """A network's line; `?` for what cannot be counted."""
    flops, bound = facts["flops_per_image"], facts["bound"]
    yield facts["network"]
    yield f"{facts['weights']:,}"
    yield "?" if flops is None else f"{flops / 1e9:.3g}"
    yield f"{facts['images_per_second']:,.0f}"
    yield from ("?" if facts[name] is None else f"{facts[name]:.0%}" for name in ("roofline", "mfu"))
    yield bound or "?"
    samples = facts["samples_per_second"]
    yield f"{samples:,.0f}" if samples >= 10 else f"{samples:.2f}"


def content(about: Mapping[str, Any], limits: Mapping[str, Limits | None], found: Sequence[Throughput]) -> str:
    """The same for machines, in units: FLOP/s, bytes/s, images/s; shares of 1."""
    known = {precision: vars(each) if each else None for precision, each in limits.items()}
    return as_json({"machine": dict(about), "limits": known, "networks": [line.facts for line in found]})
