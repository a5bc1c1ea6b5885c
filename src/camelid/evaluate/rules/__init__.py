"""Rules: judgements from labels that there are, what reranking does to violations, prompts that provoke them."""
