"""Shards: any source's samples and media in a few large files, read from a folder or from S3 as a source again.

The files are litdata's, which also writes them and can stream them. They are read here by position, because the order
of training is a function of the position alone (`datamodules.batching.sampling`) and a run resumes exactly by it,
with any number of ranks and workers and from any cache folder.
"""

from datamodules.shards.source import ShardedSource

__all__ = ["ShardedSource"]
