"""Cleaning, deduplicating and selecting data. Imports no other stage package."""
