"""Labels as a data set's files hold them, whatever their kind, as numbers of classes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from difgen_cli.data._errors import LabelError

NO_LABEL = -1  # as `datasets` and torchvision mark it
FEW_CLASSES = 10  # below, each image may well be a class of its own


def numbered(
    values: Sequence[Any], names: Sequence[str], where: Callable[[int], str]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels (n,) int64 and the names of their classes; None and () where no image has one (null, −1).

    Numbers are places in `names` where there are any. Else they are classes from 0 to the largest, also those that no
    image has, as long as at least half of them occur, so that a part of a data set has the classes of the whole; and
    where fewer do, those that occur alone. Words are classes in the order of the alphabet. LabelError where some have
    none, where they are of another kind, or where nearly each image has its own: `where(i)` names its file.
    """
    missing = [value is None or value == "" or value != value for value in values]
    if all(gone or value == NO_LABEL for gone, value in zip(missing, values, strict=True)):
        return None, ()
    if any(missing):
        place = missing.index(True)
        raise LabelError(f"{where(place)}: image {place} has no label: give every image one, or none")
    words = all(isinstance(value, str) for value in values)
    if not words and not all(isinstance(value, int | np.integer) for value in values):
        place = next(i for i, value in enumerate(values) if not isinstance(value, int | np.integer))
        value, kind = values[place], type(values[place]).__name__
        raise LabelError(f"{where(place)}: the label {value!r} is of type {kind}: give whole numbers, or words")
    ordered = _names(values, names, where, words=words)
    places = {value: place for place, value in enumerate(ordered)}
    classes = tuple(str(value) for value in ordered) if words or not names else tuple(names)
    return np.array([places[value] for value in values], np.int64), classes


def _names(values: Sequence[Any], names: Sequence[str], where: Callable[[int], str], *, words: bool) -> Sequence[Any]:
    """What a label may be, in the order of the classes."""
    occurring = sorted(set(values))
    ordered: Sequence[Any] = names if words else range(len(names))
    if names:
        allowed = set(ordered)
        place = next((i for i, value in enumerate(values) if value not in allowed), None)
        if place is not None:
            raise LabelError(
                f"{where(place)}: label {values[place]} of image {place} is not one of the {len(names)} classes: "
                + (f"they are {', '.join(names[:5])} …" if words else f"labels run from 0 to {len(names) - 1}")
            )
        return ordered
    if not words and occurring[0] < 0:
        place = next(i for i, value in enumerate(values) if value < 0)
        raise LabelError(f"{where(place)}: label {values[place]} of image {place} is no class: labels are 0 or above")
    if len(occurring) > max(FEW_CLASSES, len(values) // 2):
        raise LabelError(
            f"{where(0)}: {len(values):,} images have {len(occurring):,} different labels, such as {occurring[0]} and "
            f"{occurring[-1]}: these name images, not classes"
        )
    return occurring if words or occurring[-1] + 1 > 2 * len(occurring) else range(int(occurring[-1]) + 1)
