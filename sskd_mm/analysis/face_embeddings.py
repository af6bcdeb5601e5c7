# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import os.path as osp
from typing import Any, Dict, Optional

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from torch import nn

from ..compat import load_checkpoint_file
from ..evaluation import extract_embeddings, face_pipeline
from ..models import build_model, model_config


def load_face_model(cfg: Config, checkpoint: str) -> nn.Module:
    """Load a face network and its weights, ignoring the head.

    Args:
        cfg (Config): A distillation config, or the student's plain one.
        checkpoint (str): A path or URL.

    Returns:
        nn.Module: The model.

    Raises:
        ValueError: The checkpoint belongs to another network.

    Example:
        >>> model = load_face_model(cfg, 'epoch_20.pth')
    """
    model = build_model(cfg)
    weights = load_checkpoint_file(checkpoint)
    weights = weights.get('state_dict', weights)
    missing, unexpected = model.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith('head.')},
        strict=False)
    missing = [k for k in missing if not k.startswith('head.')]
    if missing or unexpected:
        raise ValueError(
            f'{checkpoint!r} does not fit the model in {cfg.filename!r}: '
            f'{len(missing)} weights are missing, e.g. {missing[:3]}, and '
            f'{len(unexpected)} unknown, e.g. {unexpected[:3]}.')
    return model


def read_embeddings(file: str, dataset: dict) -> np.ndarray:
    """Read embeddings computed by another program.

    Args:
        file (str): An ``.npy`` file, (N, D).
        dataset (dict): Config of the data set of the N images.

    Returns:
        np.ndarray: (N, D), float32.

    Raises:
        ValueError: The file is damaged or has the wrong shape.

    Example:
        >>> x = read_embeddings('lfw.npy', protocol.dataset)
    """
    try:
        x = np.load(file, mmap_mode='r', allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(
            f'{file!r} cannot be read: {error}. It must be an .npy file of '
            'numbers (N, D); copy it again if it is truncated.') from error
    count = len(DATASETS.build(dict(dataset, pipeline=[])))
    shape = getattr(x, 'shape', None)  # None for an archive of several arrays
    if shape is None or len(shape) != 2 or len(x) != count:
        raise ValueError(f'{file!r} has shape {shape}, but there are '
                         f'{count} images: it must be (N, D).')
    return np.array(x, np.float32)


def embed_faces(model: nn.Module, cfg: Config, checkpoint: str, dataset: dict,
                cut: Optional[str], file: str, mirror: bool = True,
                **options) -> np.ndarray:
    """Compute the embeddings of a data set, cached in a file per setting.

    Args:
        model (nn.Module): The result of :func:`load_face_model`.
        cfg (Config): Its config, whose test pipeline loads the images.
        checkpoint (str): Its weights, which identify the file.
        dataset (dict): Config of the data set.
        cut (str, optional): The transform that crops a face.
        file (str): An ``.npy`` file, read if it exists and written otherwise.
            A digest of the weights, model, pipeline, images and mirroring is
            appended to its name.
        mirror (bool): Whether to add the mirrored image's embedding.
        options: ``batch_size`` and ``num_workers`` of
            :func:`extract_embeddings`.

    Returns:
        np.ndarray: (N, D).

    Example:
        >>> x = embed_faces(model, cfg, 'epoch_20.pth', protocol.dataset,
        >>>                 protocol.cut, 'lfw.npy', batch_size=64,
        >>>                 num_workers=2, mirror=True)
    """
    pipeline = face_pipeline(cfg, dataset['type'] == 'FaceBin', cut)
    built = DATASETS.build(
        dict(dataset, pipeline=pipeline, test_mode=True))
    key = dict(
        checkpoint=digest_file(checkpoint),
        model=_digest(model_config(cfg)),
        pipeline=_digest(pipeline),
        images=_digest_images(built))
    stem, suffix = osp.splitext(file)
    ways = _digest([*key.values(), mirror])[:8]
    return extract_embeddings(
        model,
        built,
        file=f'{stem}-{ways}{suffix}',
        key=key,
        mirror=mirror,
        **options)


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def digest_file(file: str) -> str:
    """Get the first 16 hex digits of a file's SHA-256."""
    with open(osp.expanduser(file), 'rb') as opened:
        return hashlib.sha256(opened.read()).hexdigest()[:16]


def _digest_images(dataset) -> str:
    """Digest the names, sizes and annotations of all images."""
    hashed = hashlib.sha256()
    sizes: Dict[str, int] = {}
    for index in range(len(dataset)):
        info = BaseDataset.get_data_info(dataset, index)  # not decoded
        file = info['img_path'].rsplit('#', 1)[0]
        if file not in sizes:
            sizes[file] = osp.getsize(file)
        info.pop('sample_idx')
        hashed.update(repr((sorted(info.items()), sizes[file])).encode())
    return hashed.hexdigest()[:16]
