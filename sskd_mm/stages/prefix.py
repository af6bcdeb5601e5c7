# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack
from typing import Dict, Sequence, Tuple

import torch.nn as nn
from torch import Tensor


class _LastTapReached(Exception):
    """Ends a forward pass from within the hook of its last tap."""


def run_prefix(model: nn.Module,
               taps: Sequence[str],
               inputs: Tensor,
               detach: bool = False) -> Dict[str, Tuple[Tensor, ...]]:
    """Run a network only as far as its last tap.

    A forward hook on each tap keeps its output; the one that completes the
    set ends the forward pass, so that nothing behind it is computed and no
    network has to be changed. Whether a graph is built is up to the caller
    and to the parameters' ``requires_grad``.

    Args:
        model (nn.Module): A model with OpenMMLab's
            ``forward(inputs, data_samples, mode='tensor')``.
        taps (Sequence[str]): Module paths. Their outputs are a tensor or a
            list or tuple of them.
        inputs (Tensor): Preprocessed images of shape (N, C, H, W).
        detach (bool): Whether what follows a tap gets its output without
            gradient, so that each tap's loss reaches only its own stage.
            Defaults to False.

    Returns:
        dict[str, tuple[Tensor]]: The features of each tap.

    Raises:
        RuntimeError: A tap that the forward pass does not run, or runs more
            than once.
        TypeError: A tap whose output is no tensor or sequence of tensors.

    Example:
        >>> run_prefix(detector, ['backbone.layer1'], torch.rand(2, 3, 64, 64))
        {'backbone.layer1': (<Tensor of shape (2, 64, 16, 16)>,)}
    """
    features: Dict[str, Tuple[Tensor, ...]] = {}

    def hook_of(path):

        def hook(module, args, output):
            if path in features:
                raise RuntimeError(
                    f'The tap {path!r} of {type(model).__name__} runs more '
                    'than once in a forward pass; tap a module that holds it '
                    'or one that runs once.')
            features[path] = _as_tuple(path, output)
            if len(features) == len(taps):
                raise _LastTapReached
            if detach:
                return _detach(output)

        return hook

    with ExitStack() as stack:
        for path in taps:
            handle = model.get_submodule(path).register_forward_hook(
                hook_of(path))
            stack.callback(handle.remove)
        try:
            model(inputs, None, mode='tensor')
        except _LastTapReached:
            return features
    missing = [path for path in taps if path not in features]
    raise RuntimeError(
        f'{type(model).__name__} never ran the tap(s) {missing} in a forward '
        'pass; tap modules that take part in it.')


def _as_tuple(path: str, output) -> Tuple[Tensor, ...]:
    outputs = tuple(output) if isinstance(output, (list, tuple)) else (
        output, )
    if not outputs or not all(isinstance(x, Tensor) for x in outputs):
        raise TypeError(
            f'The tap {path!r} outputs {type(output).__name__}; a tap must '
            'output a tensor or a sequence of tensors.')
    return outputs


def _detach(output):
    if isinstance(output, Tensor):
        return output.detach()
    return type(output)(x.detach() for x in output)
