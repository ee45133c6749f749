"""Recipes become arrays and networks: what a worker trains on, samples with, and measures against.

Each thing is made once per process, and what many processes share once per run directory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difgen_cli import condition, config, data
from difgen_cli.diffusion import Denoiser, DenoiserLike, IdealDenoiser, Mixture, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.engine.plan import facts, spaces
from difgen_cli.engine.plan.recipes import PLANTED, Recipe, apart, canaries_of, has_fair_coins
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Arrays, Store
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker import canaries, labelling, modes, pretrained
from difgen_cli.engine.worker.feature_cache import Space
from difgen_cli.engine.worker.parts import Conditions, Holdout, Subset
from difgen_cli.engine.worker.phases import Phases
from difgen_cli.engine.worker.reading import reading
from difgen_cli.neighbours import near_duplicates

Embed = Callable[[np.ndarray], np.ndarray]
GIVEN_BYTES = 1 << 30  # of weights of others that are kept for the next cell: checkpoints may be large, and many
LOADING, FITTING_LABELS = "loading data", "fitting labels"  # phases


class Artifacts:
    """Makes what recipes describe, and keeps it."""

    def __init__(
        self, store: Store, recipes: dict[str, Recipe], library: Library, device: str, claimant: Claimant,
        phases: Phases | None = None,
    ) -> None:  # fmt: skip
        self.store, self.recipes, self.library, self.device = store, recipes, library, torch.device(device)
        self.claimant, self.phases = claimant, phases or Phases()
        self._kept: dict[tuple[str, str], Any] = {}
        self._given: dict[str, Denoiser] = {}  # of weights of others, by trajectory

    def keep(self, what: str, key: str, make: Callable[[], Any], phase: str) -> Any:
        """A thing of a kind and key, made once; the phase of the worker meanwhile."""
        if (what, key) not in self._kept:
            with self.phases.on(phase):
                self._kept[what, key] = make()
        return self._kept[what, key]

    def once(self, key: str, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Arrays that many workers share, computed by one of them."""
        return self.store.once(key, name, compute, self.claimant)

    def holdout(self, key: str) -> Holdout:
        """The rest and the held-out images of a pool."""
        holdout: Holdout = self.keep("holdout", key, lambda: self._holdout(self.recipes[key]), LOADING)
        return holdout

    def _holdout(self, recipe: Recipe) -> Holdout:
        pool = facts.pool(self.store, recipe.inputs["pool"].key)
        parts = data.split(pool, canaries_of(recipe), **recipe.settings)

        def labels(places_: np.ndarray) -> np.ndarray | None:
            return None if pool.labels is None else pool.labels[places_]

        rest = pool.images[parts.rest]
        scaled, drawn = data.scaled(rest), data.scaled(pool.images[parts.held_out])
        out = data.scaled(pool.images[parts.canaries])
        others = np.concatenate([scaled, out]) if len(out) else scaled  # what may be trained on
        near = self.phases.on("searching near-duplicates")(lambda: {"near": near_duplicates(drawn, others)})
        duplicates = self.once(apart(recipe).key, "near-duplicates", near)
        kept = np.flatnonzero(~duplicates["near"])
        return Holdout(
            rest=scaled, rest_labels=labels(parts.rest), rest_places=parts.rest,
            drawn=drawn, drawn_labels=labels(parts.held_out), drawn_places=parts.held_out,
            apart=kept, held_out=drawn if len(kept) == len(drawn) else drawn[kept], sigma_data=data.sigma_data(rest),
            canaries=out, canary_labels=labels(parts.canaries), canary_places=parts.canaries,
        )  # fmt: skip

    def subset(self, key: str) -> Subset:
        """A training subset T, with the canaries that are planted beside it."""
        subset: Subset = self.keep("subset", key, lambda: self._subset(self.recipes[key]), LOADING)
        return subset

    def _subset(self, recipe: Recipe) -> Subset:
        if recipe.name == PLANTED:
            return canaries.planted(self.subset(recipe.inputs["subset"].key), recipe)
        holdout = self.holdout(recipe.inputs["holdout"].key)
        pool = facts.pool(self.store, recipe.inputs["holdout"].inputs["pool"].key)
        parts = facts.split(pool, recipe)
        positions = np.searchsorted(holdout.rest_places, parts.train)
        retrained = len(parts.rest) < len(holdout.rest)
        sigma_data = data.sigma_data(pool.images[parts.rest]) if retrained else holdout.sigma_data
        return Subset(holdout, positions, holdout.rest[positions], sigma_data)

    def coins(self, key: str) -> np.ndarray | None:
        """Which images of the rest are in a subset, (n_rest,) bool; None unless each has a fair coin of its own."""
        if not has_fair_coins(self.recipes[key]):
            return None
        subset = self.subset(key)
        inside = np.zeros(len(subset.holdout.rest), bool)
        inside[subset.positions] = True
        return inside

    def unlearn(self, key: str) -> np.ndarray:
        """Which images of a training subset are to be unlearnt: (n,) bool."""
        recipe = self.recipes[key]
        pool = facts.pool(self.store, recipe.inputs["subset"].inputs["holdout"].inputs["pool"].key)
        marks: np.ndarray = self.keep("unlearn", key, lambda: facts.split(pool, recipe).unlearn, LOADING)
        return marks

    def against(self, key: str) -> np.ndarray:
        """Another data set's images in the size and colours of this one, scaled; all of them."""
        recipe = self.recipes[key]

        def make() -> np.ndarray:
            other = facts.pool(self.store, recipe.inputs["pool"].key)
            return data.scaled(data.matched(other.images, recipe.settings["shape"]))

        images: np.ndarray = self.keep("against", key, make, LOADING)
        return images

    def conditions(self, key: str, subset_key: str) -> Conditions:
        """The labels of a conditioning, restricted to a subset."""
        recipe, subset = self.recipes[key], self.subset(subset_key)
        labels: condition.Labels
        labels = self.keep("labels", f"{key} {subset_key}", lambda: self._labels(recipe, subset), FITTING_LABELS)
        if labels.classes == 0:
            return Conditions(None, None, None, 0)
        return canaries.conditions(labels, subset, self.recipes[subset_key])

    def _labels(self, recipe: Recipe, subset: Subset) -> condition.Labels:
        def compute() -> dict[str, np.ndarray]:
            own = self.subset(recipe.inputs["subset"].key) if "subset" in recipe.inputs else subset
            labels = self._altered(recipe, own) if "labels" in recipe.inputs else labelling.fitted(self, recipe, own)
            return {"rest": labels.rest, "held_out": labels.held_out, "classes": np.array(labels.classes)}

        arrays = self.once(recipe.key, "labels", compute)
        return condition.Labels(arrays["rest"], arrays["held_out"], int(arrays["classes"]))

    def _altered(self, recipe: Recipe, subset: Subset) -> condition.Labels:
        return condition.alter(self._labels(recipe.inputs["labels"], subset), subset.positions, **recipe.settings)

    def embed(self, key: str, holdout: Holdout) -> Embed:
        """A feature space, fitted where it must be."""
        recipe = self.recipes[key]
        embed: Embed = self.keep("embed", key, lambda: self._embed(recipe, holdout), f"fitting features {recipe.name}")
        return embed

    def _embed(self, recipe: Recipe, holdout: Holdout) -> Embed:
        module = self.library.module("features", recipe.name)
        signature = self.library.signature("features", recipe.name)
        if "WEIGHTS" in signature.constants:
            return self._published(recipe, signature.constants["WEIGHTS"])
        inputs = {"images": holdout.rest, "labels": holdout.rest_labels}
        if not set(signature.inputs) & set(inputs):
            return partial(module.embed, state=module.fit(**spaces.settings_of(recipe)))
        taken = {name: inputs[name] for name in signature.inputs} | spaces.settings_of(recipe)
        state = self.once(recipe.key, "features", lambda: module.fit(**taken))
        return partial(module.embed, state=state)

    def _published(self, recipe: Recipe, weights: str) -> Space:
        """A feature space with a file of weights, which must be the one of the plan. ValueError for another."""
        from difgen_cli import features

        path = features.find(weights, config.weights_folders())
        sha256, planned = features.verify(path, weights).sha256, recipe.settings["weights"]
        if sha256 != planned:
            raise ValueError(
                f"{path}: these are the weights {sha256[:8]}, and the grid was planned with {planned[:8]}: "
                "put those back, or run `difgen sweep` again"
            )
        name = recipe.name if features.proved(path, weights) else f"{recipe.name}@{sha256[:8]}"
        module = self.library.module("features", recipe.name)
        state = module.fit(path, **spaces.settings_of(recipe))
        embed = self.phases.on(f"embedding images with {recipe.name}")(partial(module.embed, state=state))
        return Space(name, embed, partial(self.once, recipe.key), self._is_own)

    def _is_own(self, images: np.ndarray) -> bool:
        """Whether these are the data set's own images as a whole: a subset, the rest, or those held out."""
        own = [part for artifact in self._kept.values() for part in _images_of(artifact)]
        return any(images is part for part in own)

    def network(self, recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
        """A new network with the initial weights of a seed, on this worker's device."""
        build = self.library.module("model", recipe.name).build
        return initialise(lambda: build(shape, classes, **recipe.settings), seed).to(self.device)

    def tensor(self, images: np.ndarray) -> Tensor:
        """Images on the device, channels first."""
        return to_tensor(images).to(self.device)

    def pixels(self, images: np.ndarray) -> Tensor:
        """Scaled images on the device as the uint8 that they were: a quarter of the memory; points as they are."""
        return self.tensor(images if images.ndim != 4 else data.to_uint8(images))

    def labels_tensor(self, labels: np.ndarray | None) -> Tensor | None:
        return None if labels is None else torch.from_numpy(np.ascontiguousarray(labels)).to(self.device)

    def denoiser(self, trajectory: Recipe, weights: dict[str, Tensor]) -> DenoiserLike:
        """The denoiser of a snapshot, from its weights."""
        subset = self.subset(trajectory.inputs["subset"].key)
        conditions = self.conditions(trajectory.inputs["labels"].key, trajectory.inputs["subset"].key)
        network = self.network(trajectory.inputs["network"], shape_of(subset.images), conditions.classes, 0)
        network.load_state_dict(weights)
        denoiser = reading(self.library, trajectory.inputs["network"])(network, subset.sigma_data).to(self.device)
        denoiser.to(memory_format=modes.layout(shape_of(subset.images), str(self.device)))  # type: ignore[call-overload]
        return denoiser.eval().requires_grad_(False)

    def untrained(self, trajectory: Recipe) -> DenoiserLike:
        """The denoiser of a model that is not trained here: of weights that are given, or in closed form."""
        if "weights" in trajectory.inputs:
            subset = self.subset(trajectory.inputs["subset"].key)
            if trajectory.key not in self._given:
                read = pretrained.denoiser(self.store, self.library, trajectory, subset.sigma_data).to(self.device)
                self._given[trajectory.key] = read
                while len(self._given) > 1 and sum(map(_size_bytes, self._given.values())) > GIVEN_BYTES:
                    self._given.pop(next(iter(self._given)))
            return self._given[trajectory.key]
        return self._closed_form(trajectory)

    def _closed_form(self, trajectory: Recipe) -> DenoiserLike:
        """One made of the subset itself, or of what it was drawn from."""
        subset = self.subset(trajectory.inputs["subset"].key)
        conditions = self.conditions(trajectory.inputs["labels"].key, trajectory.inputs["subset"].key)
        model = trajectory.inputs["network"]
        given: dict[str, Callable[[], Any]] = {
            "train": lambda: self.tensor(subset.images),
            "train_labels": lambda: self.labels_tensor(conditions.train),
            "sigma_data": lambda: subset.sigma_data,
            "population": lambda: self._population(trajectory.inputs["subset"].inputs["holdout"].inputs["pool"].key),
        }
        takes = self.library.signature("model", model.name).inputs
        build = self.library.module("model", model.name).build
        denoiser: DenoiserLike = build(**{name: given[name]() for name in takes}, **model.settings)
        return denoiser

    def _population(self, pool: str) -> Mixture:
        """The distribution that a pool was drawn from, on the device."""
        population = facts.pool(self.store, pool).population
        if population is None:
            raise ValueError("the distribution of this data set is not known")
        weights, means, factors = (
            torch.from_numpy(a).to(self.device) for a in (population.weights, population.means, population.factors)
        )
        return Mixture(weights, means, factors, population.noise)

    def ideal(self, reference: Recipe) -> DenoiserLike:
        """The closed-form ideal denoiser of a subset, within the condition where there is one."""
        subset = self.subset(reference.inputs["subset"].key)
        conditions = self.conditions(reference.inputs["labels"].key, reference.inputs["subset"].key)
        labels = self.labels_tensor(conditions.train)
        return IdealDenoiser(self.tensor(subset.images), subset.sigma_data, labels).to(self.device)


def _size_bytes(denoiser: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in denoiser.state_dict().values())


def _images_of(artifact: Any) -> tuple[np.ndarray, ...]:
    if isinstance(artifact, Holdout):
        return artifact.rest, artifact.held_out, artifact.drawn
    if isinstance(artifact, np.ndarray):
        return (artifact,)
    return (artifact.images,) if isinstance(artifact, Subset) else ()


def shape_of(images: np.ndarray) -> tuple[int, ...]:
    """(C, H, W) of images (n, H, W, C), or (D,) of points (n, D)."""
    return images.shape[1:] if images.ndim == 2 else (images.shape[3], images.shape[1], images.shape[2])
