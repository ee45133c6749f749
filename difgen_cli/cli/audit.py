"""`difgen audit`: does a model that somebody else trained copy its training images?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors, fail
from difgen_cli.cli.completion import metrics as metric_names
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import (
    CopyFeatures,
    HeldOut,
    HoldOut,
    Json,
    Mirrored,
    ReportFolder,
    check_choice,
    settings_of,
)

if TYPE_CHECKING:
    from difgen_cli.audit import AuditRequest, PreparedAudit

MaybeAgainst = Annotated[
    Path | None, typer.Option("--against", help="What it was trained on; leave it out if unknown.", metavar="IMAGES")
]
Model = Annotated[
    Path, typer.Argument(help="Weights of any format; {step} stands for that of a checkpoint.", metavar="MODEL")
]
SHOWN = {  # what settings of the grid are called here
    "model.path": "MODEL", "condition.name": "--class-labels", "condition.path": "--class-labels",
    "train.steps": "--steps", "model.weights": "--weights", "model.network": "--network",
    "score.reference_membership.base": "--reference", "score.feature_copies.features": "--copy-features",
}  # fmt: skip


@command()
def audit(
    model: Model,
    against: MaybeAgainst = None,
    held_out: HeldOut = None,
    hold_out: HoldOut = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many samples; default: 1,000.", metavar="N")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Metrics, separated by commas, or all.", metavar="NAMES", autocompletion=metric_names),
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Checkpoints, with commas; default: all.", metavar="STEPS")] = None,
    weights: Annotated[str | None, typer.Option(help="ema or raw, where the files have both.", metavar="WHICH")] = None,
    network: Annotated[Path | None, typer.Option(help="JSON: the network of named tensors.", metavar="FILE")] = None,
    class_labels: Annotated[
        str | None, typer.Option(help="Those of the images, or a file.", metavar="images|FILE")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="A model that saw none of them.", metavar="BASE")] = None,
    copy_features: CopyFeatures = None,
    claim: Annotated[list[Path] | None, typer.Option(help="Images: were they used?", metavar="IMAGES")] = None,
    claim_key: Annotated[list[Path] | None, typer.Option(help="Key of `difgen claim`.", metavar="FILE")] = None,
    control: Annotated[Path | None, typer.Option(help="Images surely not used.", metavar="IMAGES")] = None,
    references: Annotated[
        Path | None, typer.Option(help="Models of other images: a run directory.", metavar="RUNS")
    ] = None,
    mirrored: Mirrored = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", metavar="DEVICE")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Another setting.", metavar="KEY=VALUE")] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Also which training images are exposed, with pictures: private.")
    ] = False,
    out: ReportFolder = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where results are kept.", metavar="FOLDER")] = Path("audits"),
    json_: Json = False,
) -> None:
    """Find out whether a model that somebody else trained copies its training images.

    It is sampled, and its network is asked about training and held-out images; the answers come first. Files are read
    as data: nothing in them is run.

    Example: difgen audit out/checkpoint-{step}/unet --against train/ --held-out test/
    """
    with errors():
        from difgen_cli import audit as auditing
        from difgen_cli.cli import progress

        check_choice("--weights", weights, (None, "ema", "raw"))
        _use(device)
        names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
        request = auditing.AuditRequest(
            model=model, **_images(against, held_out, control, claim), hold_out=hold_out, count=count, metrics=names,
            steps=_steps(steps), weights=weights, network=network, class_labels=class_labels, mirrored=mirrored,
            settings=settings_of(set_), reference=reference, copy_features=copy_features, claims=tuple(claim or ()),
            claim_keys=tuple(claim_key or ()), control=control, references=references,
        )  # fmt: skip
        prepared = _prepared(request, runs)
        ended = auditing.run(prepared, messages(), partial(progress.watch, messages()))
        if ended == "interrupted":
            fail("interrupted: everything so far is kept; run the same command again to resume", 130)
        _report(prepared, out, json_=json_, images=images)
        raise typer.Exit(auditing.ENDED[ended])


def _images(
    against: Path | None, held_out: Path | None, control: Path | None, claims: Sequence[Path] | None
) -> dict[str, Any]:
    """What the model is compared with: where nobody knows the training images, others of their kind are read alone."""
    from difgen_cli.audit import twins
    from difgen_cli.engine.grid.document import GridError

    claimed = next((path / twins.PUBLISHED if twins.is_prepared(path) else path for path in claims or ()), None)
    options = {"--against": against, "--held-out": held_out, "--control": control, "--claim": claimed}
    named, images = next(((flag, path) for flag, path in options.items() if path is not None), ("", None))
    if images is None:
        raise GridError(
            "--against: name the images that the model was trained on; where nobody knows them, --held-out names "
            "others of their kind"
        )
    known_train = against is not None
    return {
        "against": images, "named": named, "held_out": held_out if known_train else None, "of_unknown": not known_train,
    }  # fmt: skip


def _prepared(request: AuditRequest, runs: Path) -> PreparedAudit:
    """The audit planned; errors name the option that a setting of the grid stands for."""
    from difgen_cli import audit as auditing
    from difgen_cli.engine.grid.document import GridError

    try:
        return auditing.prepare(request, runs)
    except GridError as error:
        error.file = None  # there is no grid that anybody wrote
        path, colon, rest = str(error.args[0]).partition(":")
        named = SHOWN.get(path, f"--set {path}" if path in request.settings else "")
        if not colon or not named:
            raise
        raise GridError(f"{named}:{rest}") from None


def _use(device: str) -> None:
    """Let workers see a GPU or none. GridError where one is asked for and none is here."""
    from difgen_cli.engine import launch
    from difgen_cli.engine.grid.document import GridError

    check_choice("--device", device, ("auto", "cpu", "cuda"))
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda" and not launch.visible_gpus():
        raise GridError("--device cuda: there is no GPU here that torch can use; choose cpu")


def _steps(text: str | None) -> tuple[int, ...]:
    from difgen_cli.engine.grid.document import GridError

    words = [word.strip() for word in text.split(",")] if text else []
    if wrong := next((word for word in words if not (word.isascii() and word.isdigit())), None):
        raise GridError(f"--steps {text}: {wrong!r} is no step; write whole numbers, such as 500,1000")
    return tuple(dict.fromkeys(map(int, words)))


def _options(request: AuditRequest) -> Iterator[tuple[str, ...]]:
    """The options that decide what is compared with what, as they were typed; not those of images and metrics."""
    flags = ("count", "weights", "network", "class_labels", "reference", "copy_features")
    values: dict[str, Any] = {name: getattr(request, name) for name in flags}
    values["steps"] = ",".join(map(str, request.steps)) or None
    values |= {"control": request.control, "references": request.references}
    yield from ((f"--{name.replace('_', '-')}", str(value)) for name, value in values.items() if value is not None)
    for flag, paths in (("--claim", request.claims), ("--claim-key", request.claim_keys)):
        yield from ((flag, str(path)) for path in paths)
    yield from [("--mirrored",)] if request.mirrored else []
    yield from (("--set", f"{key}={setting}") for key, setting in request.settings.items())


def _report(prepared: PreparedAudit, out: Path | None, *, json_: bool, images: bool) -> None:
    """Write the page, by default into a folder of the model's name, and print the answers or JSON."""
    from difgen_cli.report import audit as page
    from difgen_cli.report.findings.answers import AuditedModel

    planned, request = prepared.planned, prepared.request
    train = "" if request.of_unknown else str(request.against)
    subject = AuditedModel(
        str(request.model), train, prepared.train_images, prepared.weights_sha256,
        str(request.held_out) if request.held_out else None, prepared.held_out, request.held_out is None,
        tuple(_options(request)), tuple(str(path) for path in request.claims),
    )  # fmt: skip
    audited = page.gather(
        planned.store, planned.plan.grid.name, planned.folder, subject, notes=prepared.notes,
        left_out=prepared.left_out, names=prepared.train_names,
    )  # fmt: skip
    written = page.write(audited, out or Path("report") / planned.plan.grid.name, images=images)
    if json_:
        print_json(page.content(audited, written))
    else:
        page.show(audited, output())
        messages().print(f"report: {written.page}", soft_wrap=True)
