"""Instructions that a teacher makes up, begun from tasks that people wrote: self-instruct, and Alpaca's shorter way."""
