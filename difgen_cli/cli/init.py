"""`difgen init`: a first grid for a set of images, checked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import messages, output
from difgen_cli.cli.options import Force, Runs, check_free

if TYPE_CHECKING:
    from difgen_cli.data import Pool

FEWEST = 64  # images of which a first grid is made
HELD_OUT_SHARE, HELD_OUT_MOST = 4, 2000  # one in so many is held out, and at most so many
SIZES = (16, 64, 256, 1024, 4096, 16384)  # training images: the largest four that there are
SIZES_MOST = 4
SMALL = 256  # numbers of an image, or a point, up to which a perceptron is enough


@command()
def init(
    images: Annotated[Path, typer.Argument(help="A folder of images, Parquet files, .npz or .npy.", metavar="IMAGES")],
    grid: Annotated[Path | None, typer.Argument(help="The file to write; default: NAME.yaml.", metavar="GRID")] = None,
    runs: Runs = Path("runs"),
    force: Force = False,
) -> None:
    """Write a first grid for a set of images: sizes of the training set against training steps.

    The images are read, and the grid is planned before it is written.

    Example: difgen init photos/ grids/photos.yaml
    """
    with errors():
        from difgen_cli import data
        from difgen_cli import sweep as sweeping
        from difgen_cli.cli.plan import print_brief
        from difgen_cli.data import files
        from difgen_cli.engine.grid.document import GridError
        from difgen_cli.engine.store.files import replace_text
        from difgen_cli.text import hyphenated

        out = grid or Path(f"{hyphenated(images.absolute().name) or 'images'}.yaml")
        check_free(out, force=force)
        try:
            whole, split = files.meant(images)
            pool = files.load(path=whole, split=split)
        except data.LabelError as error:
            pool = error.images()
        except data.DataError as error:
            raise GridError(f"init: {error}") from None
        if len(pool.images) < FEWEST:
            raise GridError(f"init: {images} has {len(pool.images)} images; a first grid needs at least {FEWEST}")
        text = first_grid(whole.absolute(), split, pool)
        with TemporaryDirectory() as folder:
            trial = Path(folder) / out.name
            trial.write_text(text, encoding="utf-8")
            planned = sweeping.prepare(trial, runs, {})
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(out, text)
        print_brief(planned, messages())
        output().print(f"{out}: written. What it costs: difgen plan {out}. Run it: difgen sweep {out}", soft_wrap=True)


def first_grid(path: Path, split: str | None, pool: Pool) -> str:
    """The text of a grid for images that were read from a path."""
    from difgen_cli.text import printable

    count, shape = len(pool.images), pool.images.shape[1:]
    held_out = min(HELD_OUT_MOST, count // HELD_OUT_SHARE)
    rest = count - held_out
    sizes = [size for size in SIZES if size <= rest]
    sizes = [*sizes, *([rest] if 2 * sizes[-1] <= rest <= SIZES[-1] else [])][-SIZES_MOST:]
    described = f"{count:,} {'images' if len(shape) == 3 else 'points'} of {'×'.join(map(str, shape))}"
    named = f", split: {json.dumps(split)}" if split else ""
    return f"""# When does a model of the images in {printable(path.name)} stop copying its training set?
#
# {described}. `difgen explain data.size` explains a setting, `difgen plan` what a change costs.
base:
  data:   {{name: files, path: {json.dumps(str(path))}{named}, held_out: {held_out}}}  # drawn first, never trained on
  model:  {_model(shape)}
  train:  {{batch: 64}}
  sample: {{count: {min(1000, max(100, held_out))}}}
  score:  [memorization, preference, frechet, gap]
axes:
  data.size: {sizes}  # images of the training set
  train.steps: {{geom: [250, 4000, 5]}}  # snapshots of one training: they cost nothing
seeds: 1  # 3 give intervals over trainings, and take three times as long
"""


def _model(shape: tuple[int, ...]) -> str:
    """The network: a perceptron for small images and points, a U-Net for all others."""
    perceptron = math.prod(shape) <= SMALL or len(shape) != 3
    return "{name: mlp}" if perceptron else "{name: unet, width: 32, multipliers: [1, 2, 2]}"
