# Copyright (c) sskd_mm authors. All rights reserved.
import os
from typing import Callable

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..compat import load_checkpoint_file
from ..distillers.load_report import listed


def convert_checkpoint(config: str, src: str, dst: str,
                       rename: Callable[[str, nn.Module], str]) -> None:
    """Rename the weights of a public checkpoint for a classifier's config.

    The weights must match the model one to one. Only the counters of batch
    norms, which old files lack, may be missing.

    Args:
        config (str): A config whose ``model`` is a plain classifier, of
            mmpretrain's scope unless it says otherwise.
        src (str): A path or URL. The file holds a ``state_dict``, possibly
            under the key ``'state_dict'`` or ``'model'``, with or without the
            prefix ``'module.'`` of a parallel wrapper. It is read without
            unpickling arbitrary objects.
        dst (str): The checkpoint to write; it loads strictly in that config.
        rename (callable): Maps a key of the file and the model's backbone to
            the model's key.

    Raises:
        ValueError: The model has no backbone, or the weights do not fit it.

    Example:
        >>> convert_checkpoint('resnet18.py', 'resnet18-f37072fd.pth',
        >>>                    'resnet18.pth', rename)
    """
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope') or 'mmpretrain'):
        model = MODELS.build(cfg.model)
    # Not hasattr: a distiller forwards attributes to its student.
    if 'backbone' not in dict(model.named_children()):
        raise ValueError(
            f'The model of {config!r}, a {type(model).__name__}, has no '
            'backbone. Give a plain classifier config.')
    weights = load_checkpoint_file(src)
    for key in ('state_dict', 'model'):
        weights = weights.get(key, weights)
    weights = dict(weights)
    consume_prefix_in_state_dict_if_present(weights, 'module.')

    own = model.state_dict()
    found, unexpected, misfit = {}, [], []
    for key, value in weights.items():
        name = rename(key, model.backbone)
        if name not in own or name in found:
            unexpected.append(key)
        elif own[name].shape != value.shape:
            misfit.append(f'{key} {tuple(value.shape)}, model has {name} '
                          f'{tuple(own[name].shape)}')
        found[name] = value
    missing = [
        name for name in own
        if name not in found and not name.endswith('num_batches_tracked')
    ]
    if unexpected or misfit or missing:
        raise ValueError(
            f'{src!r} does not fit the model of {config!r} '
            f'({type(model.backbone).__name__}).'
            f'{listed("Not in the model", unexpected)}'
            f'{listed("Different shape", misfit)}'
            f'{listed("Missing from the file", missing)}'
            '\nGive a config of the same architecture (depth, widths, '
            'shortcut, num_classes).')
    model.load_state_dict({**own, **found})
    os.makedirs(os.path.dirname(os.path.abspath(dst)), exist_ok=True)
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(converted_from=os.path.basename(src))), dst)
