"""The live view of runs: what their folders say, as JSON over HTTP on this machine, and a page that shows it."""
