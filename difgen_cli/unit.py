"""One unit of work, done: train a trajectory to its snapshots, or sample a snapshot and measure it."""

from __future__ import annotations

import functools
import json
import math
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from difgen_cli import data, sampling
from difgen_cli.materials import Materials, Subset, device_name, shape_of
from difgen_cli.plugins import Library
from difgen_cli.recipes import Recipe, dump
from difgen_cli.store import Arrays, Home, Store, pictures
from difgen_cli.store.attempts import Attempt, now
from difgen_cli.store.files import append, publish, publish_json, replace
from difgen_cli.store.results import publish_result
from difgen_cli.train import State, train
from difgen_cli.work import Scoring, Training

if TYPE_CHECKING:
    from difgen_cli.worker import Clock, Flag, Order

PROGRESS_SECONDS = 2.0


class Desk:
    """Where a worker does its units: the store, the materials at hand, and the clock."""

    def __init__(
        self, store: Store, recipes: dict[str, Recipe], library: Library, device: str, order: Order, flag: Flag,
        clock: Clock, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        torch.set_num_threads(order.threads)
        self.store, self.recipes, self.library, self.order = store, recipes, library, order
        self.flag, self.clock, self.say = flag, clock, say
        self.device = device
        self.materials = Materials(store, recipes, library, device)

    def run(self, unit: Training | Scoring, home: Home, attempt: Attempt) -> dict[str, Any]:
        """Do a claimed unit; returns what its attempt records at the end."""
        if isinstance(unit, Training):
            with self.clock.on("training"):
                return _Training(self, unit, home, attempt).run()
        return _Scoring(self, unit, home, attempt).run()

    def check(self, attempt: Attempt) -> None:
        """Raise where this worker should stop, or has been replaced."""
        from difgen_cli.worker import Superseded

        if attempt.superseded():
            raise Superseded


@dataclass
class _Training:
    """The training of one trajectory to its furthest missing snapshot."""

    desk: Desk
    unit: Training
    home: Home
    attempt: Attempt

    def run(self) -> dict[str, Any]:
        recipe = self.desk.recipes[self.unit.home]
        wanted = [s for s in self.unit.steps if not self.home.snapshot(s).exists()]
        if not wanted:
            return {}
        _describe(self.home, recipe)
        publish_json(self.home.path / "env.json", self.desk.order.environment | _environment(self.desk))
        torch.set_num_threads(json.loads((self.home.path / "env.json").read_text(encoding="utf-8"))["threads"])
        checkpoint = self._checkpoint_before(wanted[0])
        return self._train(recipe, wanted, checkpoint)

    def _train(self, recipe: Recipe, wanted: list[int], checkpoint: dict[str, Any] | None) -> dict[str, Any]:
        materials = self.desk.materials
        subset = materials.subset(recipe.inputs["subset"].key)
        conditions = materials.conditions(recipe.inputs["labels"].key, recipe.inputs["subset"].key)
        seed = recipe.settings.get("seed", 0)
        network = materials.network(recipe.inputs["network"], shape_of(subset.images), conditions.classes, seed)
        saved = checkpoint or {"train_seconds": 0.0, "state": None}
        first = int(saved["state"]["step"]) if saved["state"] else 0
        settings = {k: v for k, v in recipe.settings.items() if k != "steps"} | {"steps": wanted[-1]}
        run = train(
            network, materials.tensor(subset.images), materials.labels_tensor(conditions.train),
            subset.holdout.sigma_data, saved["state"], **settings,
        )  # fmt: skip
        start = mark = beat = time.monotonic()
        marked_step = first
        state: State | None = None
        for state in run:
            moment = time.monotonic()
            seconds = saved["train_seconds"] + moment - start
            if state.step in wanted:
                self._snapshot(state, seconds, (state.step - first) * self.unit.batch / max(moment - start, 1e-9))
            if self.desk.flag.raised or moment - mark > self.desk.order.checkpoint_seconds:
                self._save(state, seconds)
                mark = moment
                self.desk.flag.check()
            if moment - beat > PROGRESS_SECONDS:
                self._progress(state, (state.step - marked_step) * self.unit.batch / (moment - beat), wanted[-1])
                beat, marked_step = moment, state.step
        if state is not None:
            self._save(state, saved["train_seconds"] + time.monotonic() - start)
        images = (wanted[-1] - first) * self.unit.batch
        return {"step": wanted[-1], "from_step": first, "images": images, "seconds": time.monotonic() - start}

    def _snapshot(self, state: State, seconds: float, rate: float) -> None:
        """Publish the averaged weights, with what a row will say of their making."""
        self.desk.check(self.attempt)
        if not math.isfinite(float(state.loss)):
            raise ArithmeticError(f"the loss is {float(state.loss)} at step {state.step}; lower train.lr")
        facts = {
            "step": state.step, "train_seconds": seconds, "images_per_second": rate,
            "peak_memory_bytes": _peak_memory_bytes(self.desk.device), "train_device": device_name(self.desk.device),
        }  # fmt: skip
        tensors = {k: v.detach().contiguous() for k, v in state.ema.network.state_dict().items()}
        metadata = {"difgen": json.dumps(facts)}
        publish(self.home.snapshot(state.step), lambda p: save_file(tensors, p, metadata=metadata))

    def _save(self, state: State, seconds: float) -> None:
        self.desk.check(self.attempt)
        content = {"state": state.checkpoint(), "train_seconds": seconds}
        replace(self.home.checkpoint(state.step), lambda p: torch.save(content, p))
        self.home.prune(state.step)
        self.attempt.beat(step=state.step)

    def _progress(self, state: State, rate: float, target: int) -> None:
        line = {
            "step": state.step, "loss": float(state.loss), "grad_norm": float(state.grad_norm),
            "lr": state.optimizer.param_groups[0]["lr"], "images_per_second": round(rate, 1), "time": now(),
        }  # fmt: skip
        append(self.home.progress(self.attempt.number), json.dumps(line))
        self.attempt.beat(step=state.step, target=target, images_per_second=round(rate, 1), loss=line["loss"])
        self.desk.say(f"train of {self.unit.slug}: step {state.step} of {target}, {rate:,.0f} images/s")

    def _checkpoint_before(self, step: int) -> dict[str, Any] | None:
        """The furthest readable checkpoint before a step; one that is cut short is set aside."""
        there = self.home.checkpoints()
        for at in sorted((s for s in there if s < step), reverse=True):
            try:
                found: dict[str, Any] = torch.load(there[at], map_location=self.desk.device, weights_only=True)
                return found
            except Exception as error:
                self.desk.say(f"{there[at]}: cannot be read ({type(error).__name__}), set aside")
                with suppress(FileNotFoundError):
                    there[at].rename(there[at].with_suffix(".broken"))
        return None


@dataclass
class _Scoring:
    """The sampling of one snapshot, or reference, and its metrics."""

    desk: Desk
    unit: Scoring
    home: Home
    attempt: Attempt

    def run(self) -> dict[str, Any]:
        start, errors = time.monotonic(), []
        _describe(self.home, self.recipe)
        for metric, measure in self.unit.metrics.items():
            self.desk.flag.check()
            if self.home.result(measure.key).exists():
                continue
            self.attempt.beat(metric=metric)
            try:
                with self.desk.clock.on("scoring"):
                    self._measure(metric)
            except (ValueError, ArithmeticError, TypeError, KeyError, IndexError) as error:
                if len(self.unit.metrics) == 1:
                    raise
                errors.append((metric, error))
        if errors:
            named = "; ".join(f"{metric}: {error}" for metric, error in errors)
            raise RuntimeError(named) from errors[0][1]
        return {"seconds": time.monotonic() - start}

    def _measure(self, metric: str) -> None:
        module = self.desk.library.module("score", metric)
        signature = self.desk.library.signature("score", metric)
        measure = self.unit.metrics[metric]
        inputs = {name: self._input(name, metric) for name in signature.inputs}
        start = time.monotonic()
        result = module.measure(**inputs, **measure.settings)
        self.desk.check(self.attempt)
        context = {
            "metric": metric, "key": measure.key, "version": signature.version, "kind": self.unit.kind,
            "home": self.unit.home, "step": self.unit.step, "cell": self.unit.samples,
            "seconds": time.monotonic() - start, "provenance": self._provenance(),
        }  # fmt: skip
        publish_result(self.home, measure.key, context, result.values, result.tables, signature.constants)

    def _input(self, name: str, metric: str) -> Any:
        """What a metric's positional parameter stands for."""
        holdout, subset = self.subset.holdout, self.subset
        match name:
            case "samples":
                return data.scaled(self.samples)
            case "train":
                return subset.images
            case "held_out":
                return holdout.held_out
            case "denoiser":
                return self.denoiser
            case "train_labels":
                return self.conditions.train
            case "held_out_labels":
                return self.conditions.held_out
            case "sigma_data":
                return holdout.sigma_data
            case "embed":
                return self.desk.materials.embed(self.unit.metrics[metric].embed or "", holdout)
            case "shared":
                return partial(self._shared, metric)
        raise TypeError(f"the metric {metric} asks for {name}, which is no input that a metric can have")

    def _shared(self, metric: str, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What depends on the subset alone, once for all cells of it."""
        from difgen_cli.recipes import Head

        measure = self.unit.metrics[metric]
        version = self.desk.library.signature("score", metric).version
        head = Head("statistics", f"{metric}/{name}", version, measure.settings)
        key = head.key({"subset": self.parents["subset"].key, "embed": measure.embed or ""})
        kept: Arrays = self.desk.materials._keep(
            "statistics", key, lambda: self.desk.store.once(key, "statistics", compute)
        )
        return kept

    @functools.cached_property
    def recipe(self) -> Recipe:
        return self.desk.recipes[self.unit.home]

    @functools.cached_property
    def parents(self) -> dict[str, Recipe]:
        return self.recipe.inputs

    @functools.cached_property
    def subset(self) -> Subset:
        return self.desk.materials.subset(self.parents["subset"].key)

    @functools.cached_property
    def conditions(self) -> Any:
        if "labels" not in self.parents:
            from difgen_cli.materials import Conditions

            return Conditions(None, None, 0)
        return self.desk.materials.conditions(self.parents["labels"].key, self.parents["subset"].key)

    @functools.cached_property
    def denoiser(self) -> Any:
        if self.unit.kind == "ideal":
            return self.desk.materials.ideal(self.recipe)
        weights = load_file(self._snapshot_path, device=self.desk.device)
        return self.desk.materials.denoiser(self.recipe, weights)

    @property
    def _snapshot_path(self) -> Path:
        return self.home.snapshot(self.unit.step or 0)

    @functools.cached_property
    def samples(self) -> np.ndarray:
        """The generated images as uint8 (n, H, W, C), or points; drawn once and kept."""
        path = self.home.samples(self.unit.samples)
        if not path.exists():
            with self.desk.clock.on("sampling"):
                x, labels = self._draw()
                self.desk.check(self.attempt)
                publish(path, lambda p: pictures.write(p, x, labels))
        x, _ = pictures.read(path)
        return x

    def _draw(self) -> tuple[np.ndarray, np.ndarray | None]:
        count, seed = self.unit.sampler.own["count"], self.unit.sampler.own["seed"]
        if self.unit.kind in ("heldout", "copycat"):
            return self._draw_real(count, seed), None
        sample = self.desk.library.module("sample", self.unit.sampler.name).sample
        guide = self.desk.library.module("guide", self.unit.guidance.name).guide
        guided = guide(self.denoiser, **self.unit.guidance.settings)
        drawn = sampling.draw(
            guided, partial(self._interruptible(sample), **self.unit.sampler.settings), shape_of(self.subset.images),
            self.conditions.proportions, self.desk.device, count=count, seed=seed,
        )  # fmt: skip
        return (data.to_uint8(drawn.x) if drawn.x.ndim == 4 else drawn.x), drawn.labels

    def _interruptible(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        """The sampler, looking at the flag before each block."""

        def checked(*arguments: Any, **settings: Any) -> Any:
            self.desk.flag.check()
            return sample(*arguments, **settings)

        return checked

    def _draw_real(self, count: int, seed: int) -> np.ndarray:
        """Reference rows: held-out images in their order, or training images resampled with replacement."""
        if self.unit.kind == "heldout":
            real = self.subset.holdout.held_out[:count]
        else:
            chosen = np.random.default_rng(seed).integers(len(self.subset.images), size=count)
            real = self.subset.images[chosen]
        return data.to_uint8(real) if real.ndim == 4 else real

    def _provenance(self) -> dict[str, Any]:
        own = self.desk.order.environment | _environment(self.desk) | {"finished_at": now()}
        if self.unit.kind != "model" or not self._snapshot_path.exists():
            return own
        with safe_open(self._snapshot_path, framework="numpy") as file:
            made: dict[str, Any] = json.loads(file.metadata()["difgen"])
        return own | made


def _describe(home: Home, recipe: Recipe) -> None:
    """Say in its folder what a trajectory or reference is made of."""
    if not (home.path / "spec.json").exists():
        publish_json(home.path / "spec.json", {"key": recipe.key, "recipe": dump(_closure(recipe))})


def _closure(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe and all that it is made of."""
    found = {recipe.key: recipe}
    for part in recipe.inputs.values():
        found |= _closure(part)
    return found


def _environment(desk: Desk) -> dict[str, Any]:
    return {"torch": torch.__version__, "device": device_name(desk.device), "threads": torch.get_num_threads()}


def _peak_memory_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
