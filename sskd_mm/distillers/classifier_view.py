# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager
from typing import Collection, Iterator, Optional, Tuple

import torch
from torch import Tensor, nn

from ..compat import is_a


class ClassifierView:
    """What the losses of a :class:`JointDistiller` read of two classifiers of
    mmpretrain: beside the taps, the input and output of the last linear
    layer.

    Raises:
        ValueError: A network is no such classifier, or images lack their
            class or index.
    """

    task = 'classifier'
    #: What a loss can read beside features.
    offers = ('embedding', 'logits')
    #: Whether the losses read the taps only.
    taps_alone = False

    def __init__(self, student: nn.Module, teacher: nn.Module,
                 inputs: Tuple[Tensor, Tensor], data_samples: Optional[list],
                 wanted: Collection[str]) -> None:
        self._paths = [
            _find_classifier(model, images, role) for model, images, role in
            zip((student, teacher), inputs, ('student', 'teacher'))
        ]
        _check_samples(data_samples)

    @contextmanager
    def watch(self, model: nn.Module, which: int) -> Iterator[dict]:
        """Record a forward pass within this context. Yields a dict that gets
        ``embedding`` and ``logits``. ``which`` is 0 for the student, 1 for the
        teacher."""
        seen = {}

        def keep(module, args, output):
            seen.update(embedding=args[0], logits=output)

        classifier = model.get_submodule(self._paths[which])
        handle = classifier.register_forward_hook(keep)
        try:
            yield seen
        finally:
            handle.remove()

    @staticmethod
    def run(model: nn.Module, inputs: Tensor) -> None:
        """Run a network as far as the losses read it."""
        model(inputs, mode='tensor')

    @staticmethod
    def truth(inputs: Tensor, data_samples: list) -> Tuple[Tensor, Tensor]:
        """Each image's class (N, ), of mixed images the largest, and its
        index in the training set (N, )."""
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([x.gt_score for x in data_samples]).argmax(1)
        else:
            labels = torch.cat([x.gt_label for x in data_samples])
        indices = torch.tensor([x.sample_idx for x in data_samples])
        return labels, indices.to(labels.device, non_blocking=True)


def _find_classifier(model: nn.Module, inputs: Tensor, role: str) -> str:
    """The path of the linear layer that outputs the network's logits."""
    runs, handles = [], []
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            handles.append(
                module.register_forward_hook(
                    lambda module, args, output, path=path: runs.append(
                        (path, output))))
    try:
        logits = model(
            inputs, mode='tensor') if is_a(model, 'BaseClassifier') else None
    finally:
        for handle in handles:
            handle.remove()
    for path, output in runs:
        if output is logits and logits.dim() == 2:
            return path
    raise ValueError(
        f'JointDistiller: the {role} ({type(model).__name__}) is no '
        'mmpretrain classifier that ends in a linear layer, so there are no '
        'logits and no embedding to compare. Use e.g. an ImageClassifier '
        'with a LinearClsHead, or a StageByStageDistiller, which needs '
        'neither.')


def _check_samples(data_samples: Optional[list]) -> None:
    for key in ('gt_label', 'sample_idx'):
        if any(x.get(key) is None for x in data_samples or [{}]):
            raise ValueError(
                f'JointDistiller: the training images lack {key!r}. '
                "mmpretrain's data sets provide it, and PackInputs keeps it "
                'unless meta_keys leaves it out.')
