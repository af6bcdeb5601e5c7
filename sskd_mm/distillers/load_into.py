# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, List, Mapping, NamedTuple

from torch import nn


class Loaded(NamedTuple):
    """What did not fit when a state dict was loaded.

    Attributes:
        missing (list[str]): Keys that only the module has.
        unexpected (list[str]): Keys that only the state dict has.
        errors (list[str]): Torch's messages on tensors that could not be
            copied, e.g. because of their shape.
    """

    missing: List[str]
    unexpected: List[str]
    errors: List[str]


def load_into(module: nn.Module,
              state_dict: Mapping[str, Any],
              assign: bool = False) -> Loaded:
    """``load_state_dict`` that loads what fits and returns all that does not.

    Torch's own raises on the first kind of misfit and hides the others. All
    hooks of the module run; the keys returned are those after the hooks.

    Example:
        >>> load_into(nn.Linear(2, 1), dict(weight=torch.ones(1, 3)))
        Loaded(missing=['bias'], unexpected=[], errors=['size mismatch ...'])
    """
    found: List[Loaded] = []
    handle = module.register_load_state_dict_pre_hook(
        lambda module, *args: found.append(Loaded(*args[-3:])))
    try:
        nn.Module.load_state_dict(
            module, state_dict, strict=False, assign=assign)
    except RuntimeError:
        if not found or not found[0].errors:
            raise
    finally:
        handle.remove()
    return found[0]
