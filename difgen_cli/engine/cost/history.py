"""What finished work of a run directory has taken, read from its rows: seconds of each distinct workload."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from difgen_cli.engine.plan.metric import FOLLOWING
from difgen_cli.engine.plan.sections import DEFAULT_PLUGIN, as_text, needs
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store, tables

Settings = Mapping[str, Any]  # by dotted path
TIMED = {"training": "images_per_second", "start": "start_seconds", "sampling": "sampling_seconds"}
DECISIVE = ("kind", "device", "train_device", "condition.name", "train.batch", "train.flip", "train.precision")
SECTIONS = ("model.", "data.", "objective.", "sample.", "guide.", "score.")
FORWARD = 1 / 3  # of a training's operations: an evaluation


@dataclass(frozen=True)
class Workload:
    """All that the time of a piece of work depends on, but for the device."""

    size: float  # images of a training, times `per_image`; evaluations when sampling; images that a metric reads
    model: str = ""  # the plug-in of the network that is evaluated; nothing where none is
    network: str = ""  # its settings, and the images that it sees
    settings: str = ""  # what else matters: batch and precision; sampler and guidance; settings of the metric
    name: str = field(default="", compare=False)  # for people: mlp width 64
    run_key: str = field(default="", compare=False)  # a trajectory that has this network

    def agreement(self, other: Workload) -> tuple[bool, bool, bool]:
        """Whether network, plug-in and other settings are the same: the greater, the more alike are two workloads."""
        return self.network == other.network, self.model == other.model, self.settings == other.settings


Measured = Mapping[Workload, list[float]]  # seconds of each time that it was done; of one image of a training
History = Mapping[str, Measured]  # by part: training, start (of a training), sampling, or a metric


@dataclass(frozen=True)
class Workloads:
    """Derives workloads from settings: the same of a finished row as of a planned cell."""

    library: Library

    def of(self, part: str, settings: Settings) -> Workload:
        """The workload of a part of a cell. `settings`: with its kind, and `home` where it has one."""
        if part == "sampling":
            return self._sampling(settings)
        return self.training(settings) if part in TIMED else self._metric(part, settings)

    def training(self, settings: Settings) -> Workload:
        """Training on one image."""
        own = {k: settings.get(k) for k in ("train.batch", "train.flip", "train.precision")}
        conditional = settings.get("condition.name", "none") != "none"
        size, objective = self._objective(settings)
        return self._workload(size, settings, _text(own | {"conditional": conditional} | objective))

    def _objective(self, settings: Settings) -> tuple[float, dict[str, Any]]:
        """What an objective computes of an image, as a multiple of a forward and a backward pass of the network, and
        its settings where they are not the defaults of edm.

        Its file says in EVALUATIONS how often it evaluates others, whose network is taken to be as large.
        """
        name = settings.get("objective.name") or DEFAULT_PLUGIN["objective"]
        if name not in self.library.names("objective"):  # of a finished row, whose plug-in is gone
            return 1.0, {"objective": name}
        signature = self.library.signature("objective", name)
        given = {k: settings.get(f"objective.{k}", s.default) for k, s in signature.settings.items()}
        evaluations = {"network": 1} | signature.constants.get("EVALUATIONS", {})
        others = sum(count for i, count in evaluations.items() if i != "network" and needs(signature, given, i))
        changed = {f"objective.{k}": v for k, v in given.items() if v != signature.settings[k].default}
        named = {} if name == DEFAULT_PLUGIN["objective"] else {"objective": name}
        return evaluations["network"] + FORWARD * others, named | changed

    def _sampling(self, settings: Settings) -> Workload:
        """Samples are drawn in whole blocks; the ideal denoiser evaluates all training images."""
        own = self.library.own("sample")
        block = int(own.constants.get("BLOCK", 1)) if own else 1
        count = math.ceil(float(settings.get("sample.count") or 1) / block) * block
        images = 1.0 if settings["kind"] == "model" else float(settings.get("data.size") or 1)
        listed = settings.get("sample.levels")  # a tuple, or as a table holds it
        levels = json.loads(listed) if isinstance(listed, str) else listed
        steps = len(levels) - 1 if levels else float(settings.get("sample.steps") or 1)
        counted = {f"sample.{name}" for name in ("steps", *(own.settings if own else ()))}
        sampler = {k: v for k, v in settings.items() if k.startswith(("sample.", "guide.")) and k not in counted}
        return self._workload(count * steps * images, settings, _text(sampler))

    def _metric(self, metric: str, settings: Settings) -> Workload:
        """One metric: its size is that of the inputs that it names."""
        inputs = self.inputs(metric)
        read_by = {"sample.count": {"samples", "states"}, "data.size": {"train"}, "data.held_out": {"held_out"}}
        size = max(1.0, sum(float(settings.get(path) or 1) for path, names in read_by.items() if inputs & names))
        own = _text({k: v for k, v in settings.items() if k.startswith(f"score.{metric}.")}) + self._source(settings)
        evaluates = ({"denoiser"} | FOLLOWING) & inputs
        return self._workload(size, settings, own) if evaluates else Workload(size, "", "", own, f"{size:g} images")

    def inputs(self, metric: str) -> set[str]:
        """What a metric's positional parameters name."""
        return set(self.library.signature("score", metric).inputs)

    def _workload(self, size: float, settings: Settings, own: str) -> Workload:
        """Of the network; of the ideal denoiser, the data that it is made of are the network."""
        if (kind := settings.get("kind", "model")) != "model":
            return Workload(size, str(kind), self._source(settings), own, "the ideal denoiser")
        network = _text({k: v for k, v in settings.items() if k.startswith("model.")}) + self._source(settings)
        model, width = str(settings.get("model.name")), settings.get("model.width")
        name = model if width is None else f"{model} width {width:g}"
        return Workload(size, model, network, own, name, str(settings.get("home", "")))

    def _source(self, settings: Settings) -> str:
        """The data set, whatever part of it is taken."""
        own = self.library.own("data")
        parts = {f"data.{name}" for name in own.settings} if own else set()
        return _text({k: v for k, v in settings.items() if k.startswith("data.") and k not in parts})


