"""Prediction files as peers publish them, one format a module: `read(predictions, *references, names=...)`."""
