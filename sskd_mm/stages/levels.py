# Copyright (c) sskd_mm authors. All rights reserved.
import math
from typing import List, Sequence, Tuple

from torch import Tensor


def pair_levels(student: Sequence[Tensor], teacher: Sequence[Tensor],
                student_size: Tuple[int, int],
                teacher_size: Tuple[int, int]) -> List[Tuple[int, int]]:
    """Pair the features of a student's tap with those of a teacher's.

    FPN levels are paired by stride, so P3 to P7 of a one-stage detector meet
    P3 to P6 of a two-stage one's P2 to P6; levels without a counterpart are
    left out. Single features are paired whatever their strides, and tokens or
    embeddings by their order.

    Args:
        student (Sequence[Tensor]): Features of the student's tap: maps
            (N, C, H, W), tokens (N, L, C) or embeddings (N, C).
        teacher (Sequence[Tensor]): Those of the teacher's.
        student_size (tuple[int]): Height and width of the student's input.
        teacher_size (tuple[int]): The same of the teacher's.

    Returns:
        list[tuple[int]]: Indices into ``student`` and ``teacher``.

    Raises:
        ValueError: No strides match, the numbers of tokens or embeddings
            differ, or an embedding would be paired with a map or tokens.

    Example:
        >>> pair_levels([torch.rand(1, 8, 16, 16), torch.rand(1, 8, 8, 8)],
        >>>             [torch.rand(1, 4, 8, 8), torch.rand(1, 4, 4, 4)],
        >>>             (128, 128), (128, 128))
        [(1, 0)]
    """
    pairs = _pair(student, teacher, student_size, teacher_size)
    for i, j in pairs:
        if (student[i].dim() == 2) != (teacher[j].dim() == 2):
            raise ValueError(
                f'the student outputs {_shapes(student)}, the teacher '
                f'{_shapes(teacher)}: one is a vector per image, the other '
                'has a feature per position. Tap both networks before the '
                "pooling, or both after it (an mmpretrain classifier's "
                "'neck').")
    return pairs


def _pair(student: Sequence[Tensor], teacher: Sequence[Tensor],
          student_size: Tuple[int, int],
          teacher_size: Tuple[int, int]) -> List[Tuple[int, int]]:
    if len(student) == len(teacher) == 1:
        return [(0, 0)]
    if any(x.dim() != 4 for x in (*student, *teacher)):
        if len(student) != len(teacher):
            raise ValueError(
                f'the student outputs {_shapes(student)}, the teacher '
                f'{_shapes(teacher)}: different numbers of features, not all '
                'of them maps. Tap modules that output equally many.')
        return [(i, i) for i in range(len(student))]
    strides = _strides(student, student_size)
    left = dict(enumerate(_strides(teacher, teacher_size)))
    pairs = []
    for i, stride in enumerate(strides):
        # On small images the last levels all have one pixel: keep the order.
        j = next((j for j in left if left[j] == stride), None)
        if j is not None:
            pairs.append((i, j))
            del left[j]
    if not pairs:
        raise ValueError(
            f'the student outputs levels of the strides {strides}, the '
            f'teacher {_strides(teacher, teacher_size)}; they have none in '
            'common. Tap modules with a common stride, or modules with a '
            'single level, which are compared whatever their strides.')
    return pairs


def _strides(features: Sequence[Tensor], size: Tuple[int, int]) -> List[int]:
    """The nearest powers of two, since sizes are rounded."""
    area = size[0] * size[1]
    return [
        2**max(round(math.log2(area / x.shape[2:].numel()) / 2), 0)
        for x in features
    ]


def _shapes(features: Sequence[Tensor]) -> List[Tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in features]
