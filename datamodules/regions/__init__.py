"""Regions as geometry: where they lie on a frame, on the canvas that a model sees, and on its visual tokens."""
