"""Read a data set in any common form, check it, split it: `assets/` -> `corpus/`."""
