"""Plug-ins: what is read from a syntax tree, what is refused, and that a change of code is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pytest
import torch
from annotated_types import Ge, Gt

from difgen_cli.engine import columns
from difgen_cli.engine.fingerprint import fingerprint
from difgen_cli.engine.plugins import KINDS, Library, PluginError, read

sys.path.insert(0, str(Path(__file__).parent))
import pins


def _plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_signature_is_read_without_running_the_file(tmp_path: Path) -> None:
    text = """
import this_package_does_not_exist
VERSION = 3
COLUMNS = {"a": ("float64", "", "what")}
def measure(samples, train, /, held_out, *, k: Annotated[int, Gt(0)] = 5, way: Literal["a", "b"] = "a",
            sizes: tuple[int, ...] = (1, 2), path: Path, share: float | None = None):
    raise SystemExit
"""
    found = read(_plugin(tmp_path, text), "measure", builtin=True)
    assert (found.name, found.version, found.inputs) == ("mine", 3, ("samples", "train", "held_out"))
    assert found.constants["COLUMNS"] == {"a": ("float64", "", "what")}
    assert {k: s.type for k, s in found.settings.items()} == {
        "k": Annotated[int, Gt(0)], "way": Literal["a", "b"], "sizes": tuple[int, ...], "path": Path,
        "share": float | None,
    }  # fmt: skip
    assert {k: s.default for k, s in found.settings.items() if not s.required} == {
        "k": 5, "way": "a", "sizes": (1, 2), "share": None,
    }  # fmt: skip
    assert found.settings["path"].required


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def build(shape, classes, *, width=3): ...", "width has no type"),
        ("def build(shape, classes, *, width: int = 2 + len('a')): ...", "must be a literal"),
        ("def build(shape, classes, *, width: set[int] = 1): ...", "cannot be read; use bool"),
        ("def build(shape, classes, *, width: Annotated[int, __import__('os')] = 1): ...", "cannot be read"),
        ("def make(): ...", r"must define a function build"),
        ("def build(:", "not readable as Python"),
    ],
)
def test_a_plugin_that_cannot_be_read_is_refused(tmp_path: Path, text: str, words: str) -> None:
    _plugin(tmp_path / "models", text)
    with pytest.raises(PluginError, match=words):
        Library(tmp_path).signature("model", "mine")


METRIC = 'COLUMNS = {{\n    "plain": ("float64", "", "what"),\n    "mine": {}}}\n\n\ndef measure(samples): ...\n'


def test_what_reports_show_of_a_column_is_no_part_of_a_metrics_version(tmp_path: Path) -> None:
    plain = _plugin(tmp_path / "a" / "metrics", METRIC.format('("float64", "", "what")'))
    shown = _plugin(
        tmp_path / "b" / "metrics", METRIC.format('("float64", "", "what", {"label": "w", "scale": "log"})')
    )
    other = _plugin(tmp_path / "c" / "metrics", METRIC.format('("float64", "s", "what")'))
    assert fingerprint(plain) == fingerprint(shown) != fingerprint(other)
    declared = columns.declared(read(shown, "measure", builtin=False).constants["COLUMNS"])
    assert declared == {
        "plain": columns.ColumnSpec("", "what"),
        "mine": columns.ColumnSpec("", "what", label="w", scale="log", role="metric"),
    }


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('("float64", "", "what", {"lable": "w"})', "mine has the field 'lable', which is none of label, scale, role"),
        ('("float64", "", "what", {"scale": "lin"})', "mine has the scale 'lin', which is none of linear, log, ratio"),
        ('("float64", "", "what", {"role": 1})', "mine has the role 1, which is none of metric, count, features"),
        ('("float64", "", "what", {"label": 1})', "mine has the label 1, which is no text"),
        ('("float64", "", "what", "label")', "mine must be .type, unit, meaning., or these and a dict"),
        ('("float64", "what")', "mine must be .type, unit, meaning., or these and a dict"),
    ],
)
def test_a_column_that_is_declared_wrongly_is_refused_with_its_line(tmp_path: Path, entry: str, words: str) -> None:
    file = _plugin(tmp_path / "metrics", METRIC.format(entry))
    with pytest.raises(PluginError, match=f"{file}:3: COLUMNS: {words}"):
        Library(tmp_path).signature("score", "mine")


def test_a_user_plugin_may_not_take_a_built_in_name(tmp_path: Path) -> None:
    _plugin(tmp_path / "models", "def build(shape, classes): ...", "mlp.py")
    with pytest.raises(PluginError, match="mlp is a built-in plug-in"):
        Library(tmp_path).names("model")


def test_a_user_plugin_is_versioned_by_its_code(tmp_path: Path) -> None:
    one = _plugin(tmp_path / "a", 'def build(shape, classes):\n    """Docs."""\n    return 1')
    same = _plugin(tmp_path / "b", '# a comment\ndef build(shape,classes):\n    """Other docs."""\n    return 1')
    other = _plugin(tmp_path / "c", "def build(shape, classes):\n    return 2")
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert read(one, "build", builtin=False).version == fingerprint(one)


_BUILT_IN = [(kind, name) for kind in KINDS if KINDS[kind].entry for name in Library().names(kind)]


@pytest.mark.parametrize(
    "statement",
    [
        "from plugins.metrics._near import scale",
        "import plugins.metrics._near as near",
        "from plugins.metrics import _near",
        "from ._near import scale",
        "from plugins.metrics import _through",
        "import sys\nsys.path.insert(0, '.')\nfrom _near import scale",
        "import importlib\nscale = importlib.import_module('plugins.metrics.' + '_near').scale",
    ],
)
def test_a_user_plugin_is_versioned_by_the_modules_that_it_reaches(tmp_path: Path, statement: str) -> None:
    folder = tmp_path / "plugins" / "metrics"
    folder.mkdir(parents=True)
    (folder / "bright.py").write_text(f"{statement}\n\ndef measure(samples):\n    return {{}}\n")
    (folder / "_through.py").write_text("from plugins.metrics._near import scale\n")
    (folder / "_other.py").write_text("unused = 1\n")

    def version(near: str) -> int | str:
        (folder / "_near.py").write_text(near)
        read.cache_clear()
        return Library(tmp_path / "plugins").signature("score", "bright").version

    first = version("scale = 1\n")
    assert version("scale = 1  # as before\n") == first
    assert version("scale = 2\n") != first
    assert version("scale = 1\n") == first


def test_a_user_plugin_without_helpers_keeps_its_version_of_0_1_0(tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "metrics" / "plain.py"
    file.parent.mkdir(parents=True)
    file.write_text("import numpy as np\n\ndef measure(samples):\n    return {}\n")
    (file.parent / "_near.py").write_text("unused = 1\n")
    assert Library(tmp_path / "plugins").signature("score", "plain").version == fingerprint(file)


@pytest.mark.parametrize(("kind", "name"), _BUILT_IN)
def test_what_is_read_from_the_syntax_tree_is_what_python_sees(kind: str, name: str) -> None:
    import inspect

    library = Library()
    said = library.signature(kind, name)
    entry: Callable[..., Any] = getattr(library.module(kind, name), KINDS[kind].entry or "")
    parameters = inspect.signature(entry).parameters
    helper = getattr(library.module(kind, name), KINDS[kind].helper or "", None)
    further = inspect.signature(helper).parameters.values() if helper else ()
    # of inputs alone, and not imported for planning
    names = ("DenoiserLike", "Denoiser", "IdealDenoiser", "Batch", "Hidden", "Tensor", "torch")
    inputs = {**dict.fromkeys(names, Any), "nn": torch.nn, "Callable": Callable}
    hints = get_type_hints(entry, localns=inputs, include_extras=True)
    settings = {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    more = [p.name for p in further if p.kind is not p.KEYWORD_ONLY]
    assert list(said.inputs) == list(dict.fromkeys([n for n in parameters if n not in settings] + more))
    assert {n: s.type for n, s in said.settings.items()} == {n: hints[n] for n in settings}
    assert {n: s.default for n, s in said.settings.items() if not s.required} == {
        n: p.default for n, p in settings.items() if p.default is not p.empty
    }


@pytest.mark.parametrize(("kind", "name"), _BUILT_IN)
def test_every_setting_is_explained(kind: str, name: str) -> None:
    library = Library()
    entry = getattr(library.module(kind, name), KINDS[kind].entry or "")
    for setting in library.signature(kind, name).settings:
        assert f"{setting}:" in (entry.__doc__ or ""), f"{kind}/{name}: say in the docstring what {setting} is"


def test_bounds_are_read() -> None:
    train = Library().own("train")
    assert train is not None
    assert train.settings["batch"].type == Annotated[int, Gt(0)]
    assert train.settings["weight_decay"].type == Annotated[float, Ge(0)]


@pytest.mark.parametrize("file", sorted(pins.files()))
def test_a_change_of_code_that_shapes_results_is_not_silent(file: str) -> None:
    known = json.loads(pins.PINS.read_text(encoding="utf-8"))
    assert file in known, f"{file} is new: run `make pins`"
    assert known[file] == pins.pin(file), (
        f"{file} changed: raise its VERSION if results change, then record it with `make pins`"
    )


def test_no_pin_is_left_of_a_file_that_is_gone() -> None:
    assert set(json.loads(pins.PINS.read_text(encoding="utf-8"))) == set(pins.files())


def test_planning_needs_no_torch_for_any_plugin(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom difgen_cli.engine.plugins import KINDS, Library\nlibrary = Library()\n"
        "for kind in KINDS:\n    for name in library.names(kind) if KINDS[kind].entry else ():\n"
        "        s = library.signature(kind, name)\n"
        "        if {'canonical', 'foreseen'} & s.functions: library.module(kind, name)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ.copy(), check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "remedy"), [("metric", "rename it to metrics"), ("lib", "rename it to one of them")])
def test_a_folder_of_no_kind_is_refused_by_name(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., Any], name: str, remedy: str
) -> None:
    grid = write_grid()
    _plugin(tmp_path / "plugins" / name, "def measure(samples): ...\n")
    done = difgen("plan", grid)
    assert done.returncode == 2
    folder = tmp_path / "plugins" / name
    kinds = "data, condition, models, objectives, post_training, sampling, guidance, metrics, features"
    assert done.stderr == (
        f"{folder}: no kind of plug-in has this folder ({kinds}); {remedy}, or to _{name} if it holds helper modules\n"
    )


def test_files_and_folders_of_helper_modules_beside_the_kinds_are_ignored(tmp_path: Path) -> None:
    for folder in ("metrics", "_lib", ".git", "__pycache__"):
        _plugin(tmp_path / folder, "def measure(samples): ...\n")
    for file in ("README.md", "metric", "helper.py"):
        (tmp_path / file).write_text("")
    assert "mine" in Library(tmp_path).names("score")
