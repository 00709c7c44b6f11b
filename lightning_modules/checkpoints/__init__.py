"""Models on disk: what is written beside the weights, files that are whole, loading, export, the hub."""
