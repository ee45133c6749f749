"""A folder of image files; its sub-folders are the classes, if there are any."""

from pathlib import Path

import numpy as np

from difgen_cli.data import DataError, Pool, decode

VERSION = 1
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def load(*, path: Path) -> Pool:
    """Images in the order of their names; with sub-folders, class by class, the classes in the order of theirs.

    Hidden files, and files whose names do not end like an image's, are passed over. DataError names the file that
    cannot be used.

    path: the folder.
    """
    groups = classes(path)
    files = [file for group in groups.values() for file in group]
    images = decode(files, lambda i: str(files[i]))
    if list(groups) == [""]:
        return Pool(images)
    labels = np.repeat(np.arange(len(groups), dtype=np.int64), [len(group) for group in groups.values()])
    return Pool(images, labels, tuple(groups))


def classes(path: Path) -> dict[str, list[Path]]:
    """Class -> its files; one class of no name where there are no sub-folders. DataError where one has no image."""
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder: correct data.path")
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = _images(path)
    if folders and loose:
        raise DataError(
            f"{path}: there are images beside the sub-folders ({loose[0].name}): "
            "put every image into the folder of its class"
        )
    groups = {folder.name: _images(folder) for folder in folders} if folders else {"": loose}
    for folder, group in zip(folders or [path], groups.values(), strict=True):
        if not group:
            raise DataError(
                f"{folder}: there is no image in this folder ({', '.join(sorted(SUFFIXES))}): add some or remove it"
            )
    return groups


def _images(folder: Path) -> list[Path]:
    files = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES and file.is_file())
