"""Which columns of a Parquet file are the images, or points, and the labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difgen_cli.data._errors import DataError

POINTS = "x"


@dataclass(frozen=True)
class Columns:
    """What is read of a file.

    image: the column of images, or of points where `points` says so
    label: the column of labels, None where there is none
    names: of the classes, as the metadata of `datasets` have them; () where they do not
    notes: columns that hold labels too and are not read, in words
    """

    image: str
    points: bool
    label: str | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def columns(file: Path, image: str | None, label: str | None) -> Columns:
    """The columns of these names, else those that the convention or their types tell. DataError where none do."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    for setting, name in (("image", image), ("label", label)):
        if name is not None and name not in schema.names:
            raise DataError(f"{file}: there is no column `{name}`, only {_known(schema)}: correct data.{setting}")
    column, features = image or _image(file, schema), _features(schema.metadata)
    kind = schema.field(column).type
    points = not _holds_images(kind) and (column == POINTS or (image is not None and _is_list(kind)))
    if not points and not _holds_images(kind):
        raise DataError(
            f"{file}: the column `{column}` is {kind}, neither bytes nor a struct with encoded `bytes`: write it as "
            "a datasets.Image feature"
        )
    read = label or ("label" if "label" in schema.names else None)
    others = [] if read else [name for name, of in features.items() if "names" in of and name in schema.names]
    note = f"no labels are read: data.label could name {' or '.join(others)}"
    names = tuple(str(name) for name in features.get(read or "", {}).get("names", ()))
    return Columns(column, points, read, names, (note,) if others else ())


def _image(file: Path, schema: Any) -> str:
    """`image`, else the only column of images, else `x`."""
    if "image" in schema.names:
        return "image"
    able = [name for name in schema.names if _holds_images(schema.field(name).type)]
    if len(able) > 1:
        raise DataError(f"{file}: the columns {', '.join(able)} hold images: name one by data.image")
    if able or POINTS in schema.names:
        return able[0] if able else POINTS
    raise DataError(
        f"{file}: there is no column `image`, only {_known(schema)}: name the column of images by data.image"
    )


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_list(kind) for is_list in lists):
        return False
    return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _known(schema: Any) -> str:
    return ", ".join(schema.names) or "none"


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """info.features of the metadata of `datasets`; empty where there are none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): of for name, of in features.items() if isinstance(of, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
