# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, List, Mapping, NamedTuple

from torch import nn


class Loaded(NamedTuple):
    """What did not fit when a state was loaded.

    Attributes:
        missing (list[str]): Keys that the module has and the state lacks.
        unexpected (list[str]): Keys that the module does not have.
        errors (list[str]): Torch's message of each tensor that could not be
            copied, as one of another shape.
    """

    missing: List[str]
    unexpected: List[str]
    errors: List[str]


def load_into(module: nn.Module,
              state_dict: Mapping[str, Any],
              assign: bool = False) -> Loaded:
    """``load_state_dict`` that returns all that does not fit.

    Torch's own raises an error on the first kind of misfit and keeps the
    others to itself.

    Args:
        module (nn.Module): What is loaded into, in place; what fits is
            loaded, whatever else does not.
        state_dict (dict): As of ``load_state_dict``. All hooks of the module
            and of its parts run.
        assign (bool): As of ``load_state_dict``. Defaults to False.

    Returns:
        Loaded: Keys are those that arrive, after all hooks.

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
