"""A variant's config, complete, and `spacy train` and `spacy pretrain` with it."""
