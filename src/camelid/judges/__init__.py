"""Asking a model to judge: what is asked, in what order, how a reply is read, what it costs. No stage, no torch."""
