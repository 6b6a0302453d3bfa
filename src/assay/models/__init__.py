"""Loading, encoding for, tuning and evaluating language models."""
