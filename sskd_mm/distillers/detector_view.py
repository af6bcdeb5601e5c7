# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Collection, Iterator, List, Optional, Tuple

from torch import Tensor, nn

from ..compat import is_a
from ..losses.objects import Objects


class DetectorView:
    """What the losses of a :class:`JointDistiller` read of two detectors.

    The taps only, unless a loss reads the outputs of a one-stage detector's
    dense head (``bbox_head``). So a teacher ends at its last tap; RPN, RoI
    heads and NMS of a two-stage one never run.

    Raises:
        ValueError: A network is no detector, or lacks the dense head, or the
            images lack the boxes, that a loss reads.
    """

    task = 'detector'
    #: What a loss can read beside features.
    offers = ('boxes', 'outputs', 'hidden')

    def __init__(self, student: nn.Module, teacher: nn.Module,
                 inputs: Tuple[Tensor, Tensor], data_samples: Optional[list],
                 wanted: Collection[str]) -> None:
        self.taps_alone = 'outputs' not in wanted
        self._with_boxes = 'boxes' in wanted
        self._with_hidden = 'hidden' in wanted
        for model, role in ((student, 'student'), (teacher, 'teacher')):
            if not self.accepts(model):
                raise ValueError(
                    f'JointDistiller: the {role} ({type(model).__name__}) is '
                    'no detector of mmdet, but the other network is. Use two '
                    'networks of the same task.')
            head = getattr(model, 'bbox_head', None)
            if not (self.taps_alone or is_a(head, 'BaseDenseHead')):
                raise ValueError(
                    f'JointDistiller: the {role} ({type(model).__name__}) has '
                    'no dense head (bbox_head), whose outputs a loss '
                    'compares. Use a one-stage detector such as GFL, or a '
                    'loss that compares features.')
        if self._with_boxes:
            Objects.of(data_samples, inputs[0])

    @staticmethod
    def accepts(model: nn.Module) -> bool:
        """Whether a network is a detector of mmdet."""
        return is_a(model, 'BaseDetector')

    @contextmanager
    def watch(self, model: nn.Module, which: int) -> Iterator[dict]:
        """Record a forward pass within this context. Yields a dict that gets
        ``outputs`` of the dense head, the ``head`` itself and the student's
        ``hidden`` features, if wanted. ``which`` is 0 for the student, 1 for
        the teacher."""
        seen = {}
        if self.taps_alone:
            yield seen
            return

        def keep(module, args, output):
            seen.update(outputs=output, head=module)

        with ExitStack() as stack:
            stack.callback(
                model.bbox_head.register_forward_hook(keep).remove)
            if self._with_hidden and which == 0:
                seen['hidden'] = tuple(
                    [_outputs(conv, stack) for conv in convs]
                    for convs in _branches(model.bbox_head))
            yield seen

    @staticmethod
    def run(model: nn.Module, inputs: Tensor) -> None:
        """Run a network as far as the losses read it."""
        # Not model(mode='tensor'), which bypasses the head's hooks.
        model.bbox_head(model.extract_feat(inputs))

    def truth(self, inputs: Tensor,
              data_samples: list) -> Tuple[Optional[Objects], None]:
        """The objects, if wanted. No loss for detectors needs an image's
        index."""
        return (Objects.of(data_samples, inputs)
                if self._with_boxes else None), None


def _branches(head: nn.Module) -> Tuple[nn.ModuleList, ...]:
    # Other heads have none; a loss that needs them raises an error.
    return tuple(
        getattr(head, name, nn.ModuleList())
        for name in ('cls_convs', 'reg_convs'))


def _outputs(module: nn.Module, stack: ExitStack) -> List[Tensor]:
    """A list that collects a module's outputs, level by level."""
    outputs: List[Tensor] = []
    handle = module.register_forward_hook(
        lambda module, args, output: outputs.append(output))
    stack.callback(handle.remove)
    return outputs
