"""How far the weights go in training: against the weights of every step, a straight line, and what is resumed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import weight_path
from difgen_cli.diffusion.optimizer import Flat, Sgd, flatten
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.diffusion.weight_path import WeightPath
from difgen_cli.models import mlp

IMAGES = 0.7 * torch.randn(23, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def plain() -> nn.Module:
    return initialise(lambda: mlp.build((1, 8, 8), 0, width=16, depth=1), 0)


class Shortened(nn.Module):
    """Every step begins with weights that are half as long: a step of the whole training is this one too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = plain()

    def constrain(self) -> None:
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(0.5)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        out: Tensor = self.inner(x, noise, labels)
        return out


def states(network: nn.Module, steps: int, **settings: Any) -> list[tuple[float | None, Tensor, TrainingState]]:
    """The length, all weights and the state after each step."""
    run = train(network, IMAGES, None, 0.7, **({"steps": steps, "batch": 8, "weight_path": True} | settings))
    return [(state.path.length, weights(network), state) for state in run]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().double().flatten() for weight in network.parameters()])


@pytest.mark.parametrize("part", [100, 1 << 18])
@pytest.mark.parametrize(
    ("build", "settings"),
    [(plain, {"weight_decay": 0.1, "clip": 0.1}), (plain, {"optimizer": "sgd", "warmup": 0}), (Shortened, {})],
)
def test_it_is_the_sum_of_distances_between_the_weights_of_all_steps(
    build: Any, settings: dict[str, Any], part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_path, "PART", part)
    network = build()
    before, expected = weights(network), 0.0
    for length, after, _ in states(network, 8, **settings):
        expected += float((after - before).norm())
        before = after
        assert length == pytest.approx(expected, rel=1e-6)
    assert expected > 0


def test_a_straight_line_is_as_long_as_its_ends_are_apart_and_to_and_fro_is_not() -> None:
    """w ← w − lr g with ‖g‖ = 5, lr = 0.25, over 6 steps: 7.5, whether the weights end there or where they began."""
    for turns, apart in ((False, 7.5), (True, 0.0)):
        network = nn.Linear(2, 1, bias=False)
        (array,) = flatten(network)
        optimizer, path, start = Sgd([array]), WeightPath([array]), array.array.clone()
        for step in range(6):
            path.leave()
            push(array, -1.0 if turns and step % 2 else 1.0)
            optimizer.step(0.25)
            path.arrive()
        assert path.length == pytest.approx(7.5)
        assert float((array.array - start).norm()) == pytest.approx(apart, abs=1e-5)


def push(array: Flat, sign: float) -> None:
    array.parameters[0].grad = sign * torch.tensor([[3.0, 4.0]])
    array.gather()


def test_training_is_the_same_to_the_bit_and_a_stopped_one_goes_on_from_its_length() -> None:
    whole, off = states(plain(), 20), states(plain(), 20, weight_path=False)
    assert torch.equal(whole[-1][1], off[-1][1])
    assert "path" not in off[-1][2].checkpoint()
    checkpoint = states(plain(), 10)[-1][2].checkpoint()
    resumed = states(plain(), 20, checkpoint=checkpoint)
    assert [length for length, *_ in resumed] == [length for length, *_ in whole[10:]]


def test_no_length_is_given_of_a_part_of_the_steps() -> None:
    bare = states(plain(), 5, weight_path=False)
    resumed = states(plain(), 9, checkpoint=bare[-1][2].checkpoint())
    assert {length for length, *_ in bare + resumed} == {None}
    measured = states(plain(), 5)[-1][2].checkpoint()
    assert states(plain(), 9, checkpoint=measured, weight_path=False)[-1][0] is None
