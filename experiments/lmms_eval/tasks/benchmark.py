"""The class that the YAML files name: lmms-eval runs this file anew for each of them, and the class has to be one."""

from experiments.lmms_eval.region_benchmark import RegionBenchmark

__all__ = ["RegionBenchmark"]
