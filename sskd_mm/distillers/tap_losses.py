# Copyright (c) sskd_mm authors. All rights reserved.
import functools
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from ..losses.objects import Objects
from ..stages import Stage
from .comparison import Pair


class TapLosses:
    """The mimic loss of each tap.

    Args:
        mimic_loss (nn.Module): The distance between two features. With
            ``uses_previous_tap`` it also gets those of the previous tap, with
            ``foreground`` a mask of the objects.
        stages (Sequence[Stage]): The stages, in order.
        tap_shapes (dict[str, list[tuple]]): See :class:`Comparison`.
    """

    def __init__(
            self, mimic_loss: nn.Module, stages: Sequence[Stage],
            tap_shapes: Dict[str, List[Tuple[tuple, tuple]]]) -> None:
        self._loss = mimic_loss
        self._stages = {stage.name: stage for stage in stages}
        self._shapes = tap_shapes

    @property
    def read_objects(self) -> bool:
        """bool: Whether the loss weighs objects against background."""
        return getattr(self._loss, 'foreground', None) is not None

    def _previous(self, tap: str) -> Optional[str]:
        """The previous tap, if the loss needs it. The first tap is paired with
        itself."""
        if not getattr(self._loss, 'uses_previous_tap', False):
            return None
        names = list(self._stages)
        return names[max(names.index(tap) - 1, 0)]

    def with_previous(self, taps: Sequence[str]) -> List[str]:
        """The taps that the losses of these taps need, in order."""
        wanted = {*taps, *map(self._previous, taps)}
        return [name for name in self._stages if name in wanted]

    def compute(self,
                tap: str,
                pairs: Dict[str, List[Pair]],
                objects: Optional[Objects] = None) -> Dict[str, Tensor]:
        """``loss_mimic_<tap>``, summed over the tap's levels and averaged over
        its teachers, and ``distance_<tap>``.

        Args:
            tap (str): The name of its stage.
            pairs (dict[str, list[Pair]]): Features of each tap.
            objects (Objects, optional): Where objects are, if needed.
        """
        total = self._sum(tap, pairs, None if objects is None else
                          objects.mask)
        teachers = self._stages[tap].teachers
        number = len(teachers) - teachers.count(None)
        return {
            f'loss_mimic_{tap}': total / number,
            f'distance_{tap}': _distance(pairs[tap])
        }

    def _sum(self, tap: str, pairs: Dict[str, List[Pair]],
             mask: Optional[Callable[[tuple], Tensor]]) -> Tensor:
        levels = [pair[1:] for pair in pairs[tap]]
        previous = self._previous(tap)
        if previous is not None:
            before = pairs[previous]
            # A single map is paired with each of the levels after it.
            each, rest = divmod(len(levels), len(before))
            if rest:
                raise ValueError(
                    f'{type(self._loss).__name__} relates each tap to the '
                    f'previous one, but {previous!r} has {len(before)} '
                    f'feature maps and {tap!r} has {len(levels)}. Remove one '
                    'of them from `stages`, or choose another loss.')
            levels = [(*level, *before[i // each][1:])
                      for i, level in enumerate(levels)]
        if mask is not None:
            for level in levels:
                if level[1].dim() != 4:
                    raise ValueError(
                        'mimic_loss.foreground needs maps (C, H, W), but the '
                        f'features of the tap {tap!r} have the shape '
                        f'{tuple(level[1].shape[1:])}. Remove the tap from '
                        '`stages`, or `foreground` from the loss.')
            levels = [(*level, mask(level[1].shape[-2:])) for level in levels]
        return sum(self._loss(*level) for level in levels)

    @torch.no_grad()
    def check(self, taps: Sequence[str], device: torch.device) -> None:
        """Compute the loss of dummy features in the shapes of these taps.

        Raises:
            ValueError: The loss cannot compare them.
        """
        ones = functools.partial(torch.ones, device=device)

        def mask(size):
            return ones(2, *size, dtype=torch.bool)

        for name in sorted(taps):
            pairs = {
                tap: [
                    Pair(student=x, adapted=x, teacher=x)
                    for x in (ones(2, *shape)
                              for _, shape in self._shapes[tap])
                ]
                for tap in self.with_previous([name])
            }
            try:
                self._sum(name, pairs, mask if self.read_objects else None)
            except ValueError as error:
                raise ValueError(f'Stage {name!r}: {error}') from None


@torch.no_grad()
def _distance(pairs: Sequence[Pair]) -> Tensor:
    """The mean relative L2 distance over the levels, left on its device."""
    norm = functools.partial(torch.linalg.vector_norm, dtype=torch.float32)
    return torch.stack([
        norm(adapted - teacher) / norm(teacher).clamp_min(1e-12)
        for _, adapted, teacher in pairs
    ]).mean()
