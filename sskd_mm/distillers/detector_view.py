# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Collection, Iterator, List, Optional, Tuple

from torch import Tensor, nn

from ..compat import is_a
from ..losses.objects import Objects


class DetectorView:
    """What a :class:`JointDistiller` sees of two detectors.

    The taps alone, unless a loss reads the outputs of the dense head
    (``bbox_head``) of one-stage detectors; so a teacher runs no further than
    its last tap, and a two-stage one's RPN, RoI heads and NMS never do.

    Args:
        student (nn.Module): A detector of mmdet.
        teacher (nn.Module): Another.
        inputs (tuple[Tensor]): Images for either of them.
        data_samples (list[DetDataSample]): Their annotations.
        wanted (Collection[str]): What the losses read.

    Raises:
        ValueError: A network that is no detector or has no dense head, or
            images that come without boxes, where a loss needs these.
    """

    #: What its networks are called.
    task = 'detector'
    #: What a loss may need beside features.
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
                    'no detector of mmdet, but the other network is. Give two '
                    'networks of one task.')
            head = getattr(model, 'bbox_head', None)
            if not (self.taps_alone or is_a(head, 'BaseDenseHead')):
                raise ValueError(
                    f'JointDistiller: the {role} ({type(model).__name__}) has '
                    'no dense head (bbox_head) whose outputs a loss could '
                    'compare. Give a one-stage detector such as GFL, or a '
                    'loss that compares features.')
        if self._with_boxes:
            Objects.of(data_samples, inputs[0])

    @staticmethod
    def accepts(model: nn.Module) -> bool:
        """Whether a network is a detector of mmdet."""
        return is_a(model, 'BaseDetector')

    @contextmanager
    def watch(self, model: nn.Module, which: int) -> Iterator[dict]:
        """Keep what is seen of a forward pass within this context.

        Args:
            model (nn.Module): The student or the teacher.
            which (int): 0 for the student, 1 for the teacher.

        Yields:
            dict: ``outputs`` of the dense head, the ``head`` itself, and of a
            student what is ``hidden`` in it, if they are wanted, once they
            are computed.
        """
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
        """Run a network as far as there is something to see."""
        # Not model(mode='tensor'), which goes by the head's hooks.
        model.bbox_head(model.extract_feat(inputs))

    def truth(self, inputs: Tensor,
              data_samples: list) -> Tuple[Optional[Objects], None]:
        """The objects, if they are wanted; no loss asks for an image's number
        here."""
        return (Objects.of(data_samples, inputs)
                if self._with_boxes else None), None


def _branches(head: nn.Module) -> Tuple[nn.ModuleList, ...]:
    # Heads of other families have none; a loss that needs them says so.
    return tuple(
        getattr(head, name, nn.ModuleList())
        for name in ('cls_convs', 'reg_convs'))


def _outputs(module: nn.Module, stack: ExitStack) -> List[Tensor]:
    """A list of what a module outputs, level by level."""
    outputs: List[Tensor] = []
    handle = module.register_forward_hook(
        lambda module, args, output: outputs.append(output))
    stack.callback(handle.remove)
    return outputs
