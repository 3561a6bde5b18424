"""Pretrained encoders: fetch them, and make word tables of what they say of words."""
