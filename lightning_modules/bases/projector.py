"""A projector for any tower of square images: LLaVA-1.5's, with neighbouring patches merged before its first layer.

It stands in the file that exported folders carry, which can import nothing from here.
"""

from lightning_modules.bases.standalone.modeling_token_mark import LlavaWithProjector, MergingProjector

__all__ = ["LlavaWithProjector", "MergingProjector"]
