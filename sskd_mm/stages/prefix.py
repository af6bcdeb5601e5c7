# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack
from typing import Any, Callable, Dict, Sequence, Tuple

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
        taps (Sequence[str]): Module paths. Their outputs are a tensor, or a
            list or tuple of them: all are features then, such as an HRNet's
            branches. Of an output with sizes in it, as the stages of a Swin
            have it (``x, hw_shape`` and maybe more), the first tensor is the
            feature: it is what the next stage gets, so that all that follows
            depends on it, while further ones are the same before a
            downsampling.
        inputs (Tensor): Preprocessed images of shape (N, C, H, W).
        detach (bool): Whether what follows a tap gets its output without
            gradient, so that each tap's loss reaches only its own stage.
            Defaults to False.

    Returns:
        dict[str, tuple[Tensor]]: The features of each tap.

    Raises:
        RuntimeError: A tap that the forward pass does not run, or runs more
            than once.
        TypeError: A tap whose output holds anything but tensors and sizes.

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
            # A copy, as what follows may work in place (a ReLU, a TNT).
            if detach:
                return _map(lambda x: x.detach().clone(), output)
            return _map(Tensor.clone, output)

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


def _as_tuple(path: str, output: Any) -> Tuple[Tensor, ...]:
    outputs = output if isinstance(output, (list, tuple)) else (output, )
    tensors = tuple(x for x in outputs if isinstance(x, Tensor))
    others = [x for x in outputs if not isinstance(x, Tensor)]
    if not tensors or not all(map(_is_size, others)):
        raise TypeError(
            f'The tap {path!r} outputs {type(output).__name__} of '
            f'{[type(x).__name__ for x in outputs]}; a tap must output a '
            'tensor or a sequence of tensors, and sizes at most.')
    return tensors[:1] if others else tensors


def _is_size(value: Any) -> bool:
    # None stands for a value that was not asked for, e.g. the attention.
    return value is None or isinstance(
        value, int) or (isinstance(value, (list, tuple))
                        and all(isinstance(x, int) for x in value))


def _map(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    if isinstance(output, Tensor):
        return function(output)
    return type(output)(
        function(x) if isinstance(x, Tensor) else x for x in output)
