"""Training: exact resume, snapshots, data order, average of the weights, schedules."""

import copy
import math
from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser, IdealDenoiser, loss, training_sigma
from difgen_cli.diffusion.objective import Objective
from difgen_cli.diffusion.randomness import batches, initialise, stream
from difgen_cli.diffusion.state import TrainingState
from difgen_cli.diffusion.training import rate, train
from difgen_cli.models import ClassEmbedding, mlp, unet, zero
from difgen_cli.objectives import edm, repa

IMAGES = 0.7 * torch.randn(23, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(23) % 3


def small_mlp(classes: int = 0, seed: int = 0) -> nn.Module:
    return initialise(lambda: mlp.build((1, 8, 8), classes, width=16, depth=1), seed)


def small_unet(dropout: float = 0.2) -> nn.Module:
    return initialise(lambda: unet.build((1, 8, 8), 3, width=8, depth=1, multipliers=(1, 1), dropout=dropout), 0)


def after(step: int, network: nn.Module | None = None, labels: Tensor | None = None, **settings: Any) -> TrainingState:
    """The state after `step` steps; `settings` may plan for more."""
    network = small_mlp() if network is None else network
    run = train(network, IMAGES, labels, 0.7, **({"steps": step, "batch": 8} | settings))
    return next(state for state in run if state.step == step)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A nested checkpoint as one level."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)  # type: ignore[assignment]
    else:
        return {prefix: tree}
    return {name: value for key, item in items for name, value in flat(item, f"{prefix}/{key}").items()}


def assert_identical(state: TrainingState, other: TrainingState) -> None:
    """Bit for bit: weights, average, optimizer, step, loss."""
    one, two = flat(state.checkpoint()), flat(other.checkpoint())
    assert one.keys() == two.keys()
    different = [k for k, v in one.items() if not (torch.equal(v, two[k]) if isinstance(v, Tensor) else v == two[k])]
    assert different == []


CASES = {
    "mlp": (small_mlp, None, {}),
    "conditional mlp, flips, dropped conditions": (
        lambda: small_mlp(3),
        LABELS,
        {"condition_dropout": 0.3, "flip": True, "clip": 1.0, "weight_decay": 0.1},
    ),
    "batch above the number of images": (small_mlp, None, {"batch": 50}),
    "unet with dropout": (small_unet, LABELS, {}),
    "perturbed conditions": (lambda: small_mlp(3), LABELS, {"condition_perturbation": 1.0}),
    "inverse square root": (small_mlp, None, {"schedule": "inverse_sqrt", "warmup": 3, "decay_start": 5}),
    "bf16": (small_mlp, None, {"precision": "bf16"}),
}


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_equal_ten_and_a_checkpoint_on_disk_and_ten(case: str, tmp_path: Path):
    build, labels, settings = CASES[case]
    whole = after(20, build(), labels, **settings)
    first = after(10, build(), labels, steps=20, **settings)
    torch.save(first.checkpoint(), tmp_path / "checkpoint.pt")
    torch.manual_seed(99)  # whatever else the process did in between
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = after(20, build(), labels, checkpoint=checkpoint, **settings)
    assert_identical(resumed, whole)


@pytest.mark.parametrize("case", CASES)
def test_a_snapshot_of_a_longer_run_equals_a_run_stopped_there(case: str):
    build, labels, settings = CASES[case]
    assert_identical(after(7, build(), labels, steps=30, **settings), after(7, build(), labels, **settings))


def test_only_the_cosine_schedule_knows_how_long_the_run_will_be():
    for step in range(50):
        for schedule in ("constant", "inverse_sqrt"):
            assert rate(step, schedule, 10, 20, 100) == rate(step, schedule, 10, 20, 1000)
    assert rate(49, "cosine", 10, 20, 100) != rate(49, "cosine", 10, 20, 1000)


def test_learning_rates_follow_their_formulas():
    assert [rate(step, "constant", 4, 1, 100) for step in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1, 1, 1]
    assert rate(0, "constant", 0, 1, 100) == 1
    assert rate(399, "inverse_sqrt", 0, 100, 1000) == pytest.approx(0.5)
    assert rate(50, "cosine", 0, 1, 100) == pytest.approx(0.5)
    assert rate(99, "cosine", 0, 1, 100) == pytest.approx((1 + math.cos(0.99 * math.pi)) / 2)


def test_resuming_a_finished_run_yields_nothing():
    state = after(5)
    assert list(train(small_mlp(), IMAGES, None, 0.7, state.checkpoint(), steps=5, batch=8)) == []


@pytest.mark.parametrize(("count", "batch"), [(1, 4), (5, 3), (7, 7), (16, 128), (40_000, 96), (300, 77)])
def test_every_image_is_used_equally_often(count: int, batch: int):
    steps = 3 * max(1, count // batch) + 5
    used = Counter(torch.cat(list(islice(batches(count, batch, 3, 0), steps))).tolist())
    assert sum(used.values()) == steps * batch
    assert max(used[i] for i in range(count)) - min(used[i] for i in range(count)) <= 1


@pytest.mark.parametrize(("count", "batch"), [(5, 3), (16, 128), (40_000, 999)])
def test_the_data_order_of_a_step_does_not_depend_on_where_the_run_began(count: int, batch: int):
    whole = list(islice(batches(count, batch, 3, 0), 60))
    resumed = list(islice(batches(count, batch, 3, 41), 19))
    assert all(torch.equal(a, b) for a, b in zip(whole[41:], resumed, strict=True))


def test_the_data_order_does_not_depend_on_the_batch():
    small = torch.cat(list(islice(batches(10, 4, 3, 0), 30)))
    large = torch.cat(list(islice(batches(10, 12, 3, 0), 10)))
    assert torch.equal(small, large)


def test_seeds_change_weights_order_and_noise():
    assert not torch.equal(next(batches(100, 50, 0, 0)), next(batches(100, 50, 1, 0)))
    assert len({stream(seed, purpose, t) for seed in (0, 1) for purpose in ("noise", "order") for t in range(9)}) == 36
    one, two = (torch.cat([p.flatten() for p in small_mlp(seed=seed).parameters()]) for seed in (0, 1))
    assert not torch.equal(one, two)


def test_initial_weights_are_of_their_seed_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    one = small_mlp(seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), small_mlp(seed=5).parameters(), strict=True))


