"""Feature spaces: `fit(<inputs>, *, ...) -> State` once per data set, then `embed(images, state) -> (n, d)`.

Here too: the table of the files of weights that feature spaces need, how they are found, checked and fetched.
"""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from difgen_cli import contents

VERSION = 1
BLOCK = 256  # images embedded together: every block is full, so that a feature does not depend on its neighbours
CHUNK_BYTES = 1 << 20

State = dict[str, np.ndarray]


class WeightsError(ValueError):
    """A file of weights that is missing or not what it should be; one sentence for a person."""


@dataclass(frozen=True)
class Weights:
    """One file of weights: `files` are the names under which it is found, the first is the one it is fetched as.

    Under a name of `own` a person may put another file for the same network, in any common layout. No size or hash is
    known of it: it is what its SHA-256 says, which enters every key made with it. Without `files` there are only files
    of one's own, and `url` says where their authors have them.
    """

    name: str
    files: tuple[str, ...]
    size_bytes: int
    sha256: str
    url: str
    licence: str
    purpose: str
    own: tuple[str, ...] = ()


WEIGHTS = {
    weights.name: weights
    for weights in [
        Weights(
            name="inception",
            files=(
                "pt_inception-2015-12-05-6726825d.pth",  # pytorch-fid
                "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity: the same bytes
            ),
            size_bytes=95_628_359,
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
            licence="Apache-2.0",
            purpose="Inception-v3 pool3 features of 2015-12-05: the Fréchet distance that is called FID",
        ),
        Weights(
            name="dinov2",
            files=("dinov2_vitl14_pretrain.pth",),
            size_bytes=1_217_586_395,
            sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
            url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            licence="Apache-2.0",
            purpose="DINOv2 ViT-L/14 class token: the Fréchet distance FD-DINOv2, nearer to what people see than FID",
            own=("dinov2.safetensors", "dinov2.pth"),
        ),
        Weights(
            name="dinov2_small",
            files=("dinov2_vits14_pretrain.pth",),
            size_bytes=88_283_115,
            sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
            url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
            licence="Apache-2.0",
            purpose="DINOv2 ViT-S/14 class token: the same idea where there is no GPU",
            own=("dinov2_small.safetensors", "dinov2_small.pth"),
        ),
        Weights(
            name="clip",
            files=("ViT-B-32.pt",),
            size_bytes=353_976_522,
            sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
            url="https://openaipublic.azureedge.net/clip/models/"
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
            licence="MIT",
            purpose="CLIP ViT-B/32 image embedding: a Fréchet distance without the classes of ImageNet",
            own=("clip.safetensors", "clip.pth"),
        ),
        Weights(
            name="sscd",
            files=("sscd_disc_mixup.torchscript.pt",),
            size_bytes=98_791_638,
            sha256="9f26bd4c848cc19b73d2ae92eea6e04886f61a7b764ceb7a13aeee62e6a6db56",
            url="https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchscript.pt",
            licence="MIT",
            purpose="SSCD descriptors, made to find copies: nearest training images that are cropped or altered",
            own=("sscd.safetensors", "sscd.pth"),
        ),
        *(
            Weights(
                name=name,
                files=(),
                size_bytes=0,
                sha256="",
                url=f"https://github.com/{repository}",
                licence=licence,
                purpose=purpose,
                own=(f"{name}.safetensors", f"{name}.pth", f"{name}.pth.tar"),
            )
            for name, repository, licence, purpose in (
                (
                    "dino",
                    "facebookresearch/dino",
                    "Apache-2.0",
                    "DINO class token: learnt without labels",
                ),
                ("ibot", "bytedance/ibot", "Apache-2.0", "iBOT class token: the same with masked patches"),
                ("mocov3", "facebookresearch/moco-v3", "CC BY-NC 4.0", "MoCo v3 class token: the same by contrasts"),
            )
        ),
    ]
}


def find(name: str, folders: Sequence[Path]) -> Path:
    """The file of weights in the first folder that has it, under any of its names; not verified yet."""
    weights = _weights(name)
    for folder in folders:
        for file in (*weights.files, *weights.own):
            if (folder / file).is_file():
                return folder / file
    looked = ", ".join(str(folder) for folder in folders) or "no folder"
    if not weights.files:
        raise WeightsError(f"the weights {name} ({weights.own[0]}) are not in {looked}: {_by_hand(weights)}")
    raise WeightsError(
        f"the weights {name} ({weights.files[0]}) are not in {looked}: "
        f"fetch them with `difgen weights fetch {name}` or say where they are with $DIFGEN_WEIGHTS"
    )


