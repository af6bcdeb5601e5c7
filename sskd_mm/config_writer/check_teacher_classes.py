# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List, Sequence

from torch import nn

from ..compat import is_a
from ..datasets import head_classes


def check_teacher_classes(student: nn.Module, teacher: nn.Module, dataset: Any,
                          checkpoint: Dict[str, Any]) -> None:
    """Check that both have the same classes in the same order, as far as heads
    and checkpoint tell.

    A student that learns no classes (``EmbeddingHead``) fits any teacher.

    Args:
        student (nn.Module): A detector or classifier.
        teacher (nn.Module): The teacher.
        dataset (Dataset): The student's training set.
        checkpoint (dict): The teacher's checkpoint.

    Raises:
        ValueError: A class or their number differs; the message says which.
    """
    if is_a(getattr(student, 'head', None), 'EmbeddingHead') and not any(
            head_classes(student).values()):
        return
    own, theirs = (sorted(set(head_classes(m).values()))
                   for m in (student, teacher))
    names = list((getattr(dataset, 'metainfo', None) or {}).get('classes', ()))
    taught = taught_classes(checkpoint)
    # The modules of timm networks do not reveal their classes.
    if own and theirs and own != theirs:
        detail = (f'The student\'s heads have {_numbers(own)} classes, the '
                  f'teacher\'s {_numbers(theirs)}.')
    elif names and taught and names != taught:
        number, (ours, other) = next(
            (i, pair) for i, pair in enumerate(
                zip([*names, None], [*taught, None])) if pair[0] != pair[1])
        detail = (f'Class {number} is {ours!r} in the training data, but '
                  f'{other!r} in the teacher\'s checkpoint.')
    else:
        return
    raise ValueError(
        f'The teacher\'s classes are not the student\'s. {detail} If that is '
        'a mistake, give the config and checkpoint of a teacher that was '
        'trained on these classes. If it is meant, --other-classes takes the '
        "teacher's features only: no head starts from its, and it is not "
        'evaluated.')


def taught_classes(checkpoint: Dict[str, Any]) -> List[str]:
    """Get the classes named in a checkpoint of MMEngine or old mmcv.

    Args:
        checkpoint (dict): The loaded file.

    Returns:
        list[str]: The classes; empty if it names none.
    """
    meta = checkpoint.get('meta') or {}
    classes = (meta.get('dataset_meta') or {}).get('classes')
    classes = classes or meta.get('CLASSES') or ()
    return [classes] if isinstance(classes, str) else list(classes)


def _numbers(numbers: Sequence[int]) -> str:
    return ' and '.join(map(str, numbers)) or 'no'
