"""The part of a canvas where something is; of many regions each is a small part of the picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Patch(NamedTuple):
    """Values on a rectangle of a canvas, which has 0 everywhere else.

    Attributes:
        rows: Rows of the canvas, h of them; they and the columns may be none.
        columns: Columns of the canvas, w of them.
        values: (h, w) float32.
    """

    rows: slice
    columns: slice
    values: NDArray[np.float32]

    def moved(self, down: int, right: int) -> Patch:
        """The same values elsewhere."""
        rows, columns = (
            slice(part.start + by, part.stop + by) for part, by in ((self.rows, down), (self.columns, right))
        )
        return Patch(rows, columns, self.values)

    def on(self, canvas: tuple[int, int]) -> NDArray[np.float32]:
        """The whole canvas (height, width)."""
        whole = np.zeros(canvas, dtype=np.float32)
        whole[self.rows, self.columns] = self.values
        return whole


NOTHING = Patch(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=np.float32))
