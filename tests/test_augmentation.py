"""Augmentation that the network is told of: known images, a brute-force composition, and what training makes of it."""

from __future__ import annotations

import copy
import math
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion.augmentation import ANISOTROPY, SCALE, SHIFT, Augmentation, drawn
from difgen_cli.diffusion.objective import Draws
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import EAGER, ExecutionMode, TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan
from difgen_cli.models import ddpmpp

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
NUMBERS = ("scale", "angle", "stretch", "direction", "right", "down")


def images(count: int = 1, height: int = 16, width: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(seed))


def augmentation(flip_x: bool = False, flip_y: bool = False, **numbers: float) -> Augmentation:
    """Of one image; what is not named is zero."""
    named = {name: torch.tensor([float(numbers.get(name, 0))]) for name in NUMBERS}
    return Augmentation(torch.tensor([flip_x]), torch.tensor([flip_y]), **named)


def test_where_nothing_is_done_the_image_and_zeros_come_out_to_the_bit() -> None:
    nothing = augmentation()
    assert torch.equal(nothing(images()), images())
    assert torch.equal(nothing.labels, torch.zeros(1, 9))


@pytest.mark.parametrize(
    ("given", "axes", "labels"),
    [((True, False), [-1], [1, 0]), ((False, True), [-2], [0, 1]), ((True, True), [-1, -2], [1, 1])],
)
def test_a_flip_alone_is_a_flip_to_the_bit(given: tuple[bool, bool], axes: list[int], labels: list[int]) -> None:
    change = augmentation(*given)
    assert torch.equal(change(images()), images().flip(axes))
    assert change.labels[0].tolist() == [*labels, *[0.0] * 7]


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_a_turn_by_right_angles_is_that_of_the_pixels(quarters: int) -> None:
    change = augmentation(angle=quarters * math.pi / 2)
    torch.testing.assert_close(change(images()), torch.rot90(images(), quarters, (-2, -1)), atol=1e-5, rtol=0)
    assert change.labels[0, 3:5].tolist() == pytest.approx(
        [math.cos(quarters * math.pi / 2) - 1, math.sin(quarters * math.pi / 2)], abs=1e-6
    )


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-1, 5)])
def test_a_shift_by_whole_pixels_moves_them_and_mirrors_the_edge(right: int, down: int) -> None:
    height, width = 16, 8
    change = augmentation(right=right / (width * SHIFT), down=down / (height * SHIFT))
    padded = np.pad(images(1, height, width).numpy(), ((0, 0), (0, 0), (6, 6), (6, 6)), mode="symmetric")
    expected = padded[:, :, 6 - down : 6 - down + height, 6 - right : 6 - right + width]
    np.testing.assert_allclose(change(images(1, height, width)).numpy(), expected, atol=1e-5)


def test_a_scale_of_two_is_seen_at_every_second_pixel() -> None:
    """Pixels at even distance of the middle of an odd image: those of half the distance, as they are."""
    x = images(1, 9, 9)
    change = augmentation(scale=math.log(2) / math.log(SCALE))
    torch.testing.assert_close(change(x)[..., ::2, ::2], x[..., 2:7, 2:7], atol=1e-5, rtol=0)


def test_all_together_are_the_composition_of_the_paper_place_by_place() -> None:
    """Flips, then T · anisotropy · rotation · scaling in float64, inverted; sixteen weights of cubic convolution."""
    height, width = 6, 10
    numbers = {"scale": 0.8, "angle": 0.7, "stretch": -1.3, "direction": 2.1, "right": 0.4, "down": -0.6}
    x = images(1, height, width)
    outcome = augmentation(True, False, **numbers)(x)[0].numpy()
    forward = np.eye(3)
    for part in (
        np.diag([SCALE ** numbers["scale"], SCALE ** numbers["scale"], 1]),
        clockwise(-numbers["angle"]),  # y is down: anticlockwise on the page
        clockwise(-numbers["direction"]),
        np.diag([ANISOTROPY ** numbers["stretch"], ANISOTROPY ** -numbers["stretch"], 1]),
        clockwise(numbers["direction"]),
        np.array([[1, 0, numbers["right"] * width * SHIFT], [0, 1, numbers["down"] * height * SHIFT], [0, 0, 1]]),
    ):
        forward = part @ forward
    inverse, flipped = np.linalg.inv(forward), x[0].flip(-1).double().numpy()
    for row in range(height):
        for column in range(width):
            place = inverse @ [column - (width - 1) / 2, row - (height - 1) / 2, 1]
            expected = cubic(flipped, place[1] + (height - 1) / 2, place[0] + (width - 1) / 2)
            np.testing.assert_allclose(outcome[:, row, column], expected, atol=2e-5)


