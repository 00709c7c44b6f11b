"""All ranks' draws of one optimiser step -> this rank's micro-batches within a token budget. Runs in the workers."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from datamodules.batching.dataset import RegionDataset
from datamodules.batching.packing import fill_rows, pack
from datamodules.batching.processor import Processed
from datamodules.batching.sampling import Draw
from datamodules.types import RegionSample


class BudgetedSteps(Dataset[list[Processed]]):
    """Reads the records of a whole step, decodes this rank's share of it alone.

    To know which samples are its own, a rank needs the lengths of all: it reads their records and tokenises their
    conversations. That happens in the workers, ahead of the step, but it grows with the number of ranks: against
    decoding clips of four frames it is a few hundredths of the work on 8 ranks and a quarter to a half on 64.

    Args:
        data: What a draw stands for.
        budget: Most tokens of a micro-batch, visual ones and padding counted.
        ranks: Processes that share a step.
        rank: This one.
        packing: Whether a micro-batch is a row of samples, and not samples of similar length.
    """

    def __init__(self, data: RegionDataset, budget: int, ranks: int = 1, rank: int = 0, packing: bool = False) -> None:
        self.data = data
        self.budget = budget
        self.ranks = ranks
        self.rank = rank
        self.split = fill_rows if packing else pack

    def __getitems__(self, draws: Sequence[Draw]) -> list[list[Processed]]:
        """The samples of one step, by micro-batch; the DataLoader asks for a batch of draws at once.

        Raises:
            DataError: A sample alone is longer than the budget.
        """
        samples = [self.data.sample(draw) for draw in draws]
        mine = self.split([self._length(sample) for sample in samples], self.budget, self.ranks)[self.rank]
        return [[self.data.process(draws[place], samples[place]) for place in group] for group in mine]

    def _length(self, sample: RegionSample) -> int:
        length = self.data.processor.most_tokens(sample)
        if length > self.budget:
            raise sample.error(f"{length} tokens, but data.token_budget is {self.budget}")
        return length
