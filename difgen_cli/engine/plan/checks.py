"""Combinations of settings that cannot work with the data at hand are refused before anything is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.plan import Facts, canaries
from difgen_cli.engine.plan.metric import Metric
from difgen_cli.engine.plan.points import Where
from difgen_cli.engine.plan.sections import DEFAULT_PLUGIN, Section, wants

AUGMENT_LABELS = 9  # that tell a network how an image was augmented (Karras et al. 2022, table 6)
OF_CONDITIONS = ("condition_dropout", "condition_perturbation")  # settings of training that change a condition
OF_PLAIN_IMAGES = ("teacher", "ideal", "targets")  # inputs of objectives that know nothing of augmented images
SCALES = (1e-12, 1e12)  # of σ_d: float32 can hold its square, that of the noise, and the product of both
ENDS = ("linear", "scaled_linear")  # schedules that have a first and a last β


def reading(model: Section, where: Where) -> None:
    """GridError where a network is to be told timesteps of no schedule, or values of β that fit none."""
    schedule, betas, own = model.own.get("schedule"), model.own.get("betas", ()), model.own
    fits = len(betas) == 2 if schedule in ENDS else len(betas) > 2 and schedule is None
    if betas and not (fits and all(0 < beta < 1 for beta in betas)):
        raise GridError(
            "model.betas: must lie between 0 and 1, two of them with model.schedule linear or scaled_linear, or three "
            "or more, one for each timestep, without a schedule",
            where("model.betas"),
        )
    if own.get("noise_input") == "timestep" and not (schedule or betas or own.get("prediction") == "flow"):
        raise GridError(
            "model.noise_input: timestep needs a schedule; set model.schedule to linear, scaled_linear or cosine",
            where("model.noise_input"),
        )


def posterior_mean(objective: Section, scoring: Mapping[str, Metric], where: Where) -> None:
    """GridError where a metric asks a denoiser for a mean that its objective did not train it to give."""
    if objective.signature.constants.get("DENOISES", True):
        return
    for name, metric in scoring.items():
        if "posterior mean" in metric.section.signature.constants.get("NEEDS", ()):
            raise GridError(
                f"score.{name}: asks the network for the mean of clean images, and {objective.name} trains none that "
                "gives it; name metrics of samples alone",
                where(f"score.{name}") or where("objective.name"),
            )


def objective(model: Section, objective: Section, train: Section, closed: bool, where: Where) -> list[str]:
    """What is to be said of how a model is trained. GridError where its objective or network knows no augmentation."""
    if closed:
        plain = objective.name == DEFAULT_PLUGIN["objective"] and not (objective.changed or objective.changed_own)
        sentence = f"objective: {model.name} is not trained here, so that no objective changes it"
        return [] if plain else [sentence]
    if train.settings["augment"]:
        augmentation(model, objective, where)
    return []


def changed_condition(condition: Section, train: Section, where: Where) -> None:
    """GridError where training is to change a condition that it does not have."""
    for name in OF_CONDITIONS:
        if train.settings[name] and condition.name == "none":
            raise GridError(
                f"train.{name}: needs a condition, and this training has none; set train.{name}: 0 there, or leave "
                "these cells out with skip",
                where(f"train.{name}"),
            )


def augmentation(model: Section, objective: Section, where: Where) -> None:
    """GridError where a network is not told how an image was augmented, or an objective knows images as they are."""
    setting = model.signature.constants.get("AUGMENT_LABELS")
    if setting is None or model.settings[setting] != AUGMENT_LABELS:
        remedy = f"set model.{setting}: {AUGMENT_LABELS}" if setting else f"use ddpmpp with augment: {AUGMENT_LABELS}"
        raise GridError(
            f"train.augment: {model.name} is not told how an image was augmented, and would learn to make augmented "
            f"images; {remedy}, or set train.augment: 0",
            where("train.augment"),
        )
    for name in OF_PLAIN_IMAGES:
        if wants(objective, name):
            raise GridError(
                f"train.augment: {objective.name} learns from {name}, which is of the images as they are; set "
                "train.augment: 0, or use another objective",
                where("train.augment"),
            )


def population(model: Section, condition: Section, facts: Facts, where: Where) -> None:
    """GridError where the denoiser of what the data were drawn from is not known, as a whole or within a condition."""
    if not facts.population:
        raise GridError(
            f"model.name: {model.name} needs data drawn from a known distribution (molrg, gaussians)",
            where("model.name"),
        )
    if condition.name != "none" and (condition.name != "labels" or condition.changed or condition.changed_own):
        raise GridError(
            f"condition.name: {model.name} knows the distribution within the components alone; use labels or none",
            where("condition.name"),
        )


def scale(facts: Facts, where: Where) -> None:
    """GridError where all values are one, or so small or large that float32 cannot compute with them."""
    least, most = SCALES
    if facts.sigma_data is None or least <= facts.sigma_data <= most:
        return
    if len(facts.shape) > 1 or facts.sigma_data == 0:
        words = "all images are of one and the same colour" if len(facts.shape) > 1 else "all points are one value"
        raise GridError(f"data.name: {words}, from which nothing can be learnt; give other data", where("data.name"))
    raise GridError(
        f"data.name: the points have a standard deviation of {facts.sigma_data:.2g}, and {least:g} to {most:g} can be "
        "computed with; multiply them by a number",
        where("data.name"),
    )


def subset_size(own: dict[str, Any], facts: Facts, where: Where) -> int:
    """Images in the subset; raises GridError where the settings ask for more than there are."""
    if facts.images <= own["held_out"]:
        raise GridError(
            f"data.held_out: {own['held_out']} of {facts.images} images leaves none to train on; hold out fewer",
            where("data.held_out"),
        )
    canaries.room(own, facts, where)
    most, out = available(own, facts), canaries.images_of(own)
    if own["size"] is not None and own["size"] > most:
        half = f" in half {own['half']}" if own["half"] else f" beside {out} canaries" if out else ""
        raise GridError(
            f"data.size: {own['size']} images are more than the {most}{half} that {facts.images} images leave with "
            f"{own['held_out']} held out; use at most {most}",
            where("data.size"),
        )
    return int(own["size"] or most)


def available(own: dict[str, Any], facts: Facts) -> int:
    """Images that a subset may have."""
    whole = rest(own, facts)
    return whole if own["half"] is None else (whole + (own["half"] == "A")) // 2


def rest(own: dict[str, Any], facts: Facts) -> int:
    """Images that are neither held out nor canaries: T is drawn from them."""
    return int(facts.images - own["held_out"] - canaries.images_of(own))


def held_out_seed(data: Section, facts: Facts, where: Where) -> None:
    """GridError where a seed is to choose held-out images that the data set chooses itself."""
    if facts.holds_out and data.own["held_out_seed"]:
        raise GridError(
            f"data.held_out_seed: {data.name} itself says which images are held out, so that none are drawn; leave "
            "the seed out",
            where("data.held_out_seed"),
        )


def held_out(asked: int, left: int, where: Where) -> None:
    """GridError where `left`, the held-out images that do not occur in the rest as well, are none."""
    if asked and not left:
        raise GridError(
            f"data.held_out: each of the {asked} images occurs in the rest too, byte for byte; give data whose images "
            "differ, or hold none out",
            where("data.held_out"),
        )


def enough(metric: str, needed: int, asked: int, left: int, place: Place | None) -> None:
    """GridError where a metric needs more held-out images than are left."""
    if left < needed:
        copies = f", of which {asked - left} occur in the rest too, byte for byte" if left < asked else ""
        raise GridError(
            f"score.{metric}: needs at least {needed} held-out images, and data.held_out is {asked}{copies}", place
        )
