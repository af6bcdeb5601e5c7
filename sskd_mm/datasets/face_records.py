# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Optional, Sequence, Union

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.registry import DATASETS

from .record_file import RecordFile, RecordFileError


@DATASETS.register_module()
class FaceRecords(BaseDataset):
    """Faces in insightface's ``.rec`` and ``.idx``: MS1MV2, MS1MV3,
    Glint360K, CASIA-WebFace.

    Images are read at random by as many workers as you like, without MXNet,
    see :class:`RecordFile`. Only their places are held in memory, 16 bytes
    an image. A pipeline begins with the image read: it gets ``img`` (BGR),
    ``gt_label`` and ``img_path``, which names the file and the record.

    Args:
        data_root (str): The folder.
        ann_file (str): The index; the images lie beside it, with the
            extension ``.rec``. Defaults to ``'train.idx'``.
        with_label (bool): Whether images come with the number of their
            identity. Defaults to True.
        indices (int or Sequence[int], optional): The first so many images,
            or those of these numbers. Defaults to all.
        **kwargs: As of MMEngine's ``BaseDataset``.

    Raises:
        FileNotFoundError: A file is not there.
        RecordFileError: The index or the first record is damaged; when an
            image is taken, that record.

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
        """Read the index, and from the first record what the others are."""
        if self._fully_initialized:
            return
        self.file = RecordFile(osp.splitext(self.ann_file)[0] + '.rec')
        keys = self.file.keys
        first = self.file.read(keys[0])
        if keys[0] == 0 and not first.data:
            # It describes the others: images come first, then a record for
            # each identity, which has no image.
            end = np.array(first.label)
            if len(end) != 2 or not np.all((0 < end) & (end == end.round())):
                raise RecordFileError(
                    f'{self.file.path!r}: record 0 has no image, so it has to '
                    'tell the keys at which the images and the identities '
                    f'end, but it has {first.label}.')
            keys = keys[(keys > 0) & (keys < end[0])]
            if self.with_label:
                names = map(str, range(int(end[1] - end[0])))
                self._metainfo.setdefault('classes', tuple(names))
        if self._chosen is not None:
            keys = (
                keys[:self._chosen]
                if isinstance(self._chosen, int) else keys[self._chosen])
        self.image_keys = keys
        self._fully_initialized = True

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Read an image.

        Args:
            idx (int): Its number.

        Returns:
            dict: ``img`` (H, W, 3), ``gt_label``, ``img_shape``,
            ``ori_shape``, ``img_path`` and ``sample_idx``.

        Raises:
            RecordFileError: It is damaged, or not of one identity.
        """
        key = int(self.image_keys[idx])
        record = self.file.read(key)
        img = mmcv.imfrombytes(record.data) if record.data else None
        if img is None:
            raise RecordFileError(
                f'{self.file.path!r}: record {key} has {len(record.data)} '
                'bytes that are no image.')
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
                    f'{self.file.path!r}: record {key} has the label {label}, '
                    'which numbers no identity.')
            info['gt_label'] = int(label)
        return info

    @force_full_init
    def __len__(self) -> int:
        return len(self.image_keys)
