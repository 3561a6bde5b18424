"""What labels alone can give: TF-IDF and a linear support vector machine."""
