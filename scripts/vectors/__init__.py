"""Word vectors from the raw text: gensim, floret, `spacy init vectors`, pruning."""
