"""Other tools on the same splits."""
