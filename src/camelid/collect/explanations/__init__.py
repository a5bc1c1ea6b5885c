"""Explanations to learn from: a teacher's, asked for under system messages (Orca), and those that data sets bring."""
