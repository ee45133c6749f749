"""The files that a person names: what they are, whether they fit each other, and whether they fit into memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.grid.document import GridError, compose, scalar
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Facts
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.sections import Section, check, resolve
from difgen_cli.engine.plugins import Library

if TYPE_CHECKING:
    from difgen_cli.data import Pool

# Of memory, as measured: per pixel and channel (uint8, float32 scaled and centred, distances), and for the libraries.
VALUE_BYTES, LIBRARIES_BYTES = 16, 400 << 20
CONVERSIONS = ("mode", "resize", "resize_filter")  # settings of data that apply to samples as well
NO_HELD_OUT = (
    "No held-out images: it is not known how often images that were never trained on look like copies, whether the "
    "samples lie nearer to the training images than to others of their kind, or how far they are from real images. "
    "A high mem_frac may then come from the data alone. Give --held-out."
)


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """The real images that a person compares with, and how."""

    against: Path
    held_out: Path | None = None
    hold_out: int | None = None  # images of `against` to hold out, where there are no others
    metrics: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)  # of metrics, and of the data's own: `data.size`
    features: str | None = None
    copy_features: str | None = None  # a space in which copies are looked for beside all else
    count: int | None = None  # of samples
    mirrored: bool = False  # training showed mirror images too
    named: str = "--against"  # the option that names `against`

    def given(self) -> dict[str, Given]:
        """The settings as a grid would give them."""
        return {k.removeprefix("score."): Given(scalar(compose(v))) for k, v in self.settings.items()}


@dataclass(frozen=True, kw_only=True)
class Request(ComparisonRequest):
    """Images of any model, and what they are compared with."""

    samples: Path
    group: str | None = None  # how the samples come in groups: folder, label, or a file that says so


@dataclass(frozen=True)
class Source:
    """Files that an argument names, or a built-in data set; `split` names some of a folder's Parquet files."""

    flag: str
    path: Path
    split: str | None = None
    image: str | None = None  # the column or array of images, where it is named
    count: int = 0  # known of a built-in data set only when it is loaded, like its shape
    shape: tuple[int, ...] = ()
    builtin: bool = False

    def of(self, facts: Facts) -> Source:
        """With the count and the shape that were found."""
        return replace(self, count=facts.images, shape=facts.shape)


@dataclass(frozen=True)
class RealImages:
    """The files of the images that are compared with."""

    against: Source
    held_out: Source | None


@dataclass(frozen=True)
class Sources(RealImages):
    """Everything that a request names."""

    samples: Source


def find(request: Request, library: Library) -> Sources:
    """The files of a request, not read yet. GridError where they are none, do not fit each other, or are too many."""
    settings = {k: v for k, v in _settings(request, library).items() if k in CONVERSIONS}
    samples, real = _source("SAMPLES", request.samples, settings, library), find_real(request, library)
    if not real.against.builtin:
        check_shapes(samples, real.against)
    held_out = [real.held_out] if real.held_out else []
    _check_memory(request.count, samples, real.against, *held_out)
    return Sources(real.against, real.held_out, samples)


def find_real(request: ComparisonRequest, library: Library) -> RealImages:
    """The files to compare with, not read yet. GridError where they are none, or do not fit each other."""
    settings = _settings(request, library)
    against = _source(request.named, request.against, settings, library, builtin=True)
    held_out = _source("--held-out", request.held_out, settings, library) if request.held_out else None
    if held_out and request.hold_out is not None:
        raise GridError("--hold-out: draws held-out images from --against, --held-out names others; use one of them")
    if held_out and against.builtin:
        raise GridError(f"--held-out: {against.path} is a built-in data set, which is split by --hold-out")
    if held_out:
        check_shapes(held_out, against)
    return RealImages(against, held_out)


