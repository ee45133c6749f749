"""What is said where data cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from difgen_cli.text import printable

if TYPE_CHECKING:
    from difgen_cli.data import Pool


class DataError(ValueError):
    """One sentence for a person: what is wrong, its value, where, and what to do; names of files are printable."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class LabelError(DataError):
    """Labels that cannot be used, of images that can: whoever needs no labels takes these alone."""

    def __init__(self, sentence: str, pool: Pool | None = None) -> None:
        super().__init__(sentence)
        self.pool = pool

    def images(self) -> Pool:
        """The images without labels; raises this error where they are not known."""
        if self.pool is None:
            raise self
        return self.pool
