"""Small things that every part of assay uses."""
