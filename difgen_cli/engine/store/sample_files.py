"""Samples as Parquet in the Hugging Face convention: seed, label, and a PNG or a point for each."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FACTS = b"difgen"  # in the file's metadata
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(image: np.ndarray) -> bytes:
    """One image (H, W, C) uint8 as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, x: np.ndarray, labels: np.ndarray | None, facts: dict[str, Any] | None = None) -> None:
    """Images (n, H, W, C) uint8 or points (n, D) float32, in the order of their seeds; and facts about their making."""
    columns = {
        "seed": pa.array(np.arange(len(x)), pa.int64()),
        "label": pa.array(labels if labels is not None else [None] * len(x), pa.int64()),
    }
    if x.ndim == 2:
        columns["x"] = pa.array(list(x.astype(np.float32)), pa.list_(pa.float32()))
    else:
        columns["image"] = pa.array([{"bytes": png(i), "path": None} for i in x], IMAGE)
    about = {FACTS: json.dumps(facts or {}).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), path, write_page_checksum=True)


def facts(path: Path) -> dict[str, Any]:
    """The facts that `write` was given; none of samples that are older than facts."""
    content: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {}).get(FACTS, b"{}"))
    return content


def read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """What `write` wrote: images or points, and labels."""
    table = pq.read_table(path, page_checksum_verification=True)
    labels = None if table["label"].null_count else table["label"].to_numpy()
    if "x" in table.column_names:
        return np.array(table["x"].to_pylist(), np.float32), labels
    from PIL import Image

    encoded = table["image"].combine_chunks().field("bytes").to_pylist()
    images = [np.asarray(Image.open(io.BytesIO(e))) for e in encoded]
    stacked = np.stack(images)
    return (stacked[..., None] if stacked.ndim == 3 else stacked), labels
