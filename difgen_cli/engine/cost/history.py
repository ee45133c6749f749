"""What finished work of a run directory has taken, read from its rows: a measurement for each distinct workload."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median, median_low
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from difgen_cli.engine.plan.sections import as_text
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store, tables

Settings = Mapping[str, Any]  # by dotted path
START_SECONDS = 1.0  # of a training, where none was measured


@dataclass(frozen=True)
class Workload:
    """All that the time of a piece of work depends on, but for the device."""

    size: float  # images of a training; evaluations of the network when sampling; images that a metric reads
    model: str = ""  # the plug-in of the network that is evaluated; nothing where none is
    network: str = ""  # its settings, and the images that it sees
    settings: str = ""  # what else matters: batch and precision; sampler and guidance; settings of the metric

    def agreement(self, other: Workload) -> tuple[bool, bool, bool]:
        """Whether network, plug-in and other settings are the same: the greater, the more alike are two workloads."""
        return self.network == other.network, self.model == other.model, self.settings == other.settings


@dataclass(frozen=True)
class Measured:
    """What a workload took. `name` is for people: mlp width 64."""

    workload: Workload
    seconds: float
    name: str = ""


@dataclass
class History:
    """What was measured on one device, by purpose."""

    trainings: list[Measured] = field(default_factory=list)  # of one image
    starts: list[float] = field(default_factory=list)  # seconds of each training before its first image
    sampling: list[Measured] = field(default_factory=list)
    metrics: dict[str, list[Measured]] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)  # a finished trajectory of each network, by its key

    @property
    def start_seconds(self) -> float:
        return median(self.starts) if self.starts else START_SECONDS


@dataclass(frozen=True)
class Workloads:
    """Derives workloads from settings: the same of a finished row as of a planned cell."""

    library: Library

    def training(self, settings: Settings) -> Workload:
        """Training on one image."""
        conditional = settings.get("condition.name", "none") != "none"
        own = {k: settings.get(k) for k in ("train.batch", "train.flip", "train.precision")}
        network = self.network(settings)
        return Workload(1.0, str(settings.get("model.name")), network, _text(own | {"conditional": conditional}))

    def sampling(self, kind: str, settings: Settings) -> Workload:
        """Sampling of a cell. Samples are drawn in whole blocks; the ideal denoiser evaluates all training images."""
        own = self.library.own("sample")
        block = int(own.constants.get("BLOCK", 1)) if own else 1
        count = math.ceil(float(settings.get("sample.count") or 1) / block) * block
        images = 1.0 if kind == "model" else float(settings.get("data.size") or 1)
        listed = settings.get("sample.levels")  # a tuple, or as a table holds it
        steps = len(json.loads(listed) if isinstance(listed, str) else listed) - 1 if listed else None
        size = count * float(steps or settings.get("sample.steps") or 1) * images
        counted = {f"sample.{name}" for name in ("steps", *(own.settings if own else ()))}
        sampler = {k: v for k, v in _section(settings, "sample.").items() if k not in counted}
        return Workload(size, *self._denoiser(kind, settings), _text(sampler | _section(settings, "guide.")))

    def metric(self, metric: str, kind: str, settings: Settings) -> Workload:
        """One metric of a cell: its size is that of the inputs that it names."""
        inputs = self.inputs(metric)
        read_by = {"sample.count": {"samples", "states"}, "data.size": {"train"}, "data.held_out": {"held_out"}}
        size = sum(float(settings.get(path) or 1) for path, names in read_by.items() if inputs & names)
        own = _text(_section(settings, f"score.{metric}.")) + self._source(settings)
        return Workload(max(size, 1.0), *(self._denoiser(kind, settings) if self.evaluates(metric) else ("", "")), own)

    def network(self, settings: Settings) -> str:
        """A network and the images that it sees."""
        return _text(_section(settings, "model.")) + self._source(settings)

    def inputs(self, metric: str) -> set[str]:
        """What a metric's positional parameters name."""
        return set(self.library.signature("score", metric).inputs)

    def evaluates(self, metric: str) -> bool:
        """Whether a metric evaluates the network."""
        return bool({"denoiser", "states"} & self.inputs(metric))

    def _denoiser(self, kind: str, settings: Settings) -> tuple[str, str]:
        """The model's plug-in and network; of the ideal denoiser, the data that it is made of."""
        if kind != "model":
            return kind, self._source(settings)
        return str(settings.get("model.name")), self.network(settings)

    def _source(self, settings: Settings) -> str:
        """The data set, whatever part of it is taken."""
        own = self.library.own("data")
        parts = {f"data.{name}" for name in own.settings} if own else set()
        return _text({k: v for k, v in _section(settings, "data.").items() if k not in parts})


