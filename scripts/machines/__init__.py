"""The machine, or several: what of it may be used, what it is, and how work travels."""
