"""The figures of a study, one file each: `draw(curves, paper)`, `ORDER` on the page, and `COVERS`, what it shows.

`draw` returns the figures that the finished cells have the numbers for, none where they have not. A name in COVERS that
ends with `_` stands for all metrics that begin with it. Files that begin with an underscore are no figures.
"""
