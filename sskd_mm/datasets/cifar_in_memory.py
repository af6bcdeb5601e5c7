# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.registry import DATASETS

from .cifar_pickle import CIFARFileError, read_cifar_pickle

_LAYOUTS = dict(
    cifar10=dict(
        folder='cifar-10-batches-py',
        train=[f'data_batch_{i}' for i in range(1, 6)],
        test=['test_batch'],
        labels='labels',
        meta='batches.meta',
        names='label_names'),
    cifar100=dict(
        folder='cifar-100-python',
        train=['train'],
        test=['test'],
        labels='fine_labels',
        meta='meta',
        names='fine_label_names'))


@DATASETS.register_module()
class CIFARInMemory(BaseDataset):
    """CIFAR-10 or CIFAR-100, held in memory as one uint8 tensor.

    For 32 x 32 images, running a pipeline on each takes longer than a small
    network. Without a ``pipeline`` a whole batch is sliced out of the tensor,
    and :class:`CropFlipDataPreprocessor` augments it on the device. With one,
    this is an ordinary data set whose pipeline gets ``img`` (RGB) and
    ``gt_label``.

    The files are CIFAR's "python version", or your own data in that format.
    They are read without unpickling arbitrary objects, not checked against a
    checksum, and never downloaded.

    Args:
        data_root (str): The folder that holds ``cifar-10-batches-py`` or
            ``cifar-100-python``.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        layout (str): ``'cifar10'``, or ``'cifar100'`` with its fine labels.
            Defaults to ``'cifar10'``.
        metainfo (dict, optional): Its ``classes`` override the names in the
            files.
        indices (int or Sequence[int], optional): The number of images to
            keep, or their indices. Defaults to all.
        pipeline (list[dict]): Transforms of each image. Defaults to none,
            which is the fast way.
        **kwargs: Arguments of MMEngine's ``BaseDataset``.

    Raises:
        FileNotFoundError: Names the file and where to get it.
        CIFARFileError: Names the file and what is wrong with it.

    Example:
        >>> train_dataloader = dict(
        >>>     batch_size=128,
        >>>     num_workers=0,
        >>>     sampler=dict(type='DefaultSampler', shuffle=True),
        >>>     collate_fn=dict(type='default_collate'),
        >>>     dataset=dict(type='CIFARInMemory', data_root='data/cifar10/'))
        >>> data_preprocessor = dict(
        >>>     type='CropFlipDataPreprocessor',
        >>>     mean=[123.675, 116.28, 103.53],
        >>>     std=[58.395, 57.12, 57.375])
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 layout: str = 'cifar10',
                 metainfo: Optional[dict] = None,
                 indices: Optional[Any] = None,
                 pipeline: Sequence = (),
                 **kwargs) -> None:
        for name, value, valid in (('layout', layout, tuple(_LAYOUTS)),
                                   ('split', split, ('train', 'test'))):
            if value not in valid:
                raise ValueError(
                    f'CIFARInMemory: {name}={value!r} must be one of {valid}.')
        self._layout = _LAYOUTS[layout]
        self._split = split
        super().__init__(
            data_root=osp.expanduser(data_root),
            metainfo=metainfo,
            indices=indices,
            # The tensor already holds everything.
            serialize_data=False,
            pipeline=pipeline,
            **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read the files.

        Returns:
            list[dict]: Per image, its ``row`` in the tensor and its
            ``gt_label``.
        """
        layout = self._layout
        if 'classes' not in self._metainfo:
            self._metainfo['classes'] = self._read_names()
        parts = [self._read_batch(name) for name in layout[self._split]]
        images = np.concatenate([images for images, _ in parts])
        labels = [label for _, labels in parts for label in labels]
        self._images = torch.from_numpy(images)
        self._labels = torch.tensor(labels)
        return [
            dict(row=row, gt_label=label) for row, label in enumerate(labels)
        ]

    def _read_names(self) -> Tuple[str, ...]:
        path, meta = self._read(self._layout['meta'])
        names = meta.get(self._layout['names'])
        if not (isinstance(names, list) and names
                and all(isinstance(name, str) for name in names)):
            raise CIFARFileError(
                f'{path} has no list of strings {self._layout["names"]!r}. '
                f'{self._remedy()}')
        return tuple(names)

    def _read_batch(self, name: str) -> Tuple[np.ndarray, List[int]]:
        """Read the images (N, 3, 32, 32) and labels of a file."""
        path, batch = self._read(name)
        images, labels = (batch.get(k) for k in ('data',
                                                 self._layout['labels']))
        if not isinstance(images, np.ndarray) or images.ndim != 2 \
                or images.shape[1] != 3 * 32 * 32:
            found = (f'an array of shape {images.shape}' if isinstance(
                images, np.ndarray) else f'a {type(images).__name__}')
            raise CIFARFileError(
                f"{path}: 'data' must be a uint8 array with a row of 3072 "
                f'(three planes of 32 x 32) per image, but it is {found}.'
                f' {self._remedy()}')
        count = len(labels) if isinstance(labels, list) else 'no list of'
        if count != len(images):
            raise CIFARFileError(
                f'{path} has {len(images)} images, but {count} labels under '
                f'{self._layout["labels"]!r}. {self._remedy()}')
        number = len(self._metainfo['classes'])
        for index, label in enumerate(labels):
            if type(label) is not int or not 0 <= label < number:
                raise CIFARFileError(
                    f'{path}: the label of image {index} is {label!r}, but '
                    f'must be an integer from 0 to {number - 1}: '
                    f'{self._layout["meta"]} or metainfo has {number} '
                    f'classes. {self._remedy()}')
        return images.reshape(-1, 3, 32, 32), labels

    def _read(self, name: str) -> Tuple[str, dict]:
        path = osp.join(self.data_root, self._layout['folder'], name)
        try:
            content = read_cifar_pickle(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{osp.abspath(path)} does not exist. {self._remedy()} Or '
                'point the config to where it is: --cfg-options '
                'train_dataloader.dataset.data_root=PATH/ '
                'val_dataloader.dataset.data_root=PATH/') from error
        except CIFARFileError as error:
            raise CIFARFileError(f'{error}. {self._remedy()}') from error
        if not isinstance(content, dict):
            raise CIFARFileError(
                f'{path} holds a {type(content).__name__}, not a dict. '
                f'{self._remedy()}')
        return path, content

    def _remedy(self) -> str:
        archive = self._layout['folder'].replace('-batches-py', '-python')
        return (f'Get {archive}.tar.gz from '
                'https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in '
                f'{osp.abspath(self.data_root)}, which then contains the '
                f'folder {self._layout["folder"]}.')

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Get an image and its label, as the pipeline receives them.

        Args:
            idx (int): Index of the image.

        Returns:
            dict: ``img`` (32, 32, 3) in RGB, its shapes, ``gt_label`` and
            ``sample_idx``.
        """
        info = super().get_data_info(idx)
        image = self._images[info.pop('row')].permute(1, 2, 0)
        # A copy, since a transform may work in place.
        info['img'] = image.numpy().copy()
        info['img_shape'] = info['ori_shape'] = (32, 32)
        return info

    @force_full_init
    def get_cat_ids(self, idx: int) -> List[int]:
        """Get the class of an image, for ``ClassBalancedDataset``."""
        return [self.data_list[idx]['gt_label']]

    def __getitem__(self, idx: int) -> dict:
        if self.pipeline.transforms:
            return super().__getitem__(idx)
        return self._get_batch([idx])[0]

    @property
    def __getitems__(self) -> Optional[Callable]:
        """Fetches a whole batch for torch's DataLoader; None if there is a
        pipeline, which runs on single images."""
        return None if self.pipeline.transforms else self._get_batch

    @force_full_init
    def _get_batch(self, indices: Sequence[int]) -> List[Dict[str, Any]]:
        # Imported here, as detection projects may not have mmpretrain.
        from mmpretrain.structures import DataSample
        rows = torch.tensor([self.data_list[i]['row'] for i in indices])
        return [
            dict(
                inputs=image,
                data_samples=DataSample(
                    metainfo=dict(sample_idx=index)).set_gt_label(label))
            for index, image, label in zip(indices, self._images[rows],
                                           self._labels[rows].split(1))
        ]
