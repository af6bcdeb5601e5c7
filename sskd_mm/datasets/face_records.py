# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import os.path as osp
from typing import Optional, Sequence, Union

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.registry import DATASETS

from .decode_image import ImageError, decode_image
from .find_faces import find_faces
from .record_file import RecordFile, RecordFileError


@DATASETS.register_module()
class FaceRecords(BaseDataset):
    """Faces in insightface's ``.rec`` and ``.idx`` files: MS1MV2, MS1MV3,
    Glint360K, CASIA-WebFace.

    Images are read in random order by any number of workers, without MXNet,
    see :class:`RecordFile`. Only their offsets are held in memory, 16 bytes
    per image. The pipeline gets the decoded image ``img`` (BGR), ``gt_label``
    and ``img_path``, which names the file and the record. The number of
    identities is that of ``metainfo=dict(classes=...)`` or else found by
    :func:`find_faces`.

    Args:
        data_root (str): The folder.
        ann_file (str): The index; the images are next to it, with the
            extension ``.rec``. Defaults to ``'train.idx'``.
        with_label (bool): Whether to return ``gt_label``, the identity.
            Defaults to True.
        indices (int or Sequence[int], optional): The number of images to
            keep, counted from the end if negative, or their indices. Defaults
            to all.
        **kwargs: Arguments of MMEngine's ``BaseDataset``.

    Raises:
        FileNotFoundError: A file does not exist.
        RecordFileError: The index or the first record is damaged; when an
            image is read, its record.

    Example:
        >>> dataset = dict(
        >>>     type='FaceRecords',
        >>>     data_root='data/ms1mv3/',
        >>>     pipeline=[
        >>>         dict(type='RandomFlip', prob=0.5),
        >>>         dict(type='PackInputs')
        >>>     ])
    """

    def __init__(self,
                 data_root: str = '',
                 ann_file: str = 'train.idx',
                 with_label: bool = True,
                 indices: Optional[Union[int, Sequence[int]]] = None,
                 **kwargs) -> None:
        self.with_label = with_label
        self._chosen = indices
        super().__init__(ann_file=ann_file, data_root=data_root, **kwargs)

    def full_init(self) -> None:
        """Read the index and find out which records are images."""
        if self._fully_initialized:
            return
        self.file = RecordFile(osp.splitext(self.ann_file)[0] + '.rec')
        self.image_keys, identities = find_faces(
            self.file, self.with_label and 'classes' not in self._metainfo)
        if identities is not None:
            self._metainfo['classes'] = tuple(map(str, range(identities)))
        self._identities = len(self._metainfo.get('classes', ())) or None
        self._fully_initialized = True
        if self._chosen is not None:
            self.get_subset_(self._chosen)

    @force_full_init
    def get_subset_(self, indices: Union[int, Sequence[int]]) -> None:
        """Keep only some images.

        Args:
            indices (int or Sequence[int]): The number of images to keep,
                counted from the end if negative, or their indices.
        """
        if not isinstance(indices, int):
            self.image_keys = self.image_keys[np.asarray(indices, int)]
        elif indices < 0:
            self.image_keys = self.image_keys[indices:]
        else:
            self.image_keys = self.image_keys[:indices]

    @force_full_init
    def get_subset(self, indices: Union[int, Sequence[int]]) -> 'FaceRecords':
        """Get a copy with only some images, see :meth:`get_subset_`."""
        subset = copy.copy(self)
        # The copy gets its own file handle.
        subset.file = copy.copy(self.file)
        subset.get_subset_(indices)
        return subset

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Read an image.

        Args:
            idx (int): Index of the image.

        Returns:
            dict: ``img`` (H, W, 3), ``gt_label``, ``img_shape``,
            ``ori_shape``, ``img_path`` and ``sample_idx``.

        Raises:
            RecordFileError: The record is damaged or not of one identity.
        """
        key = int(self.image_keys[idx])
        record = self.file.read(key)
        try:
            img = decode_image(record.data)
        except ImageError as error:
            raise RecordFileError(
                f'{self.file.path!r}: record {key} has {len(record.data)} '
                f'bytes that are not an image: it {error}.') from error
        info = dict(
            img=img,
            img_shape=img.shape[:2],
            ori_shape=img.shape[:2],
            img_path=f'{self.file.path}#{key}',
            sample_idx=idx if idx >= 0 else len(self) + idx)
        if self.with_label:
            label = record.label[0]
            if not (label >= 0 and label.is_integer()):
                raise RecordFileError(
                    f'{self.file.path!r}: record {key} has label {label}, '
                    'which is not an identity.')
            if self._identities is not None and label >= self._identities:
                raise RecordFileError(
                    f'{self.file.path!r}: record {key} has label {label}, '
                    f'but there are {self._identities} identities. If there '
                    'are more, list them: metainfo=dict(classes=[...]).')
            info['gt_label'] = int(label)
        return info

    @force_full_init
    def __len__(self) -> int:
        return len(self.image_keys)