def proved(path: Path, name: str) -> bool:
    """Whether the file must have the hash of the table, and is not one of a person's own; nothing is read."""
    return path.name not in _weights(name).own


def identity(path: Path, name: str) -> str:
    """The SHA-256 that stands for the file in keys: that of the table, or what a file of one's own has."""
    return _weights(name).sha256 if proved(path, name) else verify(path, name).sha256


def verify(path: Path, name: str | None = None) -> Weights:
    """Which weights the file at `path` is, its size and then its SHA-256 proved to be theirs.

    Of a file of one's own, the size and the SHA-256 that it has.
    """
    by_file = {file: weights for weights in WEIGHTS.values() for file in (*weights.files, *weights.own)}
    weights = _weights(name) if name else by_file.get(path.name)
    if weights is None:
        raise WeightsError(f"{path}: no weights of this name are known: choose from {', '.join(by_file)}")
    if not path.is_file():
        how = f"fetch it with `difgen weights fetch {weights.name}`" if weights.files else _by_hand(weights)
        raise WeightsError(f"{path}: there is no such file: {how}")
    size_bytes = path.stat().st_size
    if not proved(path, weights.name):
        return replace(weights, files=(path.name,), size_bytes=size_bytes, sha256=contents.sha256(path))
    if size_bytes != weights.size_bytes:
        raise _corrupt(str(path), weights, f"{size_bytes} bytes long, not {weights.size_bytes}")
    if (sha256 := contents.sha256(path)) != weights.sha256:
        raise _corrupt(str(path), weights, f"of SHA-256 {sha256}, not {weights.sha256}")
    return weights


def fetch(name: str, folder: Path) -> Path:
    """Download the weights into `folder`; a file appears under its name only when its whole SHA-256 is right."""
    weights = _weights(name)
    if not weights.files:
        raise WeightsError(f"{name}: no file of these is known by its hash, so none is fetched: {_by_hand(weights)}")
    target = folder / weights.files[0]
    if target.is_file():
        verify(target, name)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            _download(weights, file.write)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def flat(images: np.ndarray) -> np.ndarray:
    """Images or points as rows: (n, H · W · C) or (n, D) float32."""
    return images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32, copy=False)


def in_blocks(embed: Callable[[np.ndarray], np.ndarray], images: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """`embed` applied to full blocks of `block` images, the last one padded with zeros: (n, d)."""
    features = []
    for start in range(0, max(len(images), 1), block):
        part = images[start : start + block]
        padding = [(0, block - len(part)), *[(0, 0)] * (images.ndim - 1)]
        features.append(embed(np.pad(part, padding))[: len(part)])
    return np.concatenate(features)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums are taken in one order wherever this runs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _weights(name: str) -> Weights:
    if name not in WEIGHTS:
        raise WeightsError(f"there are no weights called {name!r}: choose from {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _by_hand(weights: Weights) -> str:
    """What a person does where nothing can be fetched."""
    return f"download one of {weights.url} as {' or '.join(weights.own)} into $DIFGEN_WEIGHTS"


def _corrupt(where: str, weights: Weights, what: str) -> WeightsError:
    return WeightsError(f"{where}: this file is {what}: delete it and run `difgen weights fetch {weights.name}`")


def _download(weights: Weights, write: Callable[[bytes], int]) -> None:
    """Stream the file, stopping as soon as it is longer than it should be. WeightsError if it is another one."""
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(weights.url, timeout=60) as answer:  # noqa: S310 (the table's own address)
            while size_bytes <= weights.size_bytes and (chunk := answer.read(CHUNK_BYTES)):
                digest.update(chunk)
                size_bytes += write(chunk)
    except OSError as error:
        raise WeightsError(f"{weights.url}: the download failed ({error}): try again, or fetch it by hand") from error
    if digest.hexdigest() != weights.sha256:
        raise WeightsError(
            f"{weights.url}: the download ({size_bytes} bytes) is not the file of SHA-256 {weights.sha256}: "
            "nothing was kept, try again"
        )
