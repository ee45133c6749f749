"""What a report reads off its curves, each once, however many figures, tables and sentences ask for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import pandas as pd

    from difgen_cli.report.study.calibrated import Calibrated
    from difgen_cli.report.study.curves import Curves
    from difgen_cli.report.study.effects import Effect
    from difgen_cli.report.study.efficiency import Efficiency
    from difgen_cli.report.study.images import Ranked
    from difgen_cli.report.study.least_loss import LeastLoss
    from difgen_cli.report.study.onset import Onsets


class Readings:
    """The readings of curves. Their modules know what curves are, and are imported when they are asked for."""

    @property
    def _curves(self) -> Curves:
        return cast("Curves", self)

    @cached_property
    def onsets(self) -> Onsets:
        """When copying, quality and the gap set in along each training run."""
        from difgen_cli.report.study import onset

        return onset.read(self._curves)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Where copying has set in: a line for each setting."""
        from difgen_cli.report.study import verdicts

        return verdicts.read(self._curves)

    @cached_property
    def copying_slopes(self) -> pd.DataFrame:
        """How the onset of copying moves with the number of images."""
        from difgen_cli.report.study import verdicts

        return verdicts.slopes(self._curves)

    @cached_property
    def effects(self) -> list[Effect]:
        """What each axis does, paired by seed."""
        from difgen_cli.report.study import effects

        return effects.read(self._curves)

    @cached_property
    def least_loss(self) -> LeastLoss:
        """Where training would stop by its held-out loss, and what is copied there."""
        from difgen_cli.report.study import least_loss

        return least_loss.read(self._curves)

    @cached_property
    def efficiency(self) -> Efficiency:
        """How many images a condition saves until it is as good as the unconditional model."""
        from difgen_cli.report.study import efficiency

        return efficiency.read(self._curves)

    @cached_property
    def calibrated(self) -> Calibrated:
        """Membership, calibrated by the models of the other seeds."""
        from difgen_cli.report.study import calibrated

        return calibrated.read(self._curves)

    @cached_property
    def images(self) -> Ranked:
        """Which images of the pool the models know, by the models of the other seeds."""
        from difgen_cli.report.study import images

        return images.read(self._curves)

    @cached_property
    def prototypes(self) -> pd.DataFrame:
        """Whether images in dense or in sparse regions of the pool are exposed first."""
        from difgen_cli.report.study import prototypes

        return prototypes.read(self._curves)

    @cached_property
    def canaries(self) -> pd.DataFrame:
        """What canaries show, the trainings of a setting together."""
        from difgen_cli.report.study import canaries

        return canaries.read(self._curves)

    @cached_property
    def last(self) -> pd.DataFrame:
        """The last snapshots over seeds; computed once, since a report shows them in several places."""
        from difgen_cli.report.study import last_snapshots

        return last_snapshots.read(self._curves)
