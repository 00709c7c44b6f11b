"""How text names a region: `<region0>`, `<region1>`, ..., or `<region>` where there is only one."""

from __future__ import annotations

import re

from datamodules.errors import DataError

PLACEHOLDER = re.compile(r"<region(\d*)>", re.ASCII)
"""One mention of a region; its group is the region's number, empty in `<region>`."""


def region_number(digits: str, num_regions: int) -> int:
    """The region, 0 <= number < num_regions, that a placeholder with these `digits` ("" or a number) names.

    Raises:
        DataError: There is no such region, or a bare `<region>` could be any of several.
    """
    if not digits and num_regions > 1:
        raise DataError(f"<region> needs a number, there are {num_regions} regions")
    # compared as text first: int() refuses thousands of digits with an error of its own
    significant = digits.lstrip("0") or "0"
    if len(significant) > len(str(num_regions)) or int(significant) >= num_regions:
        raise DataError(f"<region{digits}> has no region, there are {num_regions}, counted from 0")
    return int(significant)


def mentions(text: str, num_regions: int) -> list[int]:
    """Numbers of the regions that `text` mentions, in the order of the text, repetitions kept.

    Raises:
        DataError: As `region_number`.
    """
    return [region_number(digits, num_regions) for digits in PLACEHOLDER.findall(text)]


def check_mentions(text: str, num_regions: int, where: str) -> None:
    """Raise a `DataError` that starts with `where` unless every placeholder in `text` has its region."""
    try:
        mentions(text, num_regions)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
