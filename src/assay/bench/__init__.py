"""Measuring detectors against attacks."""
