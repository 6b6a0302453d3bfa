"""Words of texts, and patterns of them."""
