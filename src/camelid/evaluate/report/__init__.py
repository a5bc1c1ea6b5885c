"""The report: one self-contained page with pictures and tables, its JSON twin, and the stage that gathers it."""
