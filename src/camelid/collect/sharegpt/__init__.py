"""Vicuna's cleaning of ShareGPT's conversations: turns, markup, segments, and the stage that does it all."""
