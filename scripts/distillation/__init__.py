"""What a large pipeline says of many texts, for a small one to learn from."""