def clockwise(angle: float) -> np.ndarray:
    """A turn of places whose y is down."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def cubic(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """The image (C, H, W) between its pixels, mirrored beyond its edges (Keys 1981, with a = −0.75)."""
    total = np.zeros(len(image))
    for row in range(math.floor(y) - 1, math.floor(y) + 3):
        for column in range(math.floor(x) - 1, math.floor(x) + 3):
            pixel = image[:, mirrored(row, image.shape[1]), mirrored(column, image.shape[2])]
            total += kernel(y - row) * kernel(x - column) * pixel
    return total


def mirrored(place: int, size: int) -> int:
    place %= 2 * size
    return min(place, 2 * size - 1 - place)


def kernel(distance: float, a: float = -0.75) -> float:
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_each_change_is_drawn_as_often_and_as_large_as_the_paper_has_it() -> None:
    count, p = 40_000, 0.12
    change = drawn(Draws(0, torch.device("cpu")), count, p)
    for name in ("scale", "stretch", "right", "down"):
        values = getattr(change, name)
        acting = values[values != 0]
        assert len(acting) / count == pytest.approx(p, abs=0.008)
        assert (float(acting.mean()), float(acting.std())) == (pytest.approx(0, abs=0.06), pytest.approx(1, abs=0.04))
    assert ((change.right != 0) == (change.down != 0)).all()
    assert float(change.angle.abs().max()) == pytest.approx(math.pi, abs=0.01)
    assert float(change.angle[change.angle != 0].std()) == pytest.approx(math.pi / math.sqrt(3), rel=0.03)
    assert (change.direction != 0).sum() == (change.stretch != 0).sum()
    assert float(change.flip_x.float().mean()) == pytest.approx(0.5, abs=0.015)  # whatever p is
    assert float(change.flip_y.float().mean()) == pytest.approx(p / 2, abs=0.006)  # chosen with p, then made or not
    acts = torch.stack(
        [change.flip_x, change.flip_y, change.scale != 0, change.angle != 0, change.stretch != 0]
    ).double()
    assert float((torch.corrcoef(acts) - torch.eye(5)).abs().max()) < 0.02  # each by itself
    untouched = (change.labels == 0).all(1)
    x = torch.randn(count, 1, 4, 4)
    assert torch.equal((change(x) == x).flatten(1).all(1), untouched)


# Training ----------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    build = partial(ddpmpp.build, (1, 8, 8), 0, width=8, depth=1, multipliers=(1, 1), attention=(4,), augment=9)
    return initialise(build, 0)


def states(steps: int, augment: float | None, checkpoint: Any = None, way: ExecutionMode = EAGER) -> TrainingState:
    """The state after `steps` of a training; augment None: as before there was such a setting."""
    pixels = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    settings: dict[str, Any] = {} if augment is None else {"augment": augment}
    *_, last = train(
        network(), pixels, None, 0.5, checkpoint, way, steps=steps, batch=8, flip=True, warmup=0, **settings
    )
    return last


def weights(state: TrainingState) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.denoiser.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_without_augmentation_training_is_what_it_was_to_the_bit_and_with_it_another() -> None:
    plain, none, augmented = (weights(states(4, augment)) for augment in (None, 0.0, 0.5))
    assert same(plain, none)
    assert not same(plain, augmented)
    learnt = "embedding.augment.weight"
    assert torch.equal(plain[learnt], network().state_dict()[learnt])
    assert not torch.equal(augmented[learnt], plain[learnt])


def test_a_resumed_training_equals_one_that_was_never_stopped_to_the_bit() -> None:
    saved = copy.deepcopy(states(2, 0.5).checkpoint())
    assert same(weights(states(5, 0.5, saved)), weights(states(5, 0.5)))


def test_an_augmented_step_is_one_graph_and_is_what_is_written() -> None:
    whole = ExecutionMode(wrap=lambda step: torch.compile(step, backend="eager", fullgraph=True))
    compiled, eager = weights(states(3, 0.5, way=whole)), weights(states(3, 0.5))
    for name in eager:
        torch.testing.assert_close(compiled[name], eager[name], rtol=1e-5, atol=1e-6)


def test_sampling_tells_the_network_nothing_which_is_what_zeros_tell_it() -> None:
    denoiser = states(4, 0.5).ema
    x, sigma = torch.randn(3, 1, 8, 8), torch.full((3,), 0.4)
    assert torch.equal(denoiser(x, sigma), denoiser(x, sigma, None, torch.zeros(3, 9)))
    assert not torch.equal(denoiser(x, sigma), denoiser(x, sigma, None, torch.ones(3, 9)))


def test_the_network_is_told_what_was_done_to_the_images_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []
    forward = ddpmpp.DdpmPlusPlus.forward

    def keep(self: nn.Module, x: Tensor, noise: Tensor, labels: Any, augment: Tensor | None = None) -> Tensor:
        seen.append((x, augment))
        return forward(self, x, noise, labels, augment)  # type: ignore[arg-type]

    monkeypatch.setattr(ddpmpp.DdpmPlusPlus, "forward", keep)
    draws = Draws(0, torch.device("cpu"))
    states(3, 0.5)
    for step, (_, labels) in enumerate(seen):
        draws.step = step
        assert labels is not None
        assert torch.equal(labels, drawn(draws, 8, 0.5).labels)


# Planning ----------------------------------------------------------------------------------------------------------

MODEL = "ddpmpp, width: 8, depth: 1, multipliers: [1], attention: [], augment: 9"
GRID = """\
# Does augmentation stop copying?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: MODEL}
  train:  {batch: 16, steps: 20}
  sample: {steps: 4, count: 32}
  score:  [memorization, gap]
