# Copyright (c) sskd_mm authors. All rights reserved.
from ..mimic_loss import TAKE_OTHERS
from .joint_loss import JointLoss
from .knowledge import Knowledge


def check_maps(loss: JointLoss, student: Knowledge,
               teacher: Knowledge) -> None:
    """See that all features are maps of several positions.

    Args:
        loss (JointLoss): Which needs them.
        student (Knowledge): The student's, of a dry run.
        teacher (Knowledge): The teacher's, of the same.

    Raises:
        ValueError: One is not.
    """
    for role, knowledge in (('student', student), ('teacher', teacher)):
        names = knowledge.names or range(len(knowledge.features))
        for name, feature in zip(names, knowledge.features):
            if feature.dim() != 4 or feature.shape[2:].numel() == 1:
                raise ValueError(
                    f'{type(loss).__name__} compares maps (N, C, H, W) of '
                    f'more than one position, but the {role}\'s feature at '
                    f'the tap {name!r} has the shape {tuple(feature.shape)}. '
                    f'{TAKE_OTHERS}')
