"""Pretrained encoders: fetch, shrink, and let them teach smaller models."""
