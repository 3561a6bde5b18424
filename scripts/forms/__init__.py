"""The forms that data comes in and goes out: lines, records, tables."""
