# Copyright (c) sskd_mm authors. All rights reserved.
import re
from typing import Any, Dict, Optional

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..compat import load_checkpoint_file
from .find_weights import Place, find_weights, weights_at
from .load_into import load_into
from .load_report import float_shapes, listed, split_errors

# Buffers that thop leaves in a network after counting.
_COUNTERS = re.compile(r'(^|\.)total_(ops|params)$')


def load_teacher_weights(model: nn.Module, checkpoint: Optional[str]) -> None:
    """Load a teacher's weights, all of them.

    They may have a prefix (``model.``, ``teacher.``) or be under a key
    (``{'model': ...}``, ``ema_state_dict``); where they are found is logged.
    Ignored are integer tensors (counters, index tables), buffers that the
    model does not save, such as ``data_preprocessor.mean`` in files of
    MMEngine before 0.2, the averages of mmdet 2's ``EMAHook``, and the
    counters of ``thop``. A buffer that differs from the config's is warned
    about.

    Raises:
        FileNotFoundError: No such file.
        ValueError: ``checkpoint`` is not set, does not fit the model, or has
            several sets of weights that do.
    """
    if not checkpoint:
        raise ValueError(
            'teacher.checkpoint is not set. An untrained teacher teaches '
            'noise: give the path or URL of its checkpoint.')
    file = load_checkpoint_file(checkpoint)
    state_dict = dict(file.get('state_dict', file))
    # Left by trainings that saved the DDP wrapper.
    consume_prefix_in_state_dict_if_present(state_dict, 'module.')
    place = _find_place(model, file, state_dict, checkpoint)
    where = ''
    if place is not None:
        state_dict = weights_at(file, place)
        where = f', under {place}'
    found = load_into(model, state_dict)
    own = float_shapes(model)
    misfit, failed = split_errors(found.errors)
    missing = [key for key in found.missing if key in own]
    unexpected = [
        key for key in found.unexpected
        if not _is_harmless(model, key, state_dict.get(key, torch.ones(1)))
    ]
    if missing or misfit or failed or unexpected:
        fit = len(own.keys() - {*missing, *misfit})
        shapes = [
            f'{k} {a}, in the model {b}' for k, (a, b) in misfit.items()
        ]
        raise ValueError(
            f'The teacher\'s checkpoint {checkpoint!r} does not belong to its '
            f'config: {fit} of {len(own)} weights fit{where}.'
            f'{listed("Missing", missing)}{listed("Unexpected", unexpected)}'
            f'{listed("Other shape", shapes)}{listed("Not copied", failed)}'
            '\nGive the config that the checkpoint was trained with '
            '(depth, num_classes, widths).')
    logger = MMLogger.get_current_instance()
    logger.info(f'teacher: all {len(own)} weights loaded from '
                f'{checkpoint}{where}.')
    buffers = dict(model.named_buffers())
    for key in found.unexpected:
        if _differs(state_dict[key], buffers.get(key)):
            logger.warning(
                f'teacher: {key} is {_line(state_dict[key])} in {checkpoint}, '
                f'but {_line(buffers[key])} in its config, which is used. If '
                'the checkpoint was trained with the former, write these into '
                'the config.')


def _find_place(model: nn.Module, file: Dict[str, Any],
                state_dict: Dict[str, Any],
                checkpoint: str) -> Optional[Place]:
    """Where the weights are, if not in the usual place."""
    # Names as in its state_dict, which hooks may have changed.
    shapes = {
        key: value.shape
        for key, value in model.state_dict().items()
        if value.is_floating_point()
    }
    usual = sum(
        getattr(state_dict.get(key), 'shape', None) == shape
        for key, shape in shapes.items())
    places = [p for p in find_weights(file, shapes) if p.fits > usual]
    best = [p for p in places if p.fits == places[0].fits]
    # A file with a student that fits has a teacher, too.
    if len(best) > 1 or any('student' in p.prefix.split('.') for p in best):
        raise ValueError(
            f'The teacher\'s checkpoint {checkpoint!r} is ambiguous: {usual} '
            f'of {len(shapes)} weights fit by their names, others under '
            f'{" and under ".join(map(str, best))}. Save those of the '
            'teacher to a separate file: dict(state_dict=...) with plain '
            'names.')
    return best[0] if best else None


def _is_harmless(model: nn.Module, key: str, value: Any) -> bool:
    """Whether an entry that the model does not take can be ignored."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return True
    averages = {f'ema_{k.replace(".", "_")}' for k in model.state_dict()}
    return (key in dict(model.named_buffers()) or key in averages
            or _COUNTERS.search(key) is not None)


def _differs(saved: Any, own: Optional[Tensor]) -> bool:
    return own is not None and saved.is_floating_point() and (
        saved.shape != own.shape or not torch.allclose(
            saved.to(own), own, atol=1e-3))


def _line(values: Tensor) -> str:
    return str([round(x, 3) for x in values.flatten().tolist()])
