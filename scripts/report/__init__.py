"""Tables, plots and the page that show where each variant lands."""
