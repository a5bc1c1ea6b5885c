"""Evol-Instruct: a teacher makes instructions harder, or makes others like them, round by round, and answers them."""
