"""What does each feature space, and each rule for copies, see? Planted samples of a known relation to the training set.

    python benchmarks/spaces.py [--data cifar10] [--spaces pixels pca] [--json] [--quick]

The images are those of `tests/planted`: 1,000 training and 700 held-out images, and 300 samples of each world, of the
data sets in $DIFGEN_TEST_DATA (`cifar10`, `fashion`) or synthetic ones. Each line is one world in one space: the shares
of the metric `feature_copies` by the ratio rule, by the threshold 0.5 on the cosine, as not general (1 - gl, above 0.6)
and by what 99 % of the held-out images stay below. `held-out` are images that nobody trained on, other than those of
the controls. `resnet20` and `resnet56` are networks trained on CIFAR-10 by others, in $DIFGEN_TEST_WEIGHTS. Published
networks (sscd, dinov2, ...) run where $DIFGEN_WEIGHTS has their files; else a line says that they were not run.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measuring import Results, parser
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from planted import data
from planted.data import Data

from difgen_cli import config, features
from difgen_cli.engine.plugins import Library
from difgen_cli.features import in_blocks
from difgen_cli.metrics import feature_copies

COLUMNS = ("data", "space", "world", "ratio", "near", "above_06", "tail")
FITTED = ("pixels", "pca", "random_conv", "classifier")
PUBLISHED = ("inception", "clip", "dinov2_small", "dinov2", "sscd")
RESNETS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as these networks were given images
Embed = Callable[[np.ndarray], np.ndarray]


def worlds(d: Data, count: int) -> dict[str, np.ndarray]:
    """Samples by how they are made of training images; the last two of none."""
    some = d.train[np.random.default_rng(data.SEED).permutation(len(d.train))[:count]]
    noise = np.random.default_rng(data.SEED).integers(0, 256, some.shape, np.uint8)
    return {
        "exact copies": some,
        "copies + noise 0.1": data.noisy(some, 0.1),
        "shifted by 1 pixel": data.shifted(some, 0, 1),
        "shifted by 2 pixels": data.shifted(some, 0, 2),
        "mirrored": some[:, :, ::-1],
        "brightness + 10 %": data.changed(some, lambda x: 1.1 * (x + 1) - 1),
        "mixes of two": data.mixes(d.train, count),
        "collages of four": data.collages(d.train, count),
        "noise alone": noise,
        "held-out": d.new[:count],
    }


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(127.5) - 1


def labels_of(name: str, images: np.ndarray) -> np.ndarray | None:
    """The classes of images of a data set, by their content; None of synthetic ones."""
    if name not in data.FOLDERS:
        return None
    import pyarrow.parquet as pq
    from PIL import Image

    by_content: dict[bytes, int] = {}
    wanted = {image.tobytes() for image in images}
    for file in sorted((Path(os.environ["DIFGEN_TEST_DATA"]) / data.FOLDERS[name]).glob("train-*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(512, columns=["image", "label"]):
            lines = zip(batch.column(0).field("bytes").to_pylist(), batch.column(1).to_pylist(), strict=True)
            for encoded, label in lines:
                by_content.setdefault(np.asarray(Image.open(io.BytesIO(encoded))).tobytes(), label)
            if wanted <= set(by_content):
                return np.array([by_content[image.tobytes()] for image in images], np.int64)
    raise ValueError(f"{name}: some images are not in the training split")


def spaces(names: list[str], d: Data) -> Iterator[tuple[str, Embed | None]]:
    """Feature spaces of a data set by name; None for one that cannot run here."""
    train, library = scaled(d.train), Library()
    for name in names:
        if name in RESNETS:
            folder = os.environ.get("DIFGEN_TEST_WEIGHTS")
            path = Path(folder or "") / RESNETS[name]
            usable = folder and path.is_file() and train.shape[-1] == 3
            yield name, partial(embedded, resnet(path)) if usable else None
            continue
        module, signature = library.module("features", name), library.signature("features", name)
        inputs = {"images": train, "labels": labels_of(d.name, d.train) if "labels" in signature.inputs else None}
        if name in PUBLISHED:
            try:
                state = module.fit(features.find(name, config.weights_folders()))
            except features.WeightsError:
                yield name, None
                continue
        elif "labels" in signature.inputs and inputs["labels"] is None:
            yield name, None
            continue
        else:
            state = module.fit(**{key: inputs[key] for key in signature.inputs})
        yield name, partial(module.embed, state=state)


class Residual(nn.Module):
    """A block of the ResNet for CIFAR-10 (He et al. 2016), its shortcut without weights (akamaster, BSD-2-Clause)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, (width - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        own = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(hidden + own)


class CifarResNet(nn.Module):
    """Images (B, 3, 32, 32), normalised -> the 64 values before the last layer."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for layer, (inputs, width, stride) in enumerate(((16, 16, 1), (16, 32, 2), (32, 64, 2)), 1):
            first = Residual(inputs, width, stride)
            rest = (Residual(width, width, 1) for _ in range(blocks - 1))
            setattr(self, f"layer{layer}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for layer in (1, 2, 3):
            x = getattr(self, f"layer{layer}")(x)
        return x.mean((2, 3))


def resnet(path: Path) -> CifarResNet:
    """The network with the weights of a file, whose name says how many layers there are."""
    entries = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    network = CifarResNet(blocks=(int(path.name[6:8]) - 2) // 6)
    network.load_state_dict({name.removeprefix("module."): value for name, value in entries.items()})
    return network.eval().requires_grad_(False)


@torch.no_grad()
def embedded(network: nn.Module, images: np.ndarray) -> np.ndarray:
    def block(part: np.ndarray) -> np.ndarray:
        normalised = ((part + 1) / 2 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        return np.asarray(network(torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))))

    return in_blocks(block, images)


def lines(d: Data, name: str, embed: Embed, count: int) -> Iterator[dict[str, object]]:
    """A line for each world, and two of the controls."""
    train, held_out, kept = scaled(d.train), scaled(d.held_out), {}

    def shared(key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    for world, samples in worlds(d, count).items():
        v = feature_copies.measure(scaled(samples), train, held_out, embed, shared).values
        yield {"space": name, "world": world, "ratio": v["space_ratio"], "near": v["space_near"],
               "above_06": 1 - v["gl"], "tail": v["space_tail"]}  # fmt: skip
    for world, part in (("the control: held-out", "control"), ("the control: T among itself", "train")):
        yield {"space": name, "world": world, "ratio": v[f"space_ratio_{part}"], "near": v[f"space_near_{part}"],
               "above_06": 1 - v[f"gl_{part}"]}  # fmt: skip


def main() -> None:
    options = parser(__doc__, 1)
    options.add_argument("--data", choices=data.at_hand(), nargs="+", default=data.at_hand())
    options.add_argument("--spaces", nargs="+", default=[*FITTED, *RESNETS, *PUBLISHED])
    given = options.parse_args()
    sizes, count = (1000, 700, 300), 300
    if given.quick:
        given.data, sizes, count = ["synthetic"], (200, 150, 80), 80
    with Results("spaces", given.json, COLUMNS, ("torch",)) as results:
        for name in given.data:
            d = data.load(name, *sizes)
            for space, embed in spaces(given.spaces, d):
                if embed is None:
                    results.add(data=name, space=space, world="not run: no weights, colours or labels for it")
                    continue
                for line in lines(d, space, embed, count):
                    results.add(data=name, **line)


if __name__ == "__main__":
    main()
