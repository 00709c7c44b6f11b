"""What libraries say in every run, and which is not so or no news: it is left out."""

from __future__ import annotations

import logging
import warnings

WARNINGS = (
    ".*does not have many workers",  # a worker's share of tiny data is the user's decision
    ".*recommended to use `self.log\\(.*sync_dist=True",  # scores are gathered from all ranks before they are logged
    ".*your dataloader is not resumable",  # its stream goes on where the checkpoint was
    ".*isinstance\\(treespec, LeafSpec\\)",  # Lightning's own way of asking
    "LightningCLI's args parameter",  # the arguments do come from the command line, by way of cli.py
)
LINES = ("Tip: For seamless cloud", "TPU available:")


def _is_news(record: logging.LogRecord) -> bool:
    return not any(line in record.getMessage() for line in LINES)


def quieten() -> None:
    """For this process; what is called again changes nothing."""
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # that it makes its tables
