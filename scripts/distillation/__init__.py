"""What a large model says of many texts, for a small one to learn from."""
