"""Were these images used? How often each test says so of images that were not used, and of images that were.

    python benchmarks/claims.py [--seeds 24] [--steps 900] [--width 64] [--worlds 500] [--runs RUNS] [--json] [--quick]

The models are those of benchmarks/calibrated.py: digits MLPs, N = 256 of 897, trained into RUNS (a temporary folder by
default, or one that has them already). A claim is of one digit, or of any; its images are of the pool, and the model
was trained on none or on all of them. Control images are 200 of those that no model was trained on. In each world the
model, its references, the claim and the control are drawn. `null_01`, `null_05`: shares of worlds with p < .01, < .05
where nothing was used; `power_01`, `power_05` where all was. `over images` is the test that takes images for
independent, at the same scores. The rows of shares have the mean estimate of planted shares, and how often the interval
holds them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibrated import swept
from measuring import Results, parser
from scipy.stats import mannwhitneyu

from difgen_cli import data, pretrained
from difgen_cli.data import digits
from difgen_cli.metrics._claim_lines import ClaimModels
from difgen_cli.metrics._claim_share import share_used
from difgen_cli.metrics._claims import by_images, by_models, by_twins

COLUMNS = ("test", "claim", "images", "references", "null_01", "null_05", "power_01", "power_05", "share", "covers")
CONTROL, LEVEL = 200, 0.25
SIZES = (10, 50, 100)
COUNTS = (2, 4, 10)


@dataclass(frozen=True)
class Farm:
    """Scores of the pool (M, n) and of held-out images (M, h), who was trained on what (M, n), and digits (n,)."""

    phi: np.ndarray
    phi_held_out: np.ndarray
    trained: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """One world: scores of the model and of its references for claim and control; pool: of the references alone."""

    own: np.ndarray
    phi: np.ndarray
    trained: np.ndarray
    of_claim: np.ndarray
    pool: tuple[np.ndarray, np.ndarray]


def farm(folder: Path, width: int, steps: int, seeds: int) -> Farm:
    """The scores that the metric `claim` gives, of all models and images."""
    (models,) = swept(folder, width, [steps], seeds)
    pool, parts = digits.load(), [data.split(digits.load(), size=256, held_out=900, seed=seed) for seed in models.seeds]
    rest, held_out = parts[0].rest, parts[0].held_out
    images = data.scaled(pool.images[np.concatenate([rest, held_out])])
    sigma, scores = data.sigma_data(pool.images[rest]), []
    snapshots = {
        path.parents[1].name: path for path in folder.glob(f"runs/trajectories/*/snapshots/{steps}.safetensors")
    }
    for seed in models.seeds:
        name = next(n for n in snapshots if n.rpartition("-")[0].endswith(f"-seed{seed}" if seed else f"width{width}"))
        denoiser = pretrained.read(snapshots[name]).denoiser(sigma)
        scores.append(ClaimModels(denoiser, [], LEVEL * sigma, False).scores(denoiser, images))
    both = np.array(scores)
    trained = np.array([np.isin(rest, part.train) for part in parts])
    assert pool.labels is not None
    return Farm(both[:, : len(rest)], both[:, len(rest) :], trained, pool.labels[rest])


def world(own: Farm, chance: np.random.Generator, kind: str, size: int, count: int, share: float) -> Drawn | None:
    """A model, references, and a claim of which it was trained on a share; None where there are too few images."""
    m = int(chance.integers(len(own.phi)))
    at = chance.permutation(np.delete(np.arange(len(own.phi)), m))[:count]
    of_kind = np.ones(len(own.labels), bool) if kind == "any" else own.labels == chance.integers(10)
    inside = chance.permutation(np.flatnonzero(own.trained[m] & of_kind))[: round(share * size)]
    outside = chance.permutation(np.flatnonzero(~own.trained[m] & of_kind))[: size - round(share * size)]
    if len(inside) + len(outside) < size:
        return None
    claim, control = np.concatenate([inside, outside]), chance.permutation(own.phi_held_out.shape[1])[:CONTROL]
    phi = np.hstack([own.phi[:, claim], own.phi_held_out[:, control]])
    trained = np.hstack([own.trained[:, claim], np.zeros((len(own.phi), CONTROL), bool)])
    some = chance.permutation(len(own.labels))[:512]
    pool = own.phi[np.ix_(at, some)], own.trained[np.ix_(at, some)]
    return Drawn(phi[m], phi[at], trained[at], np.arange(size + CONTROL) < size, pool)


def over_images(one: Drawn) -> float:
    """The p-value of a rank test over images, beside the references that were not trained on them."""
    count = (~one.trained).sum(axis=0)
    mean = np.where(one.trained, 0.0, one.phi).sum(axis=0) / np.maximum(count, 1)
    scores = np.where(count > 0, one.own - mean, np.nan)
    claim, control = (scores[side & ~np.isnan(scores)] for side in (one.of_claim, ~one.of_claim))
    return float(mannwhitneyu(claim, control, alternative="greater").pvalue)


def over_models(one: Drawn) -> float:
    test = by_models(one.own, one.phi, one.trained, one.of_claim)
    return float("nan") if test is None else test.p


def controls_alone(one: Drawn) -> float:
    """Test 4 before it is capped."""
    own = one.own
    return by_images(own[one.of_claim], own[~one.of_claim], alike=True, permutations=199).p


def twins(own: Farm, chance: np.random.Generator, pairs: int, used: bool) -> float:
    """Test 1: of each pair one was published, and trained on where used."""
    m = int(chance.integers(len(own.phi)))
    outside = chance.permutation(np.flatnonzero(~own.trained[m]))
    published = chance.permutation(np.flatnonzero(own.trained[m])) if used else outside[pairs:]
    return by_twins(own.phi[m, published[:pairs]], own.phi[m, outside[:pairs]]).p


def rates(values: list[list[float]]) -> dict[str, float]:
    """Shares of p-values (null, all used) below both levels."""
    names = ("null_01", "null_05", "power_01", "power_05")
    null, used = (np.array(side)[~np.isnan(side)] for side in values)
    return dict(zip(names, ((side < level).mean() for side in (null, used) for level in (0.01, 0.05)), strict=True))


def main() -> None:
    options = parser(__doc__, 1)
    options.add_argument("--seeds", type=int, default=24)
    options.add_argument("--steps", type=int, default=900)
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--worlds", type=int, default=500)
    options.add_argument("--runs", type=Path, default=None)
    given = options.parse_args()
    if given.quick:
        given.seeds, given.steps, given.width, given.worlds = 3, 20, 16, 3
    with tempfile.TemporaryDirectory() as temporary, Results("claims", given.json, COLUMNS, ("torch",)) as results:
        own, chance = (
            farm(given.runs or Path(temporary), given.width, given.steps, given.seeds),
            np.random.default_rng(0),
        )
        for pairs in SIZES:
            values = [[twins(own, chance, pairs, used) for _ in range(given.worlds)] for used in (False, True)]
            results.add(test="1 random twins", claim="any", images=pairs, **rates(values))
        for kind, size in (("one digit", 10), ("one digit", 20), *(("any", size) for size in SIZES)):
            for count in (count for count in COUNTS if count < len(own.phi)):
                tests = {"3 reference models": over_models, "over images": over_images}
                tests |= {"4 control images, not capped": controls_alone} if count == COUNTS[0] else {}
                drawn = [
                    [world(own, chance, kind, size, count, share) for _ in range(given.worlds)] for share in (0.0, 1.0)
                ]
                for name, test in tests.items():
                    values = [[test(one) for one in side if one is not None] for side in drawn]
                    results.add(test=name, claim=kind, images=size, references=count, **rates(values))
        for count, share in ((c, s) for c in (4, 10) for s in (0.0, 0.5, 1.0) if c < len(own.phi)):
            estimates = []
            for one in filter(None, (world(own, chance, "any", 50, count, share) for _ in range(given.worlds))):
                asked = np.concatenate([one.of_claim, np.zeros(one.pool[0].shape[1], bool)])
                estimate = share_used(
                    np.concatenate([one.own, np.zeros(one.pool[0].shape[1])]), np.hstack([one.phi, one.pool[0]]),
                    np.hstack([one.trained, one.pool[1]]), asked, np.arange(len(asked)) >= len(one.of_claim),
                )  # fmt: skip
                estimates += [] if estimate is None else [estimate]
            value, lower, upper = np.array(estimates).T if estimates else np.full((3, 1), np.nan)
            covers = ((lower <= share) & (share <= upper)).mean()
            results.add(test=f"share, planted {share}", claim="any", images=50, references=count,
                        share=float(value.mean()), covers=float(covers))  # fmt: skip


if __name__ == "__main__":
    main()
