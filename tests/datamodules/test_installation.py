"""Names that differ between a clone and a wheel: what either has written, the other reads."""

from __future__ import annotations

from pathlib import Path

from datamodules import installation
from datamodules.installation import local_name, written


def test_what_a_wheel_calls_a_class_is_found_in_a_clone() -> None:
    assert local_name("region_understanding.datamodules.formats.RegionJsonl") == "datamodules.formats.RegionJsonl"
    assert local_name("datamodules.formats.RegionJsonl") == "datamodules.formats.RegionJsonl"


def test_what_is_not_ours_keeps_its_name() -> None:
    for name in ("metrics.Mine", "my_regions.Ring", "torch.optim.SGD", "region_understanding_2.metrics.A", "a text."):
        assert local_name(name) == name


def test_what_is_written_down_has_a_clones_names() -> None:
    """Checkpoints, configurations and fingerprints of a wheel differed from a clone's in every class."""
    plain = {"class_path": "lightning_modules.A", "init_args": {"paths": ["metrics.B"], "to": Path("a"), "n": 1}}
    options = {"paths": ["region_understanding.metrics.B"], "to": Path("a"), "n": 1}
    wheels = {"class_path": "region_understanding.lightning_modules.A", "init_args": options}
    assert written(wheels) == written(plain) == plain
    assert written("a: region_understanding.metrics.X\nb: /lib/region_understanding/experiments") == (
        "a: metrics.X\nb: /lib/region_understanding/experiments"
    )


def test_the_version_is_that_of_this_tree() -> None:
    """The metadata of an editable installation are those of the commit at which it was installed."""
    assert f"version = {installation.version()}\n" in (installation.ROOT / "setup.cfg").read_text()
