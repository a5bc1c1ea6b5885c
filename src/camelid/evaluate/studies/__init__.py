"""Studies: cells that differ in one thing, brought over seeds together, and what was claimed beside what came out."""
