"""Benchmarks, a small file each: data set, way of asking, scorer."""
