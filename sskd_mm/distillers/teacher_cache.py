# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Callable, Dict, Hashable, Tuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only


class TeacherCache:
    """Teachers' features of batches that come again, in memory.

    They are held on the CPU, where there is more room, in the precision in
    which they were computed; for a GPU in pinned memory, from which they are
    copied without waiting. A batch whose images or preprocessing are not
    those of before is computed anew and replaces what was kept.

    Attributes:
        missed (int): How many batches were not what was kept under their key.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._kept: Dict[Hashable, Tuple[int, Any]] = {}

    @property
    def location(self) -> str:
        """str: Where features are held."""
        return 'in memory'

    def recall(self, key: Tuple[int, ...], identity: int,
               compute: Callable[[], Any], device: torch.device) -> Any:
        """What the teachers gave for a batch before, or else what they give
        now.

        Args:
            key (tuple[int]): The pass and number of the batch.
            identity (int): Tells whether it is the same, see
                :class:`BatchIdentity`.
            compute (Callable): Runs the teachers: tensors in lists, tuples
                and dicts.
            device (torch.device): Where the result is wanted.
        """
        found = self._find(key, identity)
        if found is not None:
            return tree_map_only(
                Tensor, lambda x: x.to(device, non_blocking=True), found)
        result = compute()
        self._keep(key, identity, result)
        return result

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    @property
    def num_bytes(self) -> int:
        """int: Size of what is held."""
        return sum(x.numel() * x.element_size()
                   for x in tree_leaves(list(self._kept.values()))
                   if isinstance(x, Tensor))

    def _find(self, key: Hashable, identity: int) -> Any:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] != identity:
            self.missed += 1
            return None
        return kept[1]

    def _keep(self, key: Hashable, identity: int, result: Any) -> None:
        self._kept[key] = identity, tree_map_only(Tensor, _hold, result)


def _hold(tensor: Tensor) -> Tensor:
    held = tensor.cpu()
    return held.pin_memory() if tensor.is_cuda else held
