"""Grids: what YAML means, what points there are, and that every refusal knows its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difgen_cli.engine.grid import read
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Spaced, filter_of, number, predicate

Write = Callable[..., Path]


def _grid(tmp: Path, text: str) -> Path:
    path = tmp / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_scalars_follow_yaml_1_2(write_grid: Write) -> None:
    base = read(write_grid("base: {train: {lr: 1e-3, a: no, b: 010, c: 0x10, d: true, e: ~, f: 1_000}}")).base
    values = {path.removeprefix("train."): given.value for path, given in base.items()}
    assert values == {"lr": 0.001, "a": "no", "b": 10, "c": 16, "d": True, "e": None, "f": 1000}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("base: {model: {width: 1}}\nbase: {}", (2, 1), "given twice"),
        ("base:\n  model: {width: 1, width: 2}", (2, 21), "given twice"),
        ("base: &a {model: {width: 1}}", (1, 7), "anchors"),
        ("axes: {model.width: &a [1]}", (1, 21), "anchors"),
        ("base:\n  train: {steps: !!python/object:os.system 1}", (2, 18), "tags"),
        ("base:\n\tmodel: {}", (2, 1), "spaces"),
        ("axes:\n  model.width: []", (2, 16), "empty"),
        ("axes:\n  model.width: 64", (2, 16), "list of values"),
        ("axes:\n  model.width: [64, 64]", (2, 21), "twice"),
        ("axes:\n  model.width: {geom: [0, 8, 3]}", (2, 23), "above 0"),
        ("axes:\n  model.width: {geom: [1, 8, 1]}", (2, 23), "count of at least 2"),
        ("axes:\n  model.width: {log: [1, 8, 2]}", (2, 16), "lin: and geom:"),
        ("axes:\n  width: [64]", (2, 3), "section.name"),
        ("axes:\n  modle.width: [64]", (2, 3), "did you mean model?"),
        ("axes:\n  seed: [1]", (2, 3), "seeds: 3"),
        ("base: [1]", (1, 7), "must be a map"),
        ("base: {data: digits}", (1, 14), "must be a map"),
        ("- 1", (1, 1), "a grid is a map"),
        ("axis: {}", (1, 1), "did you mean axes?"),
        ("seeds: 0", (1, 8), "seeds"),
        ("seeds: [1, 1]", (1, 8), "seeds"),
        ("zip: [model.width, data.size]\naxes: {model.width: [1]}", (1, 20), "no axis"),
        ("zip: [model.width, data.size]\naxes: {model.width: [1], data.size: [1, 2]}", (1, 6), "one length"),
        ("skip: [{data.size: 3}]", (1, 9), "does not set"),
        ("axes: {data.size: [1]}\nskip: [{data.size: 1}]", (2, 7), "drops every cell"),
        ("axes: {data.size: [1]}\nskip: [{data.size: '< x'}]", (2, 20), "a number is expected"),
        ("base: {score: []}", (1, 15), "no metric"),
        ("base: {data: {size: {a: 1}}}", (1, 21), "a value is expected"),
        ("", (1, 1), "empty"),
        ("base: {", (1, 8), "not YAML"),
        (
            "axes: {data.size: {lin: [0, 1, 100000]}, train.steps: {lin: [0, 1, 100000]}}",
            (1, 1),
            "10,000,000,000 cells",
        ),
    ],
)
def test_bad_grids_are_refused_with_line_and_column(
    write_grid: Write, text: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(GridError, match=words) as caught:
        read(write_grid(text))
    found = caught.value.place
    assert found is not None
    assert (found.line, found.column) == place
    line, _, rest = caught.value.shown().partition("\n")
    assert f":{place[0]}:{place[1]}: " in line
    assert "\n" not in str(caught.value)
    if rest:
        assert rest.splitlines()[-1].index("^") == place[1] + 3  # the caret stands below the column


def test_deep_nesting_is_refused(write_grid: Write) -> None:
    with pytest.raises(GridError, match="nested too deeply"):
        read(write_grid("base: " + "[" * 50_000))


def test_geom_ends_at_its_last_value_and_doubles_between(write_grid: Write) -> None:
    grid = read(write_grid("axes: {train.steps: {geom: [250, 4000, 5]}, train.lr: {geom: [1e-4, 1e-2, 3]}}"))
    assert grid.values["train.steps"] == [250, 500, 1000, 2000, 4000]
    assert grid.values["train.lr"] == pytest.approx([1e-4, 1e-3, 1e-2])


@given(st.integers(1, 1000), st.integers(1001, 10**6), st.integers(2, 30))
@settings(max_examples=50)
def test_geom_has_constant_ratios(tmp_path_factory: pytest.TempPathFactory, first: int, last: int, count: int) -> None:
    path = _grid(tmp_path_factory.mktemp("g"), f"axes: {{train.steps: {{geom: [{first}, {last}, {count}]}}}}")
    values = [float(v) for v in read(path).values["train.steps"]]
    assert len(values) == count
    assert (values[0], values[-1]) == (first, last)
    ratio = (last / first) ** (1 / (count - 1))
    for a, b in pairwise(values):
        assert b / a == pytest.approx(ratio, rel=1e-9)


_values = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True)


@given(_values, _values, _values, st.integers(0, 50))
@settings(max_examples=60)
def test_points_are_the_product_minus_what_skip_drops(
    tmp_path_factory: pytest.TempPathFactory, widths: list[int], sizes: list[int], steps: list[int], bound: int
) -> None:
    text = (
        f"axes: {{model.width: {widths}, data.size: {sizes}, train.steps: {steps}}}\n"
        f"skip: [{{data.size: '> {bound}', model.width: {widths[0]}}}]\ninclude: [{{data.size: 7}}]"
    )
    grid = read(_grid(tmp_path_factory.mktemp("g"), text))
    found = [
        tuple(dict(a.levels[k])[a.paths[0]].value for a, k in zip(grid.axes, point, strict=True))
        for point in grid.points()
    ]
    wanted = [p for p in product(widths, sizes, steps) if not (p[1] > bound and p[0] == widths[0])]
    assert found == wanted


def test_setting_one_of_several_that_move_together_leaves_the_others(write_grid: Write) -> None:
    axes = "axes: {model.width: [1, 2], data.size: [5, 6], train.batch: [8, 9]}"
    text = f"{axes}\nzip: [model.width, data.size, train.batch]"
    grid = read(write_grid(text), {"data.size": "64"})
    assert grid.values == {"model.width": [1, 2], "train.batch": [8, 9]}
    assert len(list(grid.points())) == 2, "they still move together"
    assert grid.base["data.size"].value == 64
    assert read(write_grid(text), dict.fromkeys(("data.size", "model.width", "train.batch"), "1")).axes == ()


def test_zip_moves_axes_together(write_grid: Write) -> None:
    grid = read(
        write_grid("axes: {model.width: [1, 2], data.size: [5], train.batch: [8, 9]}\nzip: [model.width, train.batch]")
    )
    said = [dict(pair for a, k in zip(grid.axes, p, strict=True) for pair in a.levels[k]) for p in grid.points()]
    assert [(s["model.width"].value, s["train.batch"].value) for s in said] == [(1, 8), (2, 9)]


def test_set_replaces_a_setting_and_an_axis(write_grid: Write) -> None:
    path = write_grid("base: {train: {lr: 1}}\naxes: {model.width: [1, 2]}")
    grid = read(path, {"train.lr": "1e-4", "model.width": "7"})
    assert (grid.base["train.lr"].value, grid.base["model.width"].value, grid.axes) == (1e-4, 7, ())


def test_hash_is_of_the_content_and_not_of_its_layout(write_grid: Write) -> None:
    plain = read(write_grid("base: {train: {lr: 1e-3}}\naxes: {model.width: [1, 2]}"))
    laid_out = read(write_grid("# why\naxes:\n  model.width: [1, 2]   # two\nbase:\n  train: {lr: 0.001}\n", "b.yaml"))
    other = read(write_grid("base: {train: {lr: 1e-3}}\naxes: {model.width: [1, 3]}", "c.yaml"))
    assert plain.hash == laid_out.hash != other.hash
    assert laid_out.question == "why"


@pytest.mark.parametrize(
    ("said", "meant"), [("10k", 10_000), ("4Ki", 4096), ("1.5k", 1500), ("1.5", "1.5"), ("k", "k")]
)
def test_counts_may_be_written_short(said: str, meant: object) -> None:
    assert number(said) == meant


@given(st.integers(-100, 100), st.integers(-100, 100), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_comparison_strings_compare(value: int, bound: int, sign: str) -> None:
    import operator

    way = {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }
    assert predicate(f"{sign} {bound}")(value) is way[sign](value, bound)


def test_filters_take_values_lists_and_comparisons() -> None:
    path, holds = filter_of("data.size=<100,768")
    assert path == "data.size"
    assert [v for v in (16, 100, 256, 768) if holds(v)] == [16, 768]
    assert filter_of("condition.name=kmeans")[1]("kmeans")
    with pytest.raises(GridError, match="KEY=VALUE"):
        filter_of("data.size")


def test_spaced_values_are_numbers() -> None:
    assert math.isclose(Spaced(2.5), 2.5)
