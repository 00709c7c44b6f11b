"""Instruction data from annotated videos: marked, described, verified and turned into conversations by chat models."""

from datamodules.regvid.image_tokens import FlatTokens, PatchTokens, PixelTokens, TileTokens
from datamodules.regvid.local_model import LocalModel
from datamodules.regvid.openai_model import OpenAIModel

__all__ = ["FlatTokens", "LocalModel", "OpenAIModel", "PatchTokens", "PixelTokens", "TileTokens"]
