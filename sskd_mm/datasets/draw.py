# Copyright (c) sskd_mm authors. All rights reserved.
from collections import Counter
from typing import Iterable, List, Sequence, Tuple


class Draw(int):
    """An index that a sampler has already drawn in the same epoch.

    Args:
        index (int): Index into a data set.
        repeat (int): How often it was drawn before.

    Example:
        >>> Draw(7, 1) == 7, Draw(7, 1).repeat
        (True, 1)
    """

    repeat: int

    def __new__(cls, index: int, repeat: int) -> 'Draw':
        draw = super().__new__(cls, index)
        draw.repeat = repeat
        return draw

    def __reduce__(self) -> Tuple[type, Tuple[int, int]]:
        return Draw, (int(self), self.repeat)


def mark_repeats(batches: Iterable[Sequence[int]],
                 before: Iterable[int] = ()) -> List[List[int]]:
    """Mark repeated draws of the same index.

    Args:
        batches (Iterable[Sequence[int]]): The indices of each batch.
        before (Iterable[int]): Draws of the same epoch in processes of lower
            rank. Defaults to none.

    Returns:
        list[list[int]]: The batches, each repeated index a :class:`Draw`.
    """
    seen = Counter(before)
    marked = []
    for batch in batches:
        marked.append([])
        for index in batch:
            repeat = seen[index]
            seen[index] += 1
            marked[-1].append(Draw(index, repeat) if repeat else int(index))
    return marked
