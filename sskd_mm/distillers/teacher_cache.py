# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Callable, Dict, Hashable, Optional

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only


class TeacherCache:
    """What teachers have computed for batches that come again.

    It is held on the CPU, where there is more room, in the precision in which
    it was computed; for a GPU in pinned memory, from which it is copied
    without waiting.

    Attributes:
        key (Hashable, optional): Tells the batch that is under way from all
            others. With None nothing is kept.
    """

    def __init__(self) -> None:
        self.key: Optional[Hashable] = None
        self._kept: Dict[Hashable, Any] = {}

    @property
    def place(self) -> str:
        """str: Where things are held."""
        return 'in memory'

    def begin_batch(self, key: Hashable, data: Any) -> None:
        """Say which batch is under way.

        Args:
            key (Hashable): Tells it from all others.
            data (dict): As loaded.
        """
        self.key = key

    def recall(self, compute: Callable[[], Any],
               device: torch.device) -> Any:
        """What the batch gave before, or else what it gives now.

        Args:
            compute (Callable): Makes it: tensors in lists, tuples and dicts.
            device (torch.device): Where it is wanted.
        """
        if self.key is None:
            return compute()
        if self.key not in self._kept:
            result = compute()
            self._kept[self.key] = tree_map_only(Tensor, _hold, result)
            return result
        return tree_map_only(
            Tensor, lambda x: x.to(device, non_blocking=True),
            self._kept[self.key])

    def clear(self) -> None:
        """Forget everything."""
        self.key = None
        self._kept.clear()

    @property
    def num_bytes(self) -> int:
        """int: What is held."""
        return sum(x.numel() * x.element_size()
                   for x in tree_leaves(self._kept) if isinstance(x, Tensor))


def _hold(tensor: Tensor) -> Tensor:
    held = tensor.cpu()
    return held.pin_memory() if tensor.is_cuda else held
