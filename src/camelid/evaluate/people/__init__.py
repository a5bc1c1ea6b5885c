"""People's verdicts: agreement, order swap, judges against people, LLaMA-2's protocol for raters."""
