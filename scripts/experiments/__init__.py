"""Grids of runs, comparisons, curves, and rebuilding of published results."""
