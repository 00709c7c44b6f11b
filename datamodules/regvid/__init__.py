"""Instruction data from annotated videos: marked, described, verified and turned into conversations by chat models."""

from datamodules.regvid.local_model import LocalModel
from datamodules.regvid.openai_model import OpenAIModel

__all__ = ["LocalModel", "OpenAIModel"]
