# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator, List, Optional


class PlannedBatches:
    """A batch sampler that serves planned batches.

    Persistent workers can then serve any epoch: one resumed in the middle, or
    a replayed one. Without a plan it acts as the wrapped batch sampler, which
    answers for missing attributes.

    Attributes:
        length (int): The dataloader's ``len``, for hooks: iterations per
            epoch.
        plan (list[list[int]], optional): The batches of the iterator to be
            created next.
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
