# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

#: The pass and number of a batch.
Key = Tuple[int, ...]


class TeacherCache:
    """Teachers' features of recurring batches, in memory.

    They are held on the CPU, in the precision in which they were computed,
    and pinned if they come from a GPU. If a batch's images or preprocessing
    have changed, it is computed again and replaces the cached one.

    Attributes:
        location (str): Where features are held.
        missed (int): How many batches differed from those cached under the
            same key.
    """

    location = 'in memory'

    def __init__(self) -> None:
        self.missed = 0
        self._cached: Dict[Key, Tuple[int, Any]] = {}

    def recall(self, key: Key, identity: int, compute: Callable[[], Any],
               device: torch.device) -> Any:
        """Return the cached features of a batch, or compute and cache them.

        Args:
            key (tuple[int]): The pass and number of the batch.
            identity (int): From :class:`BatchIdentity`.
            compute (Callable): Returns tensors in lists, tuples and dicts.
            device (torch.device): Where to put the result.
        """
        found = self._find(key, identity)
        if found is not None:
            return tree_map_only(
                Tensor, lambda x: x.to(device, non_blocking=True), found)
        result = compute()
        self._store(key, identity, result)
        return result

    def clear(self) -> None:
        """Drop everything."""
        self._cached.clear()

    @property
    def num_bytes(self) -> int:
        """int: Size of what is held."""
        return sum(x.numel() * x.element_size()
                   for x in tree_leaves(list(self._cached.values()))
                   if isinstance(x, Tensor))

    def _find(self, key: Key, identity: int) -> Any:
        cached = self._cached.get(key)
        if cached is None:
            return None
        if cached[0] != identity:
            self.missed += 1
            return None
        return cached[1]

    def _store(self, key: Key, identity: int, result: Any) -> None:
        self._cached[key] = identity, tree_map_only(Tensor, _to_host, result)


def _to_host(tensor: Tensor) -> Tensor:
    held = tensor.cpu()
    return held.pin_memory() if tensor.is_cuda else held
