# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init


class Pairs(NamedTuple):
    """The pairs of a data set.

    All instances compare equal, because ``ConcatDataset`` refuses data sets
    with different metainfo.

    Attributes:
        first (np.ndarray): Index of the first image, shape (P, ), int.
        second (np.ndarray): Index of the second image, shape (P, ), int.
        same (np.ndarray): Whether they show the same person, shape (P, ),
            bool.
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
    """Base class of data sets of images that are verified in pairs.

    ``metainfo['pairs']`` holds the :class:`Pairs` whose images are both in
    the data set, which ``indices`` may have reduced. Indices are unique only
    within one data set, so each packed data sample gets the metainfo
    ``face_pairs``, whatever wraps the data set and whatever ``meta_keys``
    say: a dict with

    - ``set``: the ``ann_file``;
    - ``image``: the image's number in it;
    - ``pairs``: the pairs of the image, shape (K, 3): the pair's number, the
      image's position in it (0 or 1), and whether both show the same person.
    """

    def set_pairs(self, first: np.ndarray, second: np.ndarray,
                  same: np.ndarray) -> None:
        """Set the pairs. ``load_data_list`` calls this and gives each image
        its ``number``.

        Args:
            first (np.ndarray): Number of the first image, shape (P, ).
            second (np.ndarray): Number of the second image, shape (P, ).
            same (np.ndarray): Whether they show the same person, shape (P, ).
        """
        self._pairs = Pairs(
            np.asarray(first), np.asarray(second), np.asarray(same, bool))
        images = np.concatenate([first, second])
        self._sides = np.argsort(images, kind='stable')
        self._starts = np.searchsorted(images[self._sides],
                                       np.arange(images.max() + 2))

    @property
    def metainfo(self) -> dict:
        """dict: Contains ``pairs`` once the data set is loaded."""
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
        """Run the pipeline on an image.

        Args:
            idx (int): Index of the image.

        Returns:
            Any: The output of the pipeline; data samples have ``face_pairs``.
        """
        result = super().prepare_data(idx)
        samples = result.get('data_samples') if result else None
        # With several views, there is one sample per view.
        for sample in samples if isinstance(samples, list) else [samples]:
            if sample is not None:
                sample.set_metainfo(dict(face_pairs=self._face_pairs(idx)))
        return result

    def _number(self, idx: int) -> int:
        # Not the subclass's method, which may decode the image.
        return BaseDataset.get_data_info(self, idx)['number']

    def _face_pairs(self, idx: int) -> dict:
        number = self._number(idx)
        sides = self._sides[self._starts[number]:self._starts[number + 1]]
        side, pair = np.divmod(sides, len(self._pairs.same))
        return dict(
            set=self.ann_file,
            image=number,
            pairs=np.stack([pair, side, self._pairs.same[pair]], 1))
