# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, List, Tuple

import mmcv.cnn
from torch import Tensor, nn

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SiLU,
                nn.GELU, nn.Mish, nn.Hardswish, mmcv.cnn.Swish)


class PreActivation:
    """Captures the input of the activation that a tap's output comes from.

    Comparing before a ReLU keeps what it would cut off, as in *A
    Comprehensive Overhaul of Feature Distillation* (arXiv 1904.01866). The
    output of a tap that does not end in an activation, such as an FPN, is
    used as it is. Within the context, activations do not work in place.

    Example:
        >>> with PreActivation(layer) as before:
        >>>     feature, = before((layer(x), ))
    """

    def __init__(self, tap: nn.Module) -> None:
        self._activations: List[nn.Module] = [
            module for module in tap.modules()
            if isinstance(module, _ACTIVATIONS)
        ]
        self._last: Dict[nn.Module, Tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> 'PreActivation':
        self._handles = [
            module.register_forward_hook(self._keep)
            for module in self._activations
        ]
        self._inplace = [
            module for module in self._activations
            if getattr(module, 'inplace', False)
        ]
        for module in self._inplace:
            module.inplace = False
        return self

    def __exit__(self, *exc) -> None:
        for module in self._inplace:
            module.inplace = True
        for handle in self._handles:
            handle.remove()
        self._last.clear()

    def __call__(self, outputs: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        """These outputs of the tap before their activations."""
        before = {id(after): x for x, after in self._last.values()}
        return tuple(before.get(id(output), output) for output in outputs)

    def _keep(self, module, args, output) -> None:
        # Keeps the last run of a module that a block uses several times.
        self._last[module] = (args[0], output)