def test_training_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    after(3, small_unet(), LABELS)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_average_equals_its_recursion_with_the_ramp():
    network = small_mlp()
    average = [weights.detach().clone().double() for weights in network.parameters()]
    for state in train(network, IMAGES, None, 0.7, steps=30, batch=8, ema=0.6):
        t = state.step - 1
        decay = min(0.6, (1 + t) / (10 + t))
        weights = [w.detach().double() for w in state.denoiser.parameters()]
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    for mine, expected in zip(state.ema.parameters(), average, strict=True):
        torch.testing.assert_close(mine.double(), expected, rtol=1e-5, atol=1e-6)
        assert not mine.requires_grad


def test_without_averaging_the_average_is_the_network():
    state = after(5, ema=0.0)
    assert all(torch.equal(a, b) for a, b in zip(state.ema.parameters(), state.denoiser.parameters(), strict=True))


def test_the_first_step_is_that_of_adam_on_the_edm_loss():
    network = small_mlp()
    peer = Denoiser(copy.deepcopy(network), 0.7)
    state = after(1, network, lr=2e-3, warmup=0)
    generator = torch.Generator().manual_seed(stream(0, "noise", 0))
    sigma = training_sigma(torch.randn(8, generator=generator), 0.7)
    noise = torch.randn(8, 1, 8, 8, generator=generator)
    optimizer = torch.optim.Adam(peer.parameters(), lr=2e-3)
    value = loss(peer, IMAGES[next(batches(23, 8, 0, 0))], sigma, noise, None)
    value.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in peer.parameters()])
    optimizer.step()
    torch.testing.assert_close(state.loss, value.detach())
    torch.testing.assert_close(state.grad_norm, norm)
    for mine, expected in zip(state.denoiser.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-7)


def test_clipping_bounds_the_norm_of_the_gradient():
    assert after(1, clip=0.01).grad_norm.item() == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_is_decoupled_from_the_gradient():
    """A weight without a gradient shrinks by the factor 1 − lr · decay: here the input layer, behind a zero output."""
    network = small_mlp()
    before = network.first.weight.detach().clone()
    state = after(1, network, lr=0.1, warmup=0, weight_decay=0.5)
    torch.testing.assert_close(state.denoiser.network.first.weight.detach(), before * (1 - 0.1 * 0.5))


