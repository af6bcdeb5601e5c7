# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Sequence

import torch
from torch import nn


def compile_modules(network: nn.Module, taps: Sequence[str],
                    cfg: dict) -> None:
    """Compile a network's tapped modules, one by one.

    Only ``forward`` is replaced, so hooks stay outside and keys unchanged.

    Args:
        network (nn.Module): The network.
        taps (Sequence[str]): Module paths.
        cfg (dict): Arguments of ``torch.compile``.
    """
    # The limit counts per code object, which stages usually share.
    config = torch._dynamo.config
    config.cache_size_limit = max(config.cache_size_limit, 16 * len(taps))
    for path in taps:
        if not any(tap.startswith(f'{path}.') for tap in taps):
            module = network.get_submodule(path)
            module.forward = torch.compile(module.forward, **cfg)
