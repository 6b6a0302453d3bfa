"""A scan: settings, cost, measurements, and the way from data to a verdict."""
