"""Score on test, and measure size, speed and memory: `metrics/`."""