def read(store: Store, library: Library, device: str | None, threads: int | None) -> History:
    """From the rows of work on a device, with so many threads; None: on that of most rows, with any.

    What is missing, or was made before times were kept, is left out.
    """
    history, workloads = History(), Workloads(library)
    rows = tables.read_rows(store)
    if rows is None or not {"device", "train_device", "train_seconds", "train.batch"} <= set(rows.column_names):
        return history
    device = device or _commonest(rows["train_device"])
    if threads and "threads" in rows.column_names:
        rows = rows.filter(pc.fill_null(pc.equal(rows["threads"], threads), fill_value=True))
    scored = _where(rows, "device", device)
    _add_trainings(history, _where(_where(rows, "kind", "model"), "train_device", device), workloads)
    for settings, seconds in _means(scored, ("kind", "model.", "data.", "sample.", "guide."), "sampling_seconds"):
        workload = workloads.sampling(settings["kind"], settings)
        history.sampling.append(Measured(workload, seconds, name_of(settings)))
    for metric in library.names("score"):
        of_network = ("kind", "model.") if workloads.evaluates(metric) else ()
        wanted = (*of_network, "data.", "sample.count", f"score.{metric}.")
        for settings, seconds in _means(scored, wanted, f"{metric}_seconds"):
            workload = workloads.metric(metric, settings.get("kind", "model"), settings)
            name = name_of(settings) if of_network else f"{workload.size:g} images"
            history.metrics.setdefault(metric, []).append(Measured(workload, seconds, name))
    return history


def _add_trainings(history: History, rows: pa.Table, workloads: Workloads) -> None:
    """The seconds of an image in each trajectory: the median between successive snapshots; the rest is its start."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)  # images and seconds since the start
    settings_of: dict[str, Settings] = {}
    for settings, seconds in _means(rows, ("home", "step", "model.", "data.", "condition.name", "train."),
                                    "train_seconds"):  # fmt: skip
        points[settings["home"]].append((float(settings["step"] * settings["train.batch"]), seconds))
        settings_of.setdefault(settings["home"], settings)
    for home, reached in points.items():
        reached.sort()
        pairs = pairwise([(0.0, 0.0), *reached])
        rates = [(after - before) / (last - first) for (first, before), (last, after) in pairs if after > before]
        if rates:
            rate, workload = median_low(rates), workloads.training(settings_of[home])
            history.trainings.append(Measured(workload, rate, name_of(settings_of[home])))
            history.starts.append(max(0.0, reached[0][1] - rate * reached[0][0]))
            history.examples.setdefault(workload.network, home)


def overhead(worker_records: Iterable[Mapping[str, Any]], device: str) -> list[Measured]:
    """What workers on a kind of device (cpu, cuda) spent beside their units' own work: start-up, imports, inputs."""
    measured = []
    for record in worker_records:
        spent, units = record.get("seconds") or {}, record.get("units")
        if record.get("device") == device and record.get("state") == "done" and units:
            own = sum(spent.get(purpose, 0.0) for purpose in ("training", "sampling", "scoring", "waiting"))
            measured.append(Measured(Workload(1.0), max(spent.get("wall", 0.0) - own, 1e-3)))
    return measured


def name_of(settings: Settings) -> str:
    """A network in a word or two."""
    width = settings.get("model.width")
    return f"{settings.get('model.name', 'the ideal denoiser')}" + ("" if width is None else f" width {width:g}")


def _commonest(column: pa.ChunkedArray) -> str | None:
    counted = {c["values"]: c["counts"] for c in pc.value_counts(column).to_pylist() if c["values"]}
    return max(counted, key=lambda name: counted[name], default=None)


def _where(rows: pa.Table, column: str, value: str | None) -> pa.Table:
    return rows.filter(pc.fill_null(pc.equal(rows[column], value or ""), fill_value=False))


def _means(rows: pa.Table, wanted: Sequence[str], value: str) -> Iterator[tuple[dict[str, Any], float]]:
    """The mean of a column for each distinct combination of others, named whole or by their section; none without it.

    0 stands for work that was not done.
    """
    if value not in rows.column_names:
        return
    rows = rows.filter(pc.fill_null(pc.greater(rows[value], 0.0), fill_value=False))
    chosen = [n for n in rows.column_names if n in wanted or any(n.startswith(w) for w in wanted if w.endswith("."))]
    for line in (
        rows.select([*chosen, value]).group_by(chosen, use_threads=False).aggregate([(value, "mean")]).to_pylist()
    ):
        yield {n: line[n] for n in chosen if line[n] is not None}, float(line[f"{value}_mean"])


def _section(settings: Settings, section: str) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k.startswith(section)}


def _text(settings: Settings) -> str:
    """Settings as text, the same for a plan's values and for a table's, where whole numbers may have become others."""
    texts = {k: as_text(v) for k, v in settings.items() if v is not None}
    plain = {k: float(v) if isinstance(v, int | float) else str(v) for k, v in texts.items()}
    return json.dumps(sorted(plain.items()))
