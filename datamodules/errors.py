"""The one error of bad data and bad requests."""

from __future__ import annotations


class DataError(ValueError):
    """Data or a request that cannot be used. The message names the file, the sample and the numbers that disagree."""
