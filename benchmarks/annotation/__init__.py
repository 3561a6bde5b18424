"""Programs that measure what `doubt` and `suggest` are worth, run by hand: python -m benchmarks.annotation.NAME."""
