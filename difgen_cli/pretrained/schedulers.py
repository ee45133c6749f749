"""How a network of diffusers is read as a denoiser: what its `scheduler_config.json` says of noise and prediction."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difgen_cli.diffusion import schedules
from difgen_cli.pretrained.files import PretrainedError, converted, json_of, listed, shown

PREDICTIONS = {"epsilon": "noise", "sample": "clean", "v_prediction": "velocity"}
SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
# Samplers that follow the same noise: what a network was trained with does not depend on which of them is stored.
OF_BETAS = (
    "DDPMScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler", "PNDMScheduler",
    "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
    "KDPM2DiscreteScheduler", "DDIMInverseScheduler",
)  # fmt: skip
ENDS = {"linear": schedules.BETAS, "scaled_linear": schedules.SCALED_BETAS}
MOST_STEPS = 100_000


def reading_of(path: Path) -> dict[str, Any]:
    """Settings of `models.denoiser` for a scheduler's configuration, where they differ from its defaults.

    Raises PretrainedError for a scheduler or a value that denoisers of difgen have no form of.
    """
    config = json_of(path)
    name = config.get("_class_name")
    if name in FLOW:
        if config.get("num_train_timesteps", schedules.STEPS) != schedules.STEPS:
            raise PretrainedError(f"{path}: num_train_timesteps of a flow must be {schedules.STEPS}: use another model")
        return {"prediction": "flow", "unit": 1.0, "noise_input": "timestep"}
    if name not in OF_BETAS:
        raise PretrainedError(
            f"{path}: the scheduler {shown(name)} is none that difgen reads: store the model with one of "
            f"{listed((*OF_BETAS, *FLOW), 20)}"
        )
    if config.get("rescale_betas_zero_snr"):
        raise PretrainedError(f"{path}: rescale_betas_zero_snr changes the noise, and difgen has no form of it")
    prediction = config.get("prediction_type", "epsilon")
    if not isinstance(prediction, str) or prediction not in PREDICTIONS:
        raise PretrainedError(
            f"{path}: prediction_type: {shown(prediction)} is none of {', '.join(PREDICTIONS)}: correct it"
        )
    return {
        "prediction": PREDICTIONS[prediction], "unit": 1.0, "noise_input": "timestep",
        **converted(path, lambda: _schedule(path, config)),
    }  # fmt: skip


def _schedule(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule by its name where that says all, with its ends, else every β."""
    trained = config.get("trained_betas")
    if trained is not None:
        betas = tuple(float(beta) for beta in trained)
        if not 2 < len(betas) <= MOST_STEPS or not all(0 < beta < 1 for beta in betas):
            raise PretrainedError(f"{path}: trained_betas must be three or more numbers between 0 and 1: correct them")
        return {"betas": betas}
    kind = config.get("beta_schedule", "linear")
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise PretrainedError(
            f"{path}: beta_schedule: {shown(kind)} is none of {', '.join(SCHEDULES)}: give its values as trained_betas"
        )
    steps, name = config.get("num_train_timesteps", schedules.STEPS), SCHEDULES[kind]
    if type(steps) is not int or not 2 < steps <= MOST_STEPS:
        raise PretrainedError(f"{path}: num_train_timesteps: {shown(steps)} is no number of timesteps: correct it")
    ends = (float(config.get("beta_start", schedules.BETAS[0])), float(config.get("beta_end", schedules.BETAS[1])))
    if not all(0 < beta < 1 for beta in ends):
        raise PretrainedError(f"{path}: beta_start and beta_end must lie between 0 and 1, not {ends}: correct them")
    if steps != schedules.STEPS:
        return {"betas": tuple(schedules.betas(name, steps, ends if name in ENDS else None).tolist())}
    return {"schedule": name} | ({"betas": ends} if name in ENDS and ends != ENDS[name] else {})
