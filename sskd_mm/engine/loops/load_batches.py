# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List

from torch.utils.data import DataLoader


def load_batches(dataloader: DataLoader,
                 batches: List[List[int]]) -> DataLoader:
    """A dataloader like another one, for other batches.

    Args:
        dataloader (DataLoader): Tells how batches are loaded.
        batches (list[list[int]]): The indices of each.

    Returns:
        DataLoader: Its batches are these, in this order.
    """
    return DataLoader(
        dataloader.dataset,
        batch_sampler=batches,
        num_workers=dataloader.num_workers,
        collate_fn=dataloader.collate_fn,
        pin_memory=dataloader.pin_memory,
        worker_init_fn=dataloader.worker_init_fn)
