# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

import torch.nn as nn
from torch import Tensor

from .pre_activation import PreActivation

Features = Tuple[Tensor, ...]


class _LastTapReached(Exception):
    """Raised by the hook of the last tap to end the forward pass."""


def run_prefix(
    model: nn.Module,
    taps: Sequence[str],
    inputs: Tensor,
    pre_activation: bool = False,
    pass_on: Optional[Callable[[str, Features], Sequence[Tensor]]] = None
) -> Dict[str, Features]:
    """Run a network up to its last tap.

    Forward hooks collect the outputs of the taps; the last one ends the
    forward pass, so nothing after it is computed. Whether a graph is built
    depends on the caller and on ``requires_grad``.

    Args:
        model (nn.Module): A model with OpenMMLab's
            ``forward(inputs, data_samples, mode='tensor')``. If that fails,
            ``extract_feat(inputs)`` is called instead.
        taps (Sequence[str]): Module paths. Their outputs are a tensor, or a
            list or tuple of tensors, all of which are features, such as an
            HRNet's branches. If an output also holds sizes, as a Swin stage's
            (``x, hw_shape``), its first tensor is the feature.
        inputs (Tensor): Preprocessed images of shape (N, C, H, W).
        pre_activation (bool): Whether to take the input of the activation
            that a tap ends in. Defaults to False.
        pass_on (callable, optional): Maps a tap's path and features to the
            features that the next module gets, of the same shapes. Defaults
            to the features themselves.

    Returns:
        dict[str, tuple[Tensor]]: The features of each tap.

    Raises:
        RuntimeError: A tap does not run, runs more than once, or needs
            annotations to be reached.
        TypeError: A tap outputs anything but tensors and sizes.

    Example:
        >>> run_prefix(detector, ['backbone.layer1'], torch.rand(2, 3, 64, 64))
        {'backbone.layer1': (<Tensor of shape (2, 64, 16, 16)>,)}
    """

    def run(forward: Callable[[], Any]) -> Dict[str, Features]:
        with tapped(model, taps, pre_activation, pass_on, True) as features:
            try:
                forward()
            except _LastTapReached:
                pass
            except (AttributeError, TypeError) as error:
                if 'NoneType' not in str(error):
                    raise
                missing = [path for path in taps if path not in features]
                raise RuntimeError(
                    f'{type(model).__name__} asked for annotations before the '
                    f'tap(s) {missing} ran ({error}), but features are '
                    'compared without any. Tap modules that run earlier, such '
                    'as the backbone and the neck of a two-stage '
                    'detector.') from error
        return features

    try:
        return run(lambda: model(inputs, None, mode='tensor'))
    except Exception as error:
        # Some detectors do not implement mode='tensor', which training never
        # uses.
        if not hasattr(model, 'extract_feat'):
            raise
        try:
            return run(lambda: model.extract_feat(inputs))
        except Exception:
            raise error


@contextmanager
def tapped(
    model: nn.Module,
    taps: Sequence[str],
    pre_activation: bool = False,
    pass_on: Optional[Callable[[str, Features], Sequence[Tensor]]] = None,
    end: bool = False,
) -> Iterator[Dict[str, Features]]:
    """Collect the outputs of taps in a forward pass within this context.

    Args:
        model (nn.Module): The network.
        taps (Sequence[str]): As in :func:`run_prefix`, like the next two.
        pre_activation (bool): Defaults to False.
        pass_on (callable, optional): Defaults to the output itself.
        end (bool): Whether the last tap ends the forward pass, by an
            exception that the caller catches. Defaults to False.

    Yields:
        dict[str, tuple[Tensor]]: The features of each tap, once computed.

    Raises:
        RuntimeError: A tap does not run, or runs more than once.
        TypeError: A tap outputs anything but tensors and sizes.

    Example:
        >>> with tapped(classifier, ['backbone.layer1']) as features:
        >>>     logits = classifier(torch.rand(2, 3, 32, 32))
        >>> features
        {'backbone.layer1': (<Tensor of shape (2, 64, 32, 32)>,)}
    """
    features: Dict[str, Features] = {}

    def hook_of(path, before):

        def hook(module, args, output):
            if path in features:
                raise RuntimeError(
                    f'The tap {path!r} of {type(model).__name__} runs more '
                    'than once in a forward pass. Tap a module around it, '
                    'or one that runs once.')
            outputs = _as_tuple(path, output)
            features[path] = before(outputs) if before else outputs
            if end and len(features) == len(taps):
                raise _LastTapReached
            if pass_on is not None:
                return _replace(output, iter(pass_on(path, outputs)))
            # A copy, as later modules may work in place (a ReLU, a TNT).
            return _replace(output, (x.clone() for x in _tensors(output)))

        return hook

    with ExitStack() as stack:
        for path in taps:
            tap = model.get_submodule(path)
            before = stack.enter_context(
                PreActivation(tap)) if pre_activation else None
            handle = tap.register_forward_hook(hook_of(path, before))
            stack.callback(handle.remove)
        yield features
    missing = [path for path in taps if path not in features]
    if missing:
        raise RuntimeError(
            f'{type(model).__name__} never ran the tap(s) {missing} in a '
            'forward pass. Tap modules that take part in it.')


def _as_tuple(path: str, output: Any) -> Features:
    outputs = output if isinstance(output, (list, tuple)) else (output, )
    tensors = _tensors(output)
    others = [x for x in outputs if not isinstance(x, Tensor)]
    if not tensors or not all(map(_is_size, others)):
        raise TypeError(
            f'The tap {path!r} outputs {type(output).__name__} of '
            f'{[type(x).__name__ for x in outputs]}; a tap must output a '
            'tensor or a sequence of tensors, optionally with sizes.')
    return tensors[:1] if others else tensors


def _tensors(output: Any) -> Features:
    outputs = output if isinstance(output, (list, tuple)) else (output, )
    return tuple(x for x in outputs if isinstance(x, Tensor))


def _is_size(value: Any) -> bool:
    # None is an output that was not requested, e.g. the attention.
    return value is None or isinstance(
        value, int) or (isinstance(value, (list, tuple))
                        and all(isinstance(x, int) for x in value))


def _replace(output: Any, tensors: Iterator[Tensor]) -> Any:
    """The output with other tensors. Tensors without a replacement, on which
    nothing later depends, are detached."""

    def replace(value):
        return next(tensors, value.detach()) if isinstance(
            value, Tensor) else value

    if isinstance(output, Tensor):
        return replace(output)
    return type(output)(map(replace, output))
