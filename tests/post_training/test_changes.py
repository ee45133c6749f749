"""Changes of weights, number by number against Python's own arithmetic."""

from __future__ import annotations

import importlib.util
import itertools
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from difgen_cli.diffusion.objective import Draws
from difgen_cli.post_training import none, prune, quantise

PER = pytest.mark.parametrize("per", ["tensor", "channel"])


def weights() -> dict[str, Tensor]:
    """A matrix, a kernel, a row of zeros, a bias, a count: what a network's state may hold."""
    normal = torch.Generator().manual_seed(3)
    matrix = torch.randn(5, 7, generator=normal) * torch.tensor([0.01, 0.1, 1.0, 10.0, 0.0])[:, None]
    kernel = torch.randn(3, 2, 2, 2, generator=normal)
    return {
        "matrix": matrix,
        "kernel": kernel,
        "bias": torch.randn(5, generator=normal),
        "steps": torch.ones(2, 2).int(),
    }


def groups(tensor: Tensor, per: str) -> list[list[float]]:
    """The weights that share a step, or a ranking."""
    rows = [row.flatten().tolist() for row in tensor]
    return rows if per == "channel" else [list(itertools.chain(*rows))]


def rounded(group: list[float], bits: int) -> list[float]:
    """Each weight at the nearest of the 2^bits − 1 levels, by exact fractions."""
    top, levels = max(Fraction(abs(w)) for w in group), 2 ** (bits - 1) - 1
    return [float(round(Fraction(w) * levels / top) * top / levels) if top else w for w in group]


@PER
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_quantised_weights_are_those_of_exact_fractions(bits: int, per: str) -> None:
    before = weights()
    after = quantise.apply(weights(), bits=bits, per=per)
    for name in ("matrix", "kernel"):
        for group, same in zip(groups(before[name], per), groups(after[name], per), strict=True):
            assert same == pytest.approx(rounded(group, bits), rel=1e-6, abs=1e-30)
            assert len(set(same)) <= 2**bits - 1
            assert max(map(abs, same)) == max(map(abs, group))


def test_a_half_goes_to_the_even_level() -> None:
    """Three bits: levels −3 … 3, of step 1 here."""
    row = torch.tensor([[3.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    assert quantise.apply({"w": row}, bits=3, per="tensor")["w"].tolist() == [[3, 0, 2, 2, 0, -2, -2]]


@PER
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_pruned_weights_are_the_smallest(share: float, per: str) -> None:
    before = weights()
    after = prune.apply(weights(), share=share, per=per)
    for name in ("matrix", "kernel"):
        for group, same in zip(groups(before[name], per), groups(after[name], per), strict=True):
            order = sorted(range(len(group)), key=lambda k, group=group: (abs(group[k]), k))
            gone = set(order[: round(share * len(group))])
            assert same == [0.0 if k in gone else w for k, w in enumerate(group)]


def test_equal_weights_go_in_their_order() -> None:
    assert prune.apply({"w": torch.tensor([[2.0, -1, 1, 1]])}, share=0.5, per="tensor")["w"].tolist() == [[2, 0, 0, 1]]


@pytest.mark.parametrize("change", [lambda w: quantise.apply(w, bits=2), lambda w: prune.apply(w, share=1.0)])
def test_vectors_and_counts_stay_to_the_bit(change) -> None:
    before, after = weights(), change(weights())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype
               for name in ("bias", "steps"))  # fmt: skip
    assert not torch.equal(before["matrix"], after["matrix"])


def test_what_changes_nothing_is_none() -> None:
    assert quantise.canonical({"bits": 32, "per": "tensor"}) == ("none", {})
    assert prune.canonical({"share": 0.0, "per": "channel"}) == ("none", {})
    assert quantise.canonical({"bits": 8, "per": "tensor"}) == ("quantise", {"bits": 8, "per": "tensor"})
    plain = weights()
    assert none.apply(plain) is plain
    assert all(torch.equal(w, plain[n]) for n, w in prune.apply(weights(), share=0.0).items())


def test_noise_of_a_plugin_is_of_rank_one_and_the_same_again() -> None:
    file = Path(__file__).parents[1] / "plugins" / "post_training" / "rank_one_noise.py"
    spec = importlib.util.spec_from_file_location("rank_one_noise", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    first, again, other = (
        module.apply({"matrix": weights()["matrix"]}, Draws(seed, torch.device("cpu")), scale=0.5)["matrix"]
        for seed in (1, 1, 2)
    )
    assert torch.linalg.matrix_rank((first - weights()["matrix"]).double(), rtol=1e-5) == 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
