"""EK-FAC influence and per-example gradient features."""
