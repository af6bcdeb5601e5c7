# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator, List, Optional


class PlannedBatches:
    """A batch sampler whose batches, once planned, are given out.

    Workers that persist then serve any epoch: one that is resumed in its
    midst, or that replays another. Without a plan it is the batch sampler
    that it wraps.

    Args:
        batch_sampler (Sampler): What it wraps, and passes attributes on to.

    Attributes:
        length (int): What ``len`` of the dataloader is, for hooks: the
            iterations of an epoch.
        plan (list[list[int]], optional): The batches of an iterator that is
            being made.
    """

    def __init__(self, batch_sampler) -> None:
        self._batch_sampler = batch_sampler
        self.length = len(batch_sampler)
        self.plan: Optional[List[List[int]]] = None

    def __iter__(self) -> Iterator[List[int]]:
        return iter(self._batch_sampler if self.plan is None else self.plan)

    def __len__(self) -> int:
        return self.length

    def __getattr__(self, name: str) -> Any:
        if name == '_batch_sampler':
            raise AttributeError(name)
        return getattr(self._batch_sampler, name)
