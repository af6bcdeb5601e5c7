# Copyright (c) sskd_mm authors. All rights reserved.
from ..mimic_loss import TAKE_OTHERS
from .joint_loss import JointLoss
from .knowledge import Knowledge


def check_maps(loss: JointLoss, student: Knowledge,
               teacher: Knowledge) -> None:
    """Check that all features are maps with several positions.

    Args:
        loss (JointLoss): The loss that needs them.
        student (Knowledge): The student's outputs in a dry run.
        teacher (Knowledge): The teacher's outputs in the same dry run.

    Raises:
        ValueError: A feature is not.
    """
    for role, knowledge in (('student', student), ('teacher', teacher)):
        names = knowledge.names or range(len(knowledge.features))
        for name, feature in zip(names, knowledge.features):
            if feature.dim() != 4 or feature.shape[2:].numel() == 1:
                raise ValueError(
                    f'{type(loss).__name__} compares maps (N, C, H, W) with '
                    f'more than one position, but the {role}\'s feature at '
                    f'tap {name!r} has shape {tuple(feature.shape)}. '
                    f'{TAKE_OTHERS}')
