"""What finished work of a run directory has cost, read from its rows: one measurement for each kind of work."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median, median_low
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from difgen_cli.engine.cost.estimate import Measured
from difgen_cli.engine.plan.sections import as_text
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store, tables

Settings = Mapping[str, Any]  # by dotted path
REGIME = ("train.batch", "train.flip", "condition.conditional")  # what else the speed of a training depends on
START_SECONDS = 1.0  # of a training, where none was seen


@dataclass(frozen=True)
class History:
    """Measurements by kind of work; `homes` names one finished trajectory of each network."""

    device: str | None = None
    rates: list[Measured] = field(default_factory=list)  # seconds of training an image
    start_seconds: float = START_SECONDS  # of a training, beside its images
    sampling: list[Measured] = field(default_factory=list)
    metrics: dict[str, list[Measured]] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)

    @property
    def networks(self) -> set[str]:
        return {m.network for m in self.rates}


@dataclass(frozen=True)
class HistoryLabels:
    """Names for what makes two pieces of work alike; the same for rows and for planned work."""

    library: Library

    def network(self, settings: Settings) -> str:
        """The network and the images that it sees."""
        return _label(settings, "model.") + self.source(settings)

    def source(self, settings: Settings) -> str:
        """The data set, whatever is taken of it."""
        own = self.library.own("data")
        chosen = {f"data.{name}" for name in own.settings} if own else set()
        return _label({k: v for k, v in settings.items() if k not in chosen}, "data.")

    def training(self, settings: Settings) -> tuple[str, ...]:
        more = {**settings, "condition.conditional": settings.get("condition.name", "none") != "none"}
        regime = _label({k: more.get(k) for k in REGIME}, "")
        precision = str(settings.get("train.precision"))
        return (str(settings.get("model.name")), precision, self.network(settings), regime)

    def sampling(self, kind: str, settings: Settings) -> tuple[str, ...]:
        own = self.library.own("sample")
        counted = {f"sample.{name}" for name in ("steps", *(own.settings if own else ()))}
        sampler = _label({k: v for k, v in settings.items() if k not in counted}, "sample.")
        return (kind, sampler + _label(settings, "guide."), *self.denoiser(kind, settings))

    def denoiser(self, kind: str, settings: Settings) -> tuple[str, str]:
        """The model's plug-in and network; of the ideal denoiser, the data that it is made of."""
        if kind != "model":
            return kind, self.source(settings)
        return str(settings.get("model.name")), self.network(settings)

    def metric(self, metric: str, kind: str, settings: Settings) -> tuple[str, ...]:
        own = (_label(settings, f"score.{metric}."), self.source(settings))
        return (kind, *own, *self.denoiser(kind, settings)) if self.evaluates(metric) else own

    def evaluates(self, metric: str) -> bool:
        """Whether a metric evaluates the network."""
        return bool({"denoiser", "states"} & self.inputs(metric))

    def inputs(self, metric: str) -> set[str]:
        """What a metric's positional parameters name."""
        return set(self.library.signature("score", metric).inputs)

    def size(self, metric: str, settings: Settings) -> float:
        """How many images a metric reads, by the inputs that it names."""
        inputs = self.inputs(metric)
        read_by = {"sample.count": {"samples", "states"}, "data.size": {"train"}, "data.held_out": {"held_out"}}
        return max(sum(float(settings.get(path) or 1) for path, names in read_by.items() if inputs & names), 1.0)

    def evaluations(self, kind: str, settings: Settings) -> float:
        """Evaluations that sampling makes: samples are drawn in whole blocks; the ideal denoiser sees all of T."""
        own = self.library.own("sample")
        block = int(own.constants.get("BLOCK", 1)) if own else 1
        count = math.ceil(float(settings.get("sample.count") or 1) / block) * block
        images_read = 1.0 if kind == "model" else float(settings.get("data.size") or 1)
        return count * float(settings.get("sample.steps") or 1) * images_read


def read(store: Store, library: Library, device: str | None, threads: int | None) -> History:
    """From the rows of work on a device, with so many threads; None: on that of most rows, with any.

    What is not there, or was made before times were kept, is left out.
    """
    rows = tables.read_rows(store)
    if rows is None or not {"device", "train_device", "train_seconds", "train.batch"} <= set(rows.column_names):
        return History(device)
    device = device or _most(rows["train_device"])
    if threads and "threads" in rows.column_names:
        rows = rows.filter(pc.fill_null(pc.equal(rows["threads"], threads), fill_value=True))
    labels = HistoryLabels(library)
    scored = rows.filter(pc.fill_null(pc.equal(rows["device"], device or ""), fill_value=False))
    models = rows.filter(pc.equal(rows["kind"], "model"))
    trained = models.filter(pc.fill_null(pc.equal(models["train_device"], device or ""), fill_value=False))
    rates, starts, homes = _trainings(trained, labels)
    metrics = (n.removesuffix("_seconds") for n in scored.column_names if n.endswith("_seconds"))
    known = set(library.names("score"))
    return History(
        device, rates, median(starts) if starts else START_SECONDS, _sampling(scored, labels),
        {m: _metric(scored, labels, m) for m in metrics if m in known}, homes,
    )  # fmt: skip


