# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init


class Pairs(NamedTuple):
    """The pairs of a data set.

    ``ConcatDataset`` refuses data sets whose metainfo differs. Pairs of
    different sets are no contradiction, so any are taken for equal.

    Attributes:
        first (np.ndarray): Index of the first image, shape (P, ), int.
        second (np.ndarray): Index of the second image, shape (P, ), int.
        same (np.ndarray): Whether they show one person, shape (P, ), bool.
    """
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Pairs)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = None  # type: ignore


class PairedFaces(BaseDataset):
    """Base of data sets of images that are verified in pairs.

    ``metainfo['pairs']`` has the :class:`Pairs` both of whose images are in
    the data set, which ``indices`` may have made smaller. An index tells an
    image apart within one data set alone, so each packed data sample has,
    whatever wraps the data set and whatever ``meta_keys`` say, the metainfo
    ``face_pairs``: a dict of

    - ``set``: the ``ann_file``;
    - ``image``: the image's number there;
    - ``pairs``: those that it is in, shape (K, 3): the pair's number, which
      of its two images it is (0 or 1), and whether both show one person.
    """

    def set_pairs(self, first: np.ndarray, second: np.ndarray,
                  same: np.ndarray) -> None:
        """To be called by ``load_data_list``, which gives each image its
        ``number``.

        Args:
            first (np.ndarray): Number of the first image, shape (P, ).
            second (np.ndarray): Number of the second image, shape (P, ).
            same (np.ndarray): Whether they show one person, shape (P, ).
        """
        self._pairs = Pairs(
            np.asarray(first), np.asarray(second), np.asarray(same, bool))
        images = np.concatenate([first, second])
        self._sides = np.argsort(images, kind='stable')
        self._starts = np.searchsorted(images[self._sides],
                                       np.arange(images.max() + 2))

    @property
    def metainfo(self) -> dict:
        """dict: With ``pairs``, once the data set was read."""
        metainfo = super().metainfo
        if self._fully_initialized:
            index = np.full(len(self._starts), -1)
            for i in range(len(self)):
                index[self._number(i)] = i
            first, second = index[self._pairs.first], index[self._pairs.second]
            whole = (first >= 0) & (second >= 0)
            metainfo['pairs'] = Pairs(first[whole], second[whole],
                                      self._pairs.same[whole])
        return metainfo

    @force_full_init
    def prepare_data(self, idx: int) -> Any:
        """An image that went through the pipeline.

        Args:
            idx (int): Its index.

        Returns:
            Any: What the pipeline returns; data samples with ``face_pairs``.
        """
        result = super().prepare_data(idx)
        samples = result.get('data_samples') if result else None
        # Of several views one each.
        for sample in samples if isinstance(samples, list) else [samples]:
            if sample is not None:
                sample.set_metainfo(dict(face_pairs=self._face_pairs(idx)))
        return result

    def _number(self, idx: int) -> int:
        # Not the subclass's, which may decode the image.
        return BaseDataset.get_data_info(self, idx)['number']

    def _face_pairs(self, idx: int) -> dict:
        number = self._number(idx)
        sides = self._sides[self._starts[number]:self._starts[number + 1]]
        side, pair = np.divmod(sides, len(self._pairs.same))
        return dict(
            set=self.ann_file,
            image=number,
            pairs=np.stack([pair, side, self._pairs.same[pair]], 1))
