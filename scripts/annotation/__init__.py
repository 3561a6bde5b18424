"""Which labels to doubt, and which texts to annotate next."""
