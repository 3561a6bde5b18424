"""Use a trained variant: label files, build a wheel, try it in the browser."""
