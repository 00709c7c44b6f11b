"""The last import of a process that others are forked from: none of them searches what was imported for garbage."""

from __future__ import annotations

import gc

gc.freeze()
