"""The tasks as lmms-eval finds them, a file each: `region_` and the name of a benchmark."""
