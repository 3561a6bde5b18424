"""Make encoders smaller: fewer layers and word pieces, fewer bits, another runtime."""
