# Copyright (c) sskd_mm authors. All rights reserved.
from itertools import chain
from typing import Dict, Sequence

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from .spread_blocks import spread_blocks


class Inheritance:
    """The student's tensors that start from a teacher's.

    Args:
        parts (Sequence[str]): Modules or parameters in both networks. From a
            deeper backbone of the same kind, blocks spread over each stage
            are taken, see :func:`spread_blocks`.
        student (nn.Module): The student.
        teacher (nn.Module): The teacher's network.

    Attributes:
        parts (Sequence[str]): As given.
        sources (dict[str, str]): The teacher's tensor for each of the
            student's that lies in one of the parts and has the same shape.

    Raises:
        ValueError: One of the networks has no such part.
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
                        f'module {part!r}. Its modules are: '
                        f'{", ".join(n for n in names if "." not in n)}.')

    def _covers(self, name: str) -> bool:
        return any(f'{name}.'.startswith(f'{part}.') for part in self.parts)

    @torch.no_grad()
    def apply(self, student: nn.Module, teacher: nn.Module) -> None:
        """Copy the teacher's weights and log which."""
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
            f'Inherited {len(copied)} tensors from the teacher: '
            f'{", ".join(copied)}. Not inherited, as the teacher has none of '
            f'the same name and shape: {", ".join(left) or "none"}.')


def _tensors(model: nn.Module) -> Dict[str, Tensor]:
    # Not from the state_dict, whose hooks may rename keys.
    return dict(chain(model.named_parameters(), model.named_buffers()))
