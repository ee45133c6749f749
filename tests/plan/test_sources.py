"""Identity covers all that is read: data behind links, files that only the code names, files of other plug-ins."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.sections import Section, resolve, resolve_metric
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store


def _images(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 4), np.uint8)
    for k, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{k}.bmp")  # no compression: all have one size


def _content(tmp_path: Path, section: Section, library: Library | None = None) -> tuple[str, list[str]]:
    """What another command finds."""
    finder = Finder(Store(tmp_path / "runs"), library or Library(), tmp_path)
    content = finder(section).content
    finder.save()
    return content, finder.notes


def _data(library: Library, name: str, **settings: str) -> Section:
    return resolve("data", {k: Given(v) for k, v in {"name": name, **settings}.items()}, library)


def test_data_behind_linked_folders_are_looked_at_again(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        _images(tmp_path / "elsewhere" / name, 0)
        (tmp_path / "classes").mkdir(exist_ok=True)
        (tmp_path / "classes" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "dogs" / "around").symlink_to(tmp_path / "elsewhere")  # leads back, and is no image
    section = _data(Library(), "folder", path="classes")
    first, _ = _content(tmp_path, section)
    assert _content(tmp_path, section)[0] == first
    _images(tmp_path / "elsewhere" / "dogs", 1)
    assert _content(tmp_path, section)[0] != first


def test_a_file_whose_size_and_time_were_set_back_is_looked_at_again(tmp_path: Path) -> None:
    _images(tmp_path / "images", 0)
    section, file = _data(Library(), "folder", path="images"), tmp_path / "images" / "0.bmp"
    first, before = _content(tmp_path, section)[0], file.stat()
    _images(tmp_path / "images", 1)
    for path in (tmp_path / "images").iterdir():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _content(tmp_path, section)[0] != first


MINE = """
import numpy as np
from difgen_cli.data import Pool
{sources}
COUNT = np.zeros(1, int)

def load({settings}):
    COUNT[0] += 1
    return Pool(np.load({path}))
"""


@pytest.mark.parametrize(
    ("settings", "path", "given"),
    [
        ("*, file: str", "file", {"file": "{0}/x.npy"}),
        ("", "'{0}/x.npy'", {}),
        ("*, name_: str = 'a'", "'{0}/x.npy'", {}),
    ],
)
def test_a_data_plugin_that_names_no_file_is_loaded_each_time_and_that_is_said(
    tmp_path: Path, settings: str, path: str, given: dict[str, str]
) -> None:
    (tmp_path / "plugins" / "data").mkdir(parents=True)
    (tmp_path / "plugins" / "data" / "mine.py").write_text(
        MINE.format(sources="", settings=settings, path=path.format(tmp_path))
    )
    library = Library(tmp_path / "plugins")
    section = _data(library, "mine", **{k: v.format(tmp_path) for k, v in given.items()})
    found = []
    for value in (0, 0, 1):
        np.save(
            tmp_path / "x.npy",
            np.full((8, 4, 4, 1), value, np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None],
        )
        found.append(_content(tmp_path, section, library))
    assert found[0] == found[1] != found[2]
    assert "SOURCES" in found[0][1][0]


@pytest.mark.parametrize(("sources", "settings"), [("SOURCES = ('x.npy',)", ""), ("", "*, path: Path")])
def test_a_data_plugin_that_says_what_it_reads_is_loaded_when_that_changes(
    tmp_path: Path, sources: str, settings: str
) -> None:
    (tmp_path / "plugins" / "data").mkdir(parents=True)
    text = MINE.format(sources=f"from pathlib import Path\n{sources}", settings=settings, path=f"'{tmp_path}/x.npy'")
    (tmp_path / "plugins" / "data" / "mine.py").write_text(text)
    library = Library(tmp_path / "plugins")
    section = _data(library, "mine", **({"path": "x.npy"} if settings else {}))
    count = library.module("data", "mine").COUNT
    for value, loads in ((0, 1), (0, 1), (1, 2)):
        if loads > count[0]:
            np.save(tmp_path / "x.npy", np.arange(value, value + 128, dtype=np.uint8).reshape(8, 4, 4, 1))
        assert not _content(tmp_path, section, library)[1]
        assert count[0] == loads


def test_another_content_of_a_file_that_a_users_metric_reads_makes_another_version(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "near.py").write_text("def measure(samples, *, path: Path):\n    return {}\n")
    library, versions = Library(tmp_path / "plugins"), []
    for content in ("one", "two", "one"):
        (tmp_path / "list.txt").write_text(content)
        given = {"path": Given(str(tmp_path / "list.txt"))}
        versions.append(resolve_metric("near", given, library, None)[0].signature.version)
    assert versions[0] == versions[2] != versions[1]
