"""The machinery below the science: grids, plans, the run directory, launchers, workers, and what work costs."""
