"""The built-in data set: small scenes of moving shapes, with questions that only the pointed-at region decides."""

from datamodules.shapes.files import ShapesFiles
from datamodules.shapes.in_words import ShapesInWords
from datamodules.shapes.source import ShapesStream

__all__ = ["ShapesFiles", "ShapesInWords", "ShapesStream"]
