"""Code that a model wrote, run within limits."""
