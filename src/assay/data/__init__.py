"""Reading and writing fine-tuning data."""