class Recorder(nn.Module):
    """A network that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.classes, self.scale = 3, nn.Parameter(torch.zeros(()))
        self.inputs: list[Tensor] = []
        self.labels: list[Tensor] = []

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        self.inputs.append(x.detach())
        if labels is not None:
            self.labels.append(labels)
        return x * self.scale

    def __deepcopy__(self, memo: dict) -> "Recorder":
        return Recorder()


def test_conditions_are_dropped_at_their_rate_and_labels_stay_with_their_images():
    network, images = Recorder(), torch.arange(3.0)[:, None] * 1000
    for _ in train(network, images, torch.arange(3), 1e-3, steps=40, batch=300, condition_dropout=0.2):
        pass
    labels, inputs = torch.cat(network.labels), torch.cat(network.inputs)
    dropped = (labels == 3).double().mean().item()
    assert dropped == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 12_000))
    # c_in = 1/√(σ² + σ_d²) with σ ≪ 1000: only images of label 0 stay of the size of the noise.
    assert ((inputs[:, 0].abs() < 10) == (labels == 0))[labels < 3].all()


def test_a_condition_is_perturbed_by_its_length_in_training_alone():
    """γ/√d in each of d dimensions, drawn anew for each item, and nothing where the network is not trained."""
    embedding = ClassEmbedding(3, 400)
    embedding.perturbation = 2.0
    hidden, labels = torch.zeros(50, 400), torch.zeros(50, dtype=torch.int64)
    disturbed = embedding(hidden, labels) - embedding.table.weight[0]
    assert disturbed.norm(dim=1).mean().item() == pytest.approx(2.0, rel=0.02)
    assert disturbed.std().item() == pytest.approx(2.0 / math.sqrt(400), rel=0.02)
    assert torch.corrcoef(disturbed.detach()).fill_diagonal_(0).abs().max() < 0.3
    torch.testing.assert_close(embedding.eval()(hidden, labels), embedding.table.weight[0].expand(50, -1))


def test_perturbing_by_nothing_changes_no_bit_and_by_something_the_weights():
    plain, none, some = (
        after(3, small_mlp(3), LABELS, **settings)
        for settings in ({}, {"condition_perturbation": 0.0}, {"condition_perturbation": 1.0})
    )
    assert_identical(plain, none)
    weights = [dict(state.denoiser.named_parameters())["network.last.weight"] for state in (plain, some)]
    assert not torch.equal(*weights)


def test_a_network_that_cannot_perturb_its_condition_is_named():
    with pytest.raises(ValueError, match="needs Recorder to have a module with an attribute `perturbation`"):
        next(train(Recorder(), IMAGES, LABELS, 0.7, steps=1, condition_perturbation=1.0))


def test_flips_mirror_half_of_the_images_from_left_to_right():
    network = Recorder()
    image = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]]).expand(1, 1, 2, 2)
    for _ in train(network, image, None, 1e-3, steps=10, batch=200, flip=True):
        pass
    mirrored = torch.cat(network.inputs)[:, 0].sign()
    assert torch.equal(mirrored[:, :, 0], -mirrored[:, :, 1])
    assert (mirrored[:, 0, 0] < 0).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_bf16_keeps_weights_average_and_loss_in_float32():
    state = after(3, precision="bf16")
    assert state.loss.dtype == torch.float32
    assert {p.dtype for p in (*state.denoiser.parameters(), *state.ema.parameters())} == {torch.float32}
    assert state.loss.item() == pytest.approx(after(3).loss.item(), rel=0.05)


def test_training_approaches_the_ideal_denoiser():
    """Three points in the plane: the loss of the average comes near its closed-form minimum, from 1."""
    points = torch.tensor([[0.8, 0.0], [-0.5, 0.7], [-0.3, -0.7]])
    network = initialise(lambda: mlp.build((2,), 0, width=64, depth=2), 0)
    *_, state = train(network, points, None, 0.6, steps=1200, batch=128, lr=2e-3)
    generator = torch.Generator().manual_seed(1)
    clean = points.repeat(5000, 1)
    sigma = training_sigma(torch.randn(len(clean), generator=generator), 0.6)
    noise = torch.randn(clean.shape, generator=generator)
    with torch.no_grad():
        trained = loss(state.ema, clean, sigma, noise, None).item()
        best = loss(IdealDenoiser(points, 0.6), clean, sigma, noise, None).item()  # type: ignore[arg-type]
    assert best <= trained < best + 0.05


@pytest.mark.parametrize(
    ("images", "labels", "settings", "message"),
    [
        (IMAGES[:0], None, {}, "no images"),
        (IMAGES, LABELS[:5], {}, "as many labels"),
        (torch.randn(5, 2), None, {"flip": True}, "cannot be mirrored"),
        (IMAGES, None, {"condition_dropout": 0.1}, "needs a condition"),
        (IMAGES, None, {"condition_perturbation": 0.1}, "needs a condition"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(images: Tensor, labels: Tensor | None, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        next(train(small_mlp(), images, labels, 0.7, steps=1, **settings))


def test_a_network_without_classes_cannot_drop_conditions():
    network = small_mlp(3)
    del network.classes
    with pytest.raises(ValueError, match="attribute `classes`"):
        next(train(network, IMAGES, LABELS, 0.7, steps=1, condition_dropout=0.1))


class Partly(nn.Module):
    """Of its layers one is not called, one is detached, and one has no effect; the last starts at zero."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.used, self.last = nn.Linear(64, 8), zero(nn.Linear(8, 64))
        self.uncalled, self.detached, self.without_effect = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.fixed = nn.Linear(8, 8).requires_grad_(False)
        self.table = nn.Embedding(classes + 1, 8)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        hidden = self.fixed(self.used(x.flatten(1)))
        if labels is not None:
            hidden = hidden + self.table(labels)
        hidden = hidden + self.detached(hidden).detach() + 0 * self.without_effect(hidden)
        return self.last(hidden).view_as(x)


