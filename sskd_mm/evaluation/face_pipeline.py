# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional

from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from ..compat import class_names
from ..datasets.innermost import innermost_configs
from ..models.build_model import model_config

#: Default side of a face, that of all public data sets.
_SIZE = 112
_CUTS = {'AlignFace', 'CropFace'}


def face_pipeline(cfg: Config,
                  decoded: bool = False,
                  cut: Optional[str] = None) -> List[dict]:
    """Adapt a config's test pipeline to another data set.

    The pipeline keeps its image loader and the size of its face crops; how
    faces are cropped depends on the other data set. If the config does not
    crop, faces get 112 pixels or, if it does not resize either, the
    backbone's ``input_size``.

    Args:
        cfg (Config): A complete config. Without a test set, its validation
            set is used; of several data sets, the first.
        decoded (bool): Whether images are already decoded, as in ``FaceBin``.
            Defaults to False.
        cut (str, optional): ``'AlignFace'`` for a data set with landmarks,
            ``'CropFace'`` for one with boxes. Defaults to None: faces are
            already cropped, and are resized where the config would crop them.

    Returns:
        list[dict]: The pipeline.

    Example:
        >>> face_pipeline(cfg, cut='AlignFace')
        [{'type': 'LoadImageFromFile'}, {'type': 'AlignFace', 'size': 112},
         {'type': 'PackInputs'}]
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    dataset = next(innermost_configs(loader.get('dataset')), {})
    steps = list(dataset.get('pipeline') or [dict(type='PackInputs')])
    kinds = [class_names(step['type'], TRANSFORMS) for step in steps]
    is_load = ['LoadImageFromFile' in kind for kind in kinds]
    if any(is_load):
        load = steps.pop(is_load.index(True))
        kinds.pop(is_load.index(True))
    else:
        load = dict(type='LoadImageFromFile')
    for i, kind in enumerate(kinds):
        if kind & _CUTS:
            steps[i] = _cut(cut, steps[i].get('size', _SIZE))
    if cut and not any(kind & _CUTS for kind in kinds):
        resized = any('Resize' in name or 'Crop' in name
                      for kind in kinds for name in kind)
        backbone = model_config(cfg).get('backbone', {})
        size = _SIZE if resized else backbone.get('input_size', _SIZE)
        steps.insert(0, _cut(cut, size))
    return steps if decoded else [load, *steps]


def _cut(kind: Optional[str], size: int) -> dict:
    if kind is None:
        return dict(type='Resize', scale=(size, size))
    return dict(type=kind, size=size)