def _most(column: pa.ChunkedArray) -> str | None:
    counted = {c["values"]: c["counts"] for c in pc.value_counts(column).to_pylist() if c["values"]}
    return max(counted, key=lambda name: counted[name], default=None)


def _trainings(rows: pa.Table, labels: HistoryLabels) -> tuple[list[Measured], list[float], dict[str, str]]:
    """Seconds an image and seconds before the first image of each trajectory, and one trajectory of each network.

    A trajectory has a rate between any two of its snapshots, and before the first, where its start-up counts too.
    """
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    kinds: dict[str, tuple[tuple[str, ...], str]] = {}
    wanted = ("home", "step", "model.", "data.", "condition.name", "train.")
    for settings, seconds in _groups(rows, wanted, "train_seconds"):
        home = settings["home"]
        points[home].append((float(settings["step"] * settings["train.batch"]), seconds))
        kinds[home] = kinds.get(home) or (labels.training(settings), name_of(settings))
    rates: list[Measured] = []
    starts: list[float] = []
    homes: dict[str, str] = {}
    for home, reached in points.items():
        pieces = _rates(sorted(reached))
        if pieces:
            rate, (like, name) = median_low(pieces), kinds[home]
            rates.append(Measured(1.0, rate, like, name, like[2]))
            starts.append(max(0.0, min(reached)[1] - rate * min(reached)[0]))
            homes.setdefault(like[2], home)
    return rates, starts, homes


def _rates(points: list[tuple[float, float]]) -> list[float]:
    """Seconds an image from each snapshot to the next: images and seconds since the start, ascending."""
    pairs = pairwise([(0.0, 0.0), *points])
    return [(after - before) / (last - first) for (first, before), (last, after) in pairs if after > before]


def _sampling(rows: pa.Table, labels: HistoryLabels) -> list[Measured]:
    if "sampling_seconds" not in rows.column_names:
        return []
    measured = []
    for settings, seconds in _groups(rows, ("kind", "model.", "data.", "sample.", "guide."), "sampling_seconds"):
        kind = settings["kind"]
        like, evaluations = labels.sampling(kind, settings), labels.evaluations(kind, settings)
        measured.append(Measured(evaluations, seconds, like, name_of(settings), like[-1]))
    return measured


def _metric(rows: pa.Table, labels: HistoryLabels, metric: str) -> list[Measured]:
    measured = []
    of_network = ("kind", "model.") if labels.evaluates(metric) else ()
    wanted = (*of_network, "data.", "sample.count", f"score.{metric}.")
    for settings, seconds in _groups(rows, wanted, f"{metric}_seconds"):
        like = labels.metric(metric, settings.get("kind", "model"), settings)
        size, network = labels.size(metric, settings), like[-1] if labels.evaluates(metric) else ""
        name = name_of(settings) if network else f"{size:g} images"
        measured.append(Measured(size, seconds, like, name, network))
    return measured


def _groups(rows: pa.Table, wanted: Sequence[str], value: str) -> Iterable[tuple[dict[str, Any], float]]:
    """The mean of a column for each distinct combination of others, named whole or by their section."""
    rows = rows.filter(pc.fill_null(pc.greater(rows[value], 0.0), fill_value=False))
    chosen = [n for n in rows.column_names if n in wanted or any(n.startswith(w) for w in wanted if w.endswith("."))]
    for line in rows.select([*chosen, value]).group_by(chosen).aggregate([(value, "mean")]).to_pylist():
        yield {n: line[n] for n in chosen if line[n] is not None}, float(line[f"{value}_mean"])


def name_of(settings: Settings) -> str:
    """A network in a word or two."""
    width = settings.get("model.width")
    return f"{settings.get('model.name', 'the ideal denoiser')}" + ("" if width is None else f" width {width:g}")


def _label(settings: Settings, section: str) -> str:
    """Settings as text, the same for a plan's values and for a table's, where whole numbers may have become others."""
    said = {k: as_text(v) for k, v in settings.items() if k.startswith(section) and v is not None}
    plain = {k: float(v) if isinstance(v, int | float) else str(v) for k, v in said.items()}
    return json.dumps(sorted(plain.items()))


def overhead(worker_records: Iterable[Mapping[str, Any]], device: str) -> list[Measured]:
    """What workers on a kind of device (cpu, cuda) spent beside their units' own work: start-up, imports, inputs."""
    measured = []
    for worker_record in worker_records:
        spent, units = worker_record.get("seconds") or {}, worker_record.get("units")
        if worker_record.get("device") == device and worker_record.get("state") == "done" and units:
            own = sum(spent.get(purpose, 0.0) for purpose in ("training", "sampling", "scoring", "waiting"))
            measured.append(Measured(1.0, max(spent.get("wall", 0.0) - own, 1e-3)))
    return measured
