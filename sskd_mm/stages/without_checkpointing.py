# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, List, Sequence

import torch.nn as nn
from torch.utils import checkpoint


@contextmanager
def without_checkpointing(student: nn.Module,
                          taps: Sequence[str]) -> Iterator[None]:
    """Disable gradient checkpointing (``with_cp=True``) in this context, whose
    reentrant form hides parameters from the graph.

    Raises:
        ValueError: A tap lies in a checkpointed module, where features have
            no gradient.
    """
    within: List[Callable] = []

    class Plain:

        @staticmethod
        def apply(function: Callable, preserve_rng_state: bool,
                  *args: Any) -> Any:
            within.append(function)
            try:
                return function(*args)
            finally:
                within.pop()

    def refuse(path: str) -> Callable:

        def hook(*_: Any) -> None:
            if within:
                raise ValueError(
                    f'stages: the tap {path!r} is inside a module of the '
                    'student that runs under gradient checkpointing, where '
                    'features have no gradient. Tap the block around it, '
                    "or set with_cp=False in the student's backbone.")

        return hook

    reentrant = checkpoint.CheckpointFunction
    with ExitStack() as stack:
        for path in taps:
            handle = student.get_submodule(path).register_forward_hook(
                refuse(path))
            stack.callback(handle.remove)
        stack.callback(setattr, checkpoint, 'CheckpointFunction', reentrant)
        checkpoint.CheckpointFunction = Plain
        yield
