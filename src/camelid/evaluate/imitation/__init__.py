"""The imitation gap: how much a model sounds like its teacher, and how much it knows."""
