"""Studies: what the papers found, measured again at a size that ends here. Each is a recipe with a conclusion."""
