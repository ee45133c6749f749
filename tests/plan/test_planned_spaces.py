"""Feature spaces with settings of their own: read as written, in keys where they differ, refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import spaces
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plugins import Library
from difgen_cli.features import pca

LIBRARY = Library(None)


def recipe(text: str) -> Recipe:
    """As planning makes it of a space without a file of weights."""
    space = spaces.resolved(text, LIBRARY, "score.ood.features", None)
    return Recipe(Operation("features", space.name, space.signature.version, space.changed), {})


def test_settings_are_read_and_those_at_their_default_are_in_no_key() -> None:
    plain, same, other = (recipe(text) for text in ("pca", "pca(components=64)", " pca( components = 2 ) "))
    assert plain.key == same.key == recipe("pca()").key
    assert plain.key == Recipe(Operation("features", "pca", pca.VERSION, {}), {}).key
    assert other.key != plain.key
    assert [spaces.of(space) for space in (plain, same, other)] == ["pca", "pca", "pca(components=2)"]
    images = np.random.default_rng(0).standard_normal((9, 4, 4, 1)).astype(np.float32)
    assert pca.embed(images, pca.fit(images, **spaces.settings_of(other))).shape == (9, 2)


def test_what_a_file_of_weights_is_is_no_setting() -> None:
    space = Recipe(Operation("features", "dino", 1, {spaces.WEIGHTS: "ab" * 32}), {})
    assert spaces.settings_of(space) == {}
    assert spaces.of(space) == "dino"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pcb", r"score.ood.features: no feature space is called 'pcb' \("),
        ("pca(components=2", r"no feature space is called 'pca\(components=2'"),
        ("pca(2)", r"2 is no setting of pca; write pca\(key=value\)"),
        ("pca(parts=2)", "score.ood.features.parts: unknown setting"),
        ("pca(components=0)", "score.ood.features.components: must be greater than 0"),
        ("pca(components=two)", "score.ood.features.components: must be a valid integer"),
        ("pixels(side=2)", "unknown setting"),
        ("pca(components=2, components=3)", "score.ood.features: components stands twice in pca"),
        ("pca(name=pixels)", "score.ood.features: name stands twice in pca"),
    ],
)
def test_what_cannot_be_had_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(GridError, match=words) as raised:
        spaces.resolved(text, LIBRARY, "score.ood.features", None)
    assert "\n" not in str(raised.value)
