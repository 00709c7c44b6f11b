"""Names of sources: each becomes part of what a tracker is told."""

import re
from typing import Any

import pytest

from datamodules import ImageRegionDataModule
from datamodules.errors import DataError
from tests.helpers import Listed


@pytest.mark.parametrize("where", ["train", "val", "test", "predict"])
@pytest.mark.parametrize("name", ["refcoco+_val", "a(b)", "é"])
def test_a_name_that_no_tracker_holds_is_refused(where: str, name: str) -> None:
    sources: dict[str, Any] = {where: {name: Listed()}}
    with pytest.raises(DataError, match=re.escape(f"source {name!r}: letters, digits")):
        ImageRegionDataModule(**sources)


def test_a_name_that_it_holds() -> None:
    ImageRegionDataModule(test={"refcoco_plus/val-1.b: c": Listed()})
