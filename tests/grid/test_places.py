"""What is wrong in a grid or a flag is said where it stands; what nobody will get of a grid is noted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli import sweep
from difgen_cli.engine.grid.document import GridError

HEAD = "# Does it work?\nbase:\n  data: {name: digits, held_out: 900, size: 8}\n"
TWO = "axes: {data.size: [8, 16], model.width: [8, 9]}\n"
WRONG = {
    "comparison": ('axes: {data.size: [8, 16]}\nskip: [{data.size: ">> 16"}]\n', "g.yaml:6:20: not YAML"),
    "digits": (f"  sample: {{seed: {'9' * 5000}}}\n", "g.yaml:5:18: a whole number of 5,000 digits"),
    "seed": (f"  sample: {{seed: {2**63}}}\n", "g.yaml:5:18: sample.seed: must be below 2^63"),
    "seed of a suffix": ("  sample: {seed: 10000000000G}\n", "sample.seed: must be below 2^63"),
    "last seed": (f"  train: {{seed: {2**63 - 1}}}\nseeds: 2\n", "train.seed: must be below 2^63"),
    "seeds": (f"seeds: [{2**63}]\n", "nor a list of different whole numbers below 2^63"),
    "section": ("axes: {model: [mlp, unet]}\n", "name one of it, such as model.name"),
    "zip of nothing": (
        "axes: {data.size: [8, 16], model.width: [8, 9]}\nzip: [data.size, model.with]\n",
        "mean model.width?",
    ),
    "zip twice": (
        "axes: {data.size: [8, 16], model.width: [8, 9]}\nzip: [data.size, data.size]\n",
        "data.size is zipped twice",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_grid_is_said_where_it_stands(case: str, write_grid: Callable[..., Path]) -> None:
    text, words = WRONG[case]
    grid = write_grid(f"{HEAD.replace(', size: 8', '')}  model: {{name: mlp}}\n{text}", "g.yaml")
    with pytest.raises(GridError) as caught:
        sweep.prepare(grid, grid.parent / "runs", {})
    assert words in caught.value.shown()


@pytest.mark.parametrize("value", ["[16,64", "{", "1" + "0" * 5000])
def test_what_is_wrong_in_a_flag_is_said_of_the_flag(value: str, write_grid: Callable[..., Path]) -> None:
    grid = write_grid(f"{HEAD}  model: {{name: mlp}}\n", "g.yaml")
    with pytest.raises(GridError) as caught:
        sweep.prepare(grid, grid.parent / "runs", {"data.size": value})
    assert f"g.yaml: --set data.size={value[:10]}" in caught.value.shown()
    with pytest.raises(GridError, match=r"--only data\.size="):
        sweep.prepare(grid, grid.parent / "runs", {}, [f"data.size={value}"])


NOTED = {
    "one sample": ("  sample: {count: 1}\n", "sample.count: one sample has no Fréchet distance"),
    "no condition": ("  score: [clusters]\n", "score.clusters: there is no condition"),
    "clusters": (
        "  condition: {name: kmeans, clusters: 64}\n",
        "condition.clusters: 64 are more than the 8 training",
    ),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_nobody_will_get_is_noted(case: str, write_grid: Callable[..., Path]) -> None:
    text, words = NOTED[case]
    made = sweep.prepare(write_grid(f"{HEAD}  model: {{name: mlp}}\n{text}"), Path("none"), {}).plan
    assert any(words in note for note in made.warnings), made.warnings
    plain = sweep.prepare(write_grid(f"{HEAD}  model: {{name: mlp}}\n"), Path("none"), {}).plan
    assert not any(words in note for note in plain.warnings)