def others(flag: str, path: Path, request: ComparisonRequest, library: Library, finder: Finder) -> tuple[Source, Pool]:
    """Other images that an option names, read as the request has its own converted. GridError where they are none."""
    source_ = _source(flag, path, _settings(request, library), library)
    settings = {k: g for k, g in _given(request).items() if k in (*CONVERSIONS, "image")}
    facts = facts_of(finder, section(source_, library, **settings), source_)
    if len(facts.shape) != 3:
        raise GridError(f"{flag}: {path} holds points, which are no images; name images")
    return source_.of(facts), finder.pool(facts.content)


def image_files(flag: str, path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of the image files below a folder, each of which can be read, and what was passed over, in words."""
    from difgen_cli.data import DataError, files

    try:
        return files.readable(path)
    except DataError as error:
        raise GridError(f"{flag}: {error}") from None


def left_behind(name: str) -> bool:
    """Whether a system or a tool left a file where people look at folders, such as .DS_Store."""
    from difgen_cli.data import files

    return bool(files.left_behind(name))


def check_shapes(source: Source, against: Source) -> None:
    """GridError where images differ in size or channels, or are points."""
    from difgen_cli.data import files, remedy

    if source.shape != against.shape:
        images = len(source.shape) == len(against.shape) == 3 and not against.builtin
        both = f", or {remedy(source.shape, against.shape)}" if images else ""
        raise GridError(
            f"{source.flag}: {source.path} holds {files.words(source.shape)}, {against.flag} {against.path} "
            f"{files.words(against.shape)}; bring one to the size and mode of the other{both}"
        )


def section(source: Source, library: Library, **more: Given) -> Section:
    """A source as a grid would name it."""
    if source.builtin:
        return resolve("data", {"name": Given(str(source.path)), **more}, library)
    split = {"split": Given(source.split)} if source.split else {}
    return resolve("data", {"name": Given("files"), "path": Given(source.path), **split, **more}, library)


def samples_section(request: Request, sources: Sources, library: Library) -> Section:
    """The samples as a grid would name them."""
    return section(sources.samples, library, **{k: g for k, g in _given(request).items() if k in CONVERSIONS})


def data_section(request: ComparisonRequest, sources: RealImages, library: Library) -> Section:
    """The training and held-out images as a grid would name them."""
    more = _given(request)
    more["held_out"] = Given(sources.held_out.count if sources.held_out else request.hold_out or 0)
    if sources.held_out:
        more["held_out_path"] = Given(sources.held_out.path)
        more |= {"held_out_split": Given(sources.held_out.split)} if sources.held_out.split else {}
    return section(sources.against, library, **more)


def check_mirrored(request: ComparisonRequest, shape: tuple[int, ...]) -> None:
    """GridError for mirror images of points."""
    if request.mirrored and len(shape) < 3:
        raise GridError(f"--mirrored: {request.against} holds points, which have no mirror image; omit --mirrored")


def facts_of(finder: Finder, section_: Section, source: Source) -> Facts:
    """What planning must know, from the store's cache or by loading the files."""
    from difgen_cli.data import DataError

    try:
        return finder(section_)
    except DataError as error:
        raise GridError(f"{source.flag}: {error}") from None


def held_out(pool: Pool, data: Section, sources: RealImages) -> tuple[int, list[str]]:
    """How many held-out images are left without those that were trained on, and what a reader must know of them."""
    from difgen_cli.data import DataError, split

    flag, asked = "--held-out" if sources.held_out else "--hold-out", data.own["held_out"]
    if not asked:
        return 0, [NO_HELD_OUT]
    try:
        own = {name: value for name, value in data.own.items() if "." not in name}  # no map of settings: no canaries
        left = len(split(pool, **own).held_out)
    except DataError as error:
        raise GridError(f"--against: {error}") from None
    if not left:
        raise GridError(f"{flag}: each of the {asked} images is in --against too; give images that were not trained on")
    notes = []
    if left < asked:
        notes.append(f"{asked - left} of {asked} held-out images are in --against too, byte for byte: skipped.")
    if not sources.held_out:
        notes.append(
            f"The {left} held-out images were drawn from --against: if the model was trained on them, the controls are "
            "training images themselves, and no number compares the samples with unseen images."
        )
    return left, notes


def in_common(samples: Pool, real: Pool, sources: Sources) -> list[str]:
    """What a reader must know where the samples are the training images themselves, or the held-out ones."""
    from difgen_cli.data import digests

    apart = [] if real.held_out is None else real.held_out.tolist()
    train = set(digests(real.images, sorted(set(range(len(real.images))) - set(apart))))
    notes = []
    if set(digests(samples.images)) == train:
        notes.append("SAMPLES and --against are the same images: each is a copy of itself.")
    drawn, held_out = sources.samples, sources.held_out
    if held_out and (drawn.path.resolve(), drawn.split) == (held_out.path.resolve(), held_out.split):
        notes.append("SAMPLES and --held-out are the same files: no number compares the samples with other images.")
    return notes


def reader_notes(*facts_of_files: Facts) -> list[str]:
    """What a reader must know of the files, each once, as sentences."""
    notes = [note for facts in facts_of_files for note in facts.notes]
    notes += [f"labels are not used: {facts.unlabelled}" for facts in facts_of_files if facts.unlabelled]
    return [f"{note[:1].upper()}{note[1:]}." for note in dict.fromkeys(notes)]


def names(source: Source) -> list[str]:
    """What each image is called, in the order in which it is loaded."""
    from difgen_cli.data import files

    if source.builtin:
        return [f"{source.path} {place}" for place in range(source.count)]
    return files.names(source.path, source.split, source.image)


def _given(request: ComparisonRequest) -> dict[str, Given]:
    """The settings of the data that the request gives."""
    return {k.removeprefix("data."): g for k, g in request.given().items() if k.startswith("data.")}


def _settings(request: ComparisonRequest, library: Library) -> dict[str, Any]:
    """Those of them that say how files are read, checked."""
    taken = library.signature("data", "files").settings
    return {k: check(f"data.{k}", taken[k], g) for k, g in _given(request).items() if k in (*CONVERSIONS, "image")}


def _source(flag: str, path: Path, settings: Mapping[str, Any], library: Library, *, builtin: bool = False) -> Source:
    """What an argument names: files of any kind, `folder/train` for a split, or a `builtin` data set."""
    from difgen_cli.data import Conversion, DataError, files

    if builtin and not path.exists() and str(path) in library.names("data"):
        signature = library.signature("data", str(path))
        if not any(setting.required for setting in signature.settings.values()):
            return Source(flag, path, builtin=True)
    try:
        whole, split = files.meant(path)
        if split is None:
            files.check_split(whole)
        image, conversions = settings.get("image"), {k: v for k, v in settings.items() if k in CONVERSIONS}
        count, shape = files.listing(whole, split, image, Conversion(**conversions))
    except DataError as error:
        raise GridError(f"{flag}: {error}") from None
    return Source(flag, whole, split, image, count, shape)


def _check_memory(count: int | None, samples: Source, *others: Source) -> None:
    """GridError where what must be held at once is more than is free here."""
    from difgen_cli.engine.doctor.machine import memory_bytes

    free_bytes, values = memory_bytes()[1], math.prod(samples.shape)
    scored, real = min(count or samples.count, samples.count), sum(s.count for s in others)
    fixed_bytes = LIBRARIES_BYTES + values * (samples.count + VALUE_BYTES * real)
    needed_bytes = fixed_bytes + values * VALUE_BYTES * scored
    if not 0 < free_bytes < needed_bytes:
        return
    fitting = (free_bytes - fixed_bytes) // (values * VALUE_BYTES)
    remedy = f"use --count {fitting}" if fitting > 0 else "take fewer, or a machine with more"
    raise GridError(
        f"SAMPLES: {scored:,} samples and {real:,} real images need about {needed_bytes / 2**30:.1f} GiB of memory, "
        f"and {free_bytes / 2**30:.1f} GiB are free; {remedy}"
    )
