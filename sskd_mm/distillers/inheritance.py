# Copyright (c) sskd_mm authors. All rights reserved.
from itertools import chain
from typing import Dict, Sequence

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from .spread_blocks import spread_blocks


class Inheritance:
    """Which of a student's tensors start from which of a teacher's.

    Args:
        parts (Sequence[str]): Modules, or single parameters, that are in both
            networks. Of a deeper backbone of the same kind a student takes
            blocks that are spread over each stage, see
            :func:`spread_blocks`.
        student (nn.Module): The student.
        teacher (nn.Module): The teacher's network.

    Attributes:
        parts (Sequence[str]): As given.
        sources (dict[str, str]): For each of the student's tensors that is in
            one of the parts, and has its shape in the teacher, the name of
            the teacher's.

    Raises:
        ValueError: One of the networks has no such part.

    Example:
        >>> inheritance = Inheritance(['neck'], student, teacher.model)
        >>> inheritance.apply(student, teacher.model)
    """

    def __init__(self, parts: Sequence[str], student: nn.Module,
                 teacher: nn.Module) -> None:
        self.parts = parts
        self._check(student=student, teacher=teacher)
        source = _tensors(teacher)
        blocks = spread_blocks(student, teacher)
        self.sources: Dict[str, str] = {}
        for name, tensor in _tensors(student).items():
            if not self._covers(name):
                continue
            other = name
            for own, block in blocks.items():
                if name.startswith(f'{own}.'):
                    other = block + name[len(own):]
            if other in source and source[other].shape == tensor.shape:
                self.sources[name] = other

    def _check(self, **networks: nn.Module) -> None:
        for part in self.parts:
            for role, model in networks.items():
                names = [
                    name for name, _ in (*model.named_modules(),
                                         *model.named_parameters()) if name
                ]
                if part not in names:
                    raise ValueError(
                        f'inherit: the {role} ({type(model).__name__}) has no '
                        f'module {part!r}. Its parts are: '
                        f'{", ".join(n for n in names if "." not in n)}.')

    def _covers(self, name: str) -> bool:
        return any(f'{name}.'.startswith(f'{part}.') for part in self.parts)

    @torch.no_grad()
    def apply(self, student: nn.Module, teacher: nn.Module) -> None:
        """Copy the teacher's weights and report what was copied."""
        own, source = _tensors(student), _tensors(teacher)
        for name, other in self.sources.items():
            own[name].copy_(source[other])
        if not self.parts:
            return
        copied = [
            name if name == other else f'{name} from {other}'
            for name, other in self.sources.items()
        ]
        left = [
            name for name in own
            if self._covers(name) and name not in self.sources
        ]
        MMLogger.get_current_instance().info(
            f'Inherited from the teacher: {len(copied)} tensors: '
            f'{", ".join(copied)}. Left as they were since the '
            f'teacher has none of the name and shape: '
            f'{", ".join(left) or "none"}.')


def _tensors(model: nn.Module) -> Dict[str, Tensor]:
    # By the names of modules, which a state_dict need not have.
    return dict(chain(model.named_parameters(), model.named_buffers()))
