"""The splits of a data set, such as train and test, as names of files and folders tell them."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from difgen_cli.data._errors import DataError

SHARD = re.compile(r"(.+?)-(\d+)-of-(\d+)")  # as the Hugging Face hub names the files of a split
NUMBER = re.compile(r"[-_.]?\d+$")
# The words that `datasets` knows.
WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


def of_file(name: str) -> str:
    """The split that a Parquet file belongs to, by its name, else by its folders'; empty where neither tells."""
    path = PurePosixPath(name)
    if shard := SHARD.fullmatch(path.stem):
        return shard[1]
    for part in (NUMBER.sub("", path.stem), *reversed(path.parts[:-1])):
        if _words(part):
            return part
    return ""


def of_folders(folders: Iterable[str]) -> list[str]:
    """The folders that are splits and not classes: those named by such words, where they name at least two splits."""
    named = [folder for folder in folders if folder.lower() in WORDS]
    return named if len({WORDS[folder.lower()] for folder in named}) > 1 else []


def chosen(files: Iterable[str], split: str) -> list[str]:
    """The files of a split, or of several joined by `+`: those of just this name, else those whose names begin so."""
    files, members = list(files), set[str]()
    for name in split.split("+"):
        exact = {file for file in files if of_file(file) == name}
        begun = exact or {file for file in files if PurePosixPath(file).name.startswith(name)}
        if not begun:
            return []
        members |= begun
    return [file for file in files if file in members]


def incomplete(files: Iterable[str]) -> tuple[str, ...]:
    """What the names of files say of others of their split that are not there, a sentence for each split."""
    numbers = defaultdict[tuple[str, int], set[int]](set)
    for name in files:
        if shard := SHARD.fullmatch(PurePosixPath(name).stem):
            numbers[shard[1], int(shard[3])].add(int(shard[2]))
    lacking = {key: key[1] - len(own) for key, own in numbers.items() if len(own) < key[1]}
    return tuple(
        f"only {total - count:,} of the {total:,} files of {split} are there, by their names: the images of "
        f"{'the other one' if count == 1 else 'the others'} are not looked at"
        for (split, total), count in lacking.items()
    )


def refuse(path: Path, splits: Iterable[str], before: str) -> None:
    """DataError where files are of several splits and none is named; `before` the name it says how to name one."""
    different = sorted(set(splits))
    if len(different) > 1:
        named = [name or "files of no split" for name in different]
        raise DataError(f"{path} holds the splits {', '.join(named)}; name one: {before}{different[0]}")


def _words(part: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", part.lower()) if word in WORDS]
