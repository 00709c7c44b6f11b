"""From a source's samples to batches: order, processing, micro-batches. Runs in the loader's workers."""