""".replace("MODEL", MODEL)


def augmented(text: str, probability: float = 0.12) -> str:
    return text.replace("steps: 20}", f"steps: 20, augment: {probability}}}")


def test_augmentation_is_in_the_key_and_copies_are_searched_among_mirror_images_too(
    write_grid: Write, plan_of: PlanOf
) -> None:
    (plain,), (none,), (other,), (flipped,) = (
        plan_of(write_grid(text)).models
        for text in (GRID, augmented(GRID, 0), augmented(GRID), GRID.replace("steps: 20}", "steps: 20, flip: true}"))
    )
    assert plain.identity() == none.identity()
    assert len({plain.run_key, other.run_key, flipped.run_key}) == 3
    references = [
        {cell.kind: cell.metrics for cell in plan_of(write_grid(text)).cells if cell.kind != "model"}
        for text in (GRID, augmented(GRID), GRID.replace("steps: 20}", "steps: 20, flip: true}"))
    ]
    assert references[1] == references[2] != references[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GRID.replace(MODEL, "mlp"), "mlp is not told how an image was augmented, .* use ddpmpp with augment: 9"),
        (GRID.replace(", augment: 9", ""), "ddpmpp is not told .* set model.augment: 9, or set train.augment: 0"),
        (GRID + "  objective: {name: repa}\n", "train.augment: repa learns from targets, which is of"),
        (GRID + "  objective: {target: closed_form}\n", "edm learns from ideal"),
        (GRID.replace(", gap", "") + "  objective: {name: distill}\n", "distill learns from teacher"),
    ],
)  # fmt: skip
def test_who_does_not_know_augmented_images_is_refused(
    write_grid: Write, plan_of: PlanOf, text: str, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(augmented(text)))
    plan_of(write_grid(text))


def test_an_augmented_training_comes_to_its_rows(
    write_grid: Write, difgen: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    import pandas as pd

    done = difgen("sweep", str(write_grid(augmented(GRID, 0.5))), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    assert rows.loc[rows["kind"] == "model", ["mem_frac", "gap_max"]].notna().all(axis=None)
    assert (rows["train.augment"].dropna() == 0.5).all()
