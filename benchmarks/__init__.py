"""Programs that measure or show, run by hand: python -m benchmarks.NAME."""
