"""Where `LMMS_EVAL_PLUGINS` looks for models; installed packages have theirs as entry points."""

AVAILABLE_MODELS = {"region": "RegionModel"}
