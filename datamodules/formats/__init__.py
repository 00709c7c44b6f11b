"""Annotation formats, one a file: each reads records of its kind as `RegionSample`s."""

from datamodules.formats.coco_instances import CocoInstances
from datamodules.formats.region_jsonl import RegionJsonl

__all__ = ["CocoInstances", "RegionJsonl"]
