"""The training of one trajectory: resumed where it was, saved where it stops, read at each wanted step."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from difgen_cli.diffusion.objective import Objective
from difgen_cli.diffusion.state import ExecutionMode, TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost.device import forget_peak_memory, peak_memory_bytes
from difgen_cli.engine.cost.machine import device_name
from difgen_cli.engine.cost.throughput import Pace, Speed, of_training
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.sections import ends
from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.store import RunFolder
from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.attempts import Attempt
from difgen_cli.engine.store.files import append, publish, publish_json, replace
from difgen_cli.engine.store.processes import now
from difgen_cli.engine.worker import beginnings, modes, objectives
from difgen_cli.engine.worker.artifacts import FITTING_LABELS, LOADING, shape_of
from difgen_cli.engine.worker.context import WorkerContext, check, describe
from difgen_cli.engine.worker.reading import reading

PROGRESS_SECONDS = 2.0
TRIAL_STEPS = 1 << 30  # more than a trial of a mode comes to
SHAPING = {
    "precision": "fp32",
    "condition_perturbation": 0.0,
}  # settings, with defaults, that a mode may get wrong
FROZEN_NAMED = 5  # parameters that a sentence names

Begin = Callable[
    [ExecutionMode, nn.Module, dict[str, Any] | None, int], Iterator[TrainingState]
]  # mode, network, checkpoint, steps


@dataclass
class TrainingRun:
    """To the furthest missing snapshot of one trajectory."""

    context: WorkerContext
    unit: Training
    folder: RunFolder
    attempt: Attempt
    remembers: bool = False  # whether the peak of memory is that of all that this process has done

    def run(self) -> dict[str, Any]:
        """Train to the furthest wanted step; returns what the attempt records at its end."""
        recipe = self.context.recipes[self.unit.run_key]
        wanted = [s for s in self.unit.steps if not exists(self.folder.snapshot(s))]
        states = [s for s in self.unit.states if not exists(self.folder.state(s))]
        if not wanted and not states:
            return {}
        describe(self.folder, recipe)
        self.context.phases.attempt = self.attempt
        self.remembers = not _forget_peak_memory(self.context.device)
        saved = beginnings.checkpoint(self.folder, min((*(s - 1 for s in wanted), *states)))
        if saved is not None and (at := int(saved["state"]["step"])) in states:
            self._publish_state(at, saved)
            states.remove(at)
        return self._train(recipe, wanted, states, saved) if wanted or states else {}

    def _train(
        self, recipe: Recipe, wanted: list[int], states: list[int], saved: dict[str, Any] | None
    ) -> dict[str, Any]:
        network, begin = self._prepared(recipe, begun=saved is not None)
        saved = saved or beginnings.of_fork(self.context, recipe, self.unit) or dict(beginnings.NOTHING)
        first, last = int(saved["state"].get("step", 0)), max((*wanted, *states))
        shape = shape_of(self.context.artifacts.subset(recipe.inputs["subset"].key).images)
        chosen = self._way(recipe, last - first, shape, network, begin)
        mode = modes.training_mode(chosen, shape, self.context.device, say=self.context.say)
        run = begin(mode, network, saved.pop("state") or None, last)  # nobody else holds its tensors
        self.context.phases.show(None, step=first, from_step=first, target=last, batch=self.unit.batch)
        pace = self._pace(recipe, network, first)
        start = mark = beat = time.monotonic()
        state: TrainingState | None = None
        printed = False
        for state in run:
            pace.done(state.step)
            printed = printed or self._told(state)
            moment = time.monotonic()
            beat = moment if pace.warming else beat
            seconds = saved["train_seconds"] + moment - start
            if state.step in wanted:
                self._snapshot(state, seconds, pace.whole(), modes.used(mode))
            if state.step in states:
                self._publish_state(state.step, {"state": state.checkpoint(), "train_seconds": seconds})
            if self.context.flag.raised or moment - mark > self.context.spec.checkpoint_seconds:
                self._save(state, seconds)
                mark = moment
                self.context.flag.check()
            if moment - beat > PROGRESS_SECONDS or state.step in wanted:  # a short training has readings too
                self._progress(state, pace.reading(), last)
                beat = moment
            if state.step == last:
                break  # of a schedule that ends further on
        if state is not None:
            self._save(state, saved["train_seconds"] + time.monotonic() - start)
        images, seconds = (last - first) * self.unit.batch, time.monotonic() - start
        return {"step": last, "images": images, "seconds": seconds, **pace.whole().facts}

    def _prepared(self, recipe: Recipe, *, begun: bool) -> tuple[nn.Module, Begin]:
        """The network before its first step, and what begins a run with it or a copy.

        begun: whether a checkpoint has the weights, so that those that the training began with are not needed.
        """
        artifacts = self.context.artifacts
        self._phase(LOADING)
        subset = artifacts.subset(recipe.inputs["subset"].key)
        if recipe.inputs["labels"].name != "none":
            self._phase(FITTING_LABELS)
        conditions = artifacts.conditions(recipe.inputs["labels"].key, recipe.inputs["subset"].key)
        shape, seed = shape_of(subset.images), recipe.settings.get("seed", 0)
        network = artifacts.network(recipe.inputs["network"], shape, conditions.classes, seed)
        if not begun:
            beginnings.start(self.context, recipe, self.unit, network)
        settings = {k: v for k, v in recipe.settings.items() if k != "steps"}
        images, labels = artifacts.pixels(subset.images), artifacts.labels_tensor(conditions.train)
        objective = objectives.of_training(self.context, recipe, self.unit, images, labels)
        read, end = reading(self.context.library, recipe.inputs["network"]), self._end(recipe, objective)

        def begin(
            mode: ExecutionMode, own: nn.Module, state: dict[str, Any] | None, steps: int
        ) -> Iterator[TrainingState]:
            sigma_data, to = subset.sigma_data, end or steps
            return train(own, images, labels, sigma_data, state, mode, objective, read, steps=to, **settings)

        return network, begin

    def _end(self, recipe: Recipe, objective: Objective) -> int | None:
        """The step at which the trajectory ends, wherever this run stops; None where no step depends on it."""
        if (own := self.context.library.own("train")) is None:
            return None
        settings = {name: setting.default for name, setting in own.settings.items()} | recipe.settings
        return int(settings["steps"]) if objective.ends or ends(own, settings) else None

    def _way(self, recipe: Recipe, steps: int, shape: tuple[int, ...], network: nn.Module, begin: Begin) -> str:
        """How steps are computed, with how many threads: as the first attempt has said, where that is right here."""
        environment, device, say = self.context.environment(), self.context.device, self.context.say
        about = {
            "network": recipe.inputs["network"].key, "subset": recipe.inputs["subset"].key,
            "labels": recipe.inputs["labels"].key, "batch": self.unit.batch,
            **({"objective": recipe.inputs["objective"].key} if "objective" in recipe.inputs else {}),
            **{name: recipe.settings.get(name, plain) for name, plain in SHAPING.items()},
            **({"augment": True} if recipe.settings.get("augment") else {}),
            **{name: environment[name] for name in ("device", "threads", "torch")},
        }  # fmt: skip

        def trial(name: str) -> Callable[[], object]:
            self._phase(f"timing {name} steps")
            mode = modes.training_mode(name, shape, device, strict=True)
            return partial(next, begin(mode, copy.deepcopy(network), None, TRIAL_STEPS))

        if not self.folder.environment():
            as_trunk = beginnings.ways_of_trunk(self.context, recipe, self.unit)
            own = as_trunk or {"way": modes.choose_mode(about, steps, device, trial, say)}
            mark = {} if own["way"] == "eager" else {"checked": modes.CHECKED}
            if publish_json(self.folder.environment_path, environment | own | mark) and not as_trunk:
                return str(own["way"])
        first = self.folder.environment() or environment
        torch.set_num_threads(first["threads"])
        return modes.confirmed(str(first.get("way", "eager")), about, device, trial, say)

    def _phase(self, words: str) -> None:
        """Write what is done before the first step into the attempt and the log."""
        self.context.phases.show(words)
        self.context.say(f"{self.unit.unit} of {self.unit.slug}: {words}")

    def _told(self, state: TrainingState) -> bool:
        """Whether it is known which parameters no loss has trained, which is said once."""
        if frozen := state.frozen:
            named = ", ".join(frozen[:FROZEN_NAMED]) + (" …" if len(frozen) > FROZEN_NAMED else "")
            count = sum(1 for p in state.denoiser.parameters() if p.requires_grad)
            self.context.say(
                f"train of {self.unit.slug}: {len(frozen)} of {count} parameters are not trained, their gradient is "
                f"missing or zero: {named}"
            )
        return frozen is not None

    def _snapshot(self, state: TrainingState, seconds: float, speed: Speed, mode: str) -> None:
        """Publish the averaged weights, with what a row will say of their making."""
        check(self.attempt)
        _check_loss(state.loss, state.step)
        frozen = state.frozen
        memory_bytes = None if self.remembers else _peak_memory_bytes(self.context.device)
        facts = {
            "step": state.step, "train_seconds": seconds, **speed.facts,
            "peak_memory_bytes": memory_bytes, "train_device": device_name(self.context.device),
            "train_way": mode, "frozen_parameters": None if frozen is None else len(frozen),
            "grad_norm": float(state.grad_norm), "weight_path": state.path.length,
        }  # fmt: skip
        tensors = {k: v.detach().contiguous() for k, v in state.ema.network.state_dict().items()}
        metadata = {"difgen": json.dumps(facts)}
        publish(self.folder.snapshot(state.step), lambda p: save_file(tensors, p, metadata=metadata))

    def _publish_state(self, step: int, content: dict[str, Any]) -> None:
        """Publish the whole state, from which others fork."""
        check(self.attempt)
        _check_loss(content["state"]["loss"], step)
        publish(self.folder.state(step), lambda p: beginnings.write(p, content))

    def _save(self, state: TrainingState, seconds: float) -> None:
        check(self.attempt)
        content = {"state": state.checkpoint(), "train_seconds": seconds}
        replace(self.folder.checkpoint(state.step), lambda p: beginnings.write(p, content))
        self.folder.prune(state.step)
        self.attempt.beat(step=state.step)

    def _progress(self, state: TrainingState, speed: Speed, target: int) -> None:
        line = {
            "step": state.step, "loss": float(state.loss), "grad_norm": float(state.grad_norm),
            "lr": state.lr, **speed.facts, "time": now(),
        }  # fmt: skip
        append(self.folder.progress(self.attempt.number), json.dumps(line))
        self.attempt.beat(step=state.step, loss=line["loss"], **speed.facts)
        self.context.say(f"train of {self.unit.slug}: step {state.step} of {target}, {speed.words}")

    def _pace(self, recipe: Recipe, network: nn.Module, first: int) -> Pace:
        """The pace of this training, which knows the work of an image and the limits of the device."""
        shape = shape_of(self.context.artifacts.subset(recipe.inputs["subset"].key).images)
        name, precision = recipe.inputs["network"].key, recipe.settings.get("precision", "fp32")
        return of_training(network, name, shape, self.unit.batch, precision, self.context.device, first)


def _check_loss(loss: Tensor, step: int) -> None:
    """ArithmeticError where a training has diverged: nobody should read, or go on from, such weights."""
    if not math.isfinite(float(loss)):
        raise ArithmeticError(f"the loss is {float(loss)} at step {step}; lower train.lr")


def _forget_peak_memory(device: str) -> bool:
    """Count a training's own peak of memory: that of one before it may have been larger."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return True
    return forget_peak_memory()


def _peak_memory_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return peak_memory_bytes()