FROZEN = tuple(f"{layer}.{part}" for layer in ("uncalled", "detached", "without_effect") for part in ("weight", "bias"))


@pytest.mark.parametrize("conditional", [True, False])
def test_parameters_that_no_loss_trains_are_named_after_twelve_steps(conditional: bool):
    """Not a table of conditions where there are none, nor one of which two rows alone are ever asked for."""
    labels = torch.arange(len(IMAGES)) % 2 if conditional else None
    known = [state.frozen for state in train(Partly(20), IMAGES, labels, 0.7, steps=13, batch=4)]
    assert known == 11 * [None] + 2 * [FROZEN]


def test_a_resumed_training_knows_them_as_soon_as_one_that_went_through(tmp_path: Path):
    begun = after(5, Partly(), steps=20)
    torch.save(begun.checkpoint(), tmp_path / "checkpoint.pt")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    known = [s.frozen for s in train(Partly(), IMAGES, None, 0.7, saved, steps=12, batch=8)]
    assert known == 6 * [None] + [FROZEN]
    del saved["idle"]  # as 0.1.0 left it: twelve steps from there on
    known = [s.frozen for s in train(Partly(), IMAGES, None, 0.7, saved, steps=18, batch=8)]
    assert known == 11 * [None] + 2 * [FROZEN]


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_of_our_networks_is_trained(case: str):
    build, labels, settings = CASES[case]
    assert after(12, build(), labels, **settings).frozen == ()


def test_sgd_resumes_to_the_same_bits_and_is_not_adam() -> None:
    settings = {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.1, "batch": 8}
    whole = after(20, **settings)
    saved = copy.deepcopy(after(10, **settings).checkpoint())
    *_, resumed = train(small_mlp(), IMAGES, None, 0.7, saved, steps=20, **settings)
    assert_identical(resumed, whole)
    assert not same_weights(whole, after(20, lr=0.05, weight_decay=0.1))
    assert not same_weights(whole, after(20, momentum=0.5, **settings))


def test_a_training_with_heads_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Their weights are in checkpoints, not in the average; at weight 0 they change nothing of the network."""
    targets = torch.randn(len(IMAGES), 3, generator=torch.Generator().manual_seed(0))

    def run(steps: int, saved: dict | None = None, alignment: float = 0.5) -> TrainingState:
        loss = partial(repa.loss, alignment=alignment)
        heads = partial(repa.heads, head_width=8)
        objective = Objective(loss, heads=heads, inputs={"targets": targets}, asks=("heads", "hidden", "targets"))
        *_, state = train(small_mlp(), IMAGES, None, 0.7, saved, objective=objective, steps=steps, batch=8)
        return state

    whole, half = run(20), run(10)
    torch.save(half.checkpoint(), tmp_path / "half")
    resumed = run(20, torch.load(tmp_path / "half", weights_only=True))
    for part in ("network", "ema", "heads"):
        for name, value in whole.checkpoint()[part].items():
            assert torch.equal(value, resumed.checkpoint()[part][name]), (part, name)
    assert not any("heads" in name for name in whole.ema.state_dict())
    assert same_weights(run(20, alignment=0.0), after(20))
    assert not same_weights(whole, after(20))


@pytest.mark.parametrize("flip", [False, True])
def test_the_objective_edm_without_a_bank_trains_the_same_bits_as_without_an_objective(flip: bool) -> None:
    """And whatever its settings, it draws the batch as ever: a bank is another noise for the same images."""

    def run(bank: int | None) -> TrainingState:
        draw = partial(edm.draw, noise_bank=bank, target="stochastic")
        objective = Objective(partial(edm.loss, noise_bank=bank), draw=draw, inputs={"ideal": None},
                              draw_asks=("ideal",))  # fmt: skip
        *_, state = train(small_mlp(), IMAGES, None, 0.7, objective=objective, steps=10, batch=8, flip=flip)
        return state

    plain = after(10, batch=8, flip=flip)
    assert same_weights(run(None), plain)
    assert not same_weights(run(4), plain)


def same_weights(a: TrainingState, b: TrainingState) -> bool:
    pairs = zip(a.ema.network.parameters(), b.ema.network.parameters(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)
