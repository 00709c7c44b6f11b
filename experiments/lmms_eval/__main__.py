"""Prints where the tasks are, for `lmms-eval --include_path`: in a wheel nobody knows by heart."""

import sys

from experiments.lmms_eval import TASKS

sys.stdout.write(f"{TASKS}\n")
