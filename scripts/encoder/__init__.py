"""Pretrained encoders: fetch, and let them teach smaller models."""
