"""From rows to numbers: curves over seeds with intervals, onsets, and what may be compared."""