def read(store: Store, library: Library, device: str | None, threads: int | None) -> History:
    """From the rows of work on a device, with so many threads; None: on that of most rows, with any.

    What is missing, or was made before times were kept, is left out.
    """
    history: dict[str, dict[Workload, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = tables.read_rows(store)
    if rows is None or not {"device", "train_device", "train_seconds", "images_seen"} <= set(rows.column_names):
        return history
    device = device or _commonest(rows["train_device"])
    if threads and "threads" in rows.column_names:
        rows = rows.filter(pc.fill_null(pc.equal(rows["threads"], threads), fill_value=True))
    workloads = Workloads(library)
    for settings, seconds in _groups(rows, TIMED | {name: f"{name}_seconds" for name in library.names("score")}):
        for part, values in seconds.items():
            trains = part in ("training", "start")
            right_kind = settings["kind"] == "model" or not trains
            if values and right_kind and settings.get("train_device" if trains else "device") == device:
                history[part][workloads.of(part, settings)] += values
    return history


def _groups(rows: pa.Table, timed: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], dict[str, list[float]]]]:
    """Each distinct combination of the settings that times depend on, with the seconds of each part.

    Seconds of a training are those of an image. 0 stands for work that was not done.
    """
    trained = pc.divide(rows["images_seen"], rows["images_per_second"])
    rows = rows.append_column("start_seconds", pc.max_element_wise(pc.subtract(rows["train_seconds"], trained), 1e-6))
    names = [n for n in rows.column_names if n in DECISIVE or n.startswith(SECTIONS)]
    columns = {part: column for part, column in timed.items() if column in rows.column_names}
    grouped = rows.group_by(names, use_threads=False)
    for line in grouped.aggregate([("home", "first"), *((c, "list") for c in columns.values())]).to_pylist():
        seconds = {part: [v for v in line[f"{c}_list"] if v] for part, c in columns.items()}
        seconds["training"] = [1 / rate for rate in seconds["training"]]
        yield {n: line[n] for n in names if line[n] is not None} | {"home": line["home_first"]}, seconds


def overhead(worker_records: Iterable[Mapping[str, Any]], device: str) -> list[float]:
    """What workers on a kind of device (cpu, cuda) spent beside their units' own work: start-up, imports, inputs."""
    seconds = []
    for record in worker_records:
        spent = record.get("seconds") or {}
        if record.get("device") == device and record.get("state") == "done" and record.get("units"):
            own = sum(spent.get(purpose, 0.0) for purpose in ("training", "sampling", "scoring", "waiting"))
            seconds.append(max(spent.get("wall", 0.0) - own, 1e-3))
    return seconds


def _commonest(column: pa.ChunkedArray) -> str | None:
    counted = {c["values"]: c["counts"] for c in pc.value_counts(column).to_pylist() if c["values"]}
    return max(counted, key=lambda name: counted[name], default=None)


def _text(settings: Settings) -> str:
    """Settings as text, the same for a plan's values and for a table's, where whole numbers may have become others."""
    texts = {k: as_text(v) for k, v in settings.items() if v is not None}
    plain = {k: float(v) if isinstance(v, int | float) else str(v) for k, v in texts.items()}
    return json.dumps(sorted(plain.items()))
