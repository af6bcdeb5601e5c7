# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Dict, List, Tuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS


@DATASETS.register_module()
class FacePairs(BaseDataset):
    """The images of a list of pairs, for verification.

    An item is an image; the pairs are in ``metainfo['pairs']``: first image,
    second image and whether they show one person, each an array of shape
    (P, ). An image that is in several pairs comes once.

    The list is a text file with a pair a line, in one of two forms:

    - ``a/1.jpg b/7.jpg 0``: two paths below ``data_prefix`` and a label;
    - as LFW's ``pairs.txt``: ``Name 1 4`` for images 1 and 4 of a person,
      ``Name 1 Other 3`` for images of two; these are ``Name/Name_0001.jpg``
      and so on. The line of numbers at its head is skipped. Fields are parted
      by tabs.

    Args:
        ann_file (str): The list.
        data_prefix (dict): ``dict(img_path=...)``, the folder of images.
        pipeline (list[dict]): Begins with ``LoadImageFromFile``.
        **kwargs: Others of MMEngine's ``BaseDataset``.

    Raises:
        ValueError: A line has neither form; it is named.

    Example:
        >>> dict(type='FacePairs', data_root='data/lfw',
        ...      ann_file='pairs.txt', data_prefix=dict(img_path='lfw_112'),
        ...      pipeline=[dict(type='LoadImageFromFile'),
        ...                dict(type='PackInputs')])
    """

    def load_data_list(self) -> List[dict]:
        """Read the list.

        Returns:
            list[dict]: An image each, with ``img_path``.
        """
        numbers: Dict[str, int] = {}
        pairs: List[Tuple[int, int, bool]] = []
        with open(self.ann_file) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip() or number == 1 and all(
                        x.isdigit() for x in line.split()):
                    continue
                first, second, same = self._parse(line, number)
                pairs.append((numbers.setdefault(first, len(numbers)),
                              numbers.setdefault(second, len(numbers)), same))
        if not pairs:
            raise ValueError(f'{self.ann_file!r} holds no pairs.')
        a, b, same = zip(*pairs)
        self._metainfo['pairs'] = np.array(a), np.array(b), np.array(same)
        prefix = self.data_prefix.get('img_path', '')
        return [dict(img_path=osp.join(prefix, path)) for path in numbers]

    def _parse(self, line: str, number: int) -> Tuple[str, str, bool]:
        fields = line.strip().split('\t')
        if len(fields) == 1:
            fields = line.split()
        if len(fields) == 3:
            if fields[1].isdigit() and fields[2].isdigit():
                return (_lfw(*fields[:2]), _lfw(fields[0], fields[2]), True)
            if fields[2] in ('0', '1'):
                return fields[0], fields[1], fields[2] == '1'
        if len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
            return _lfw(*fields[:2]), _lfw(*fields[2:]), False
        raise ValueError(
            f'{self.ann_file!r}, line {number}: {line.strip()!r} is no pair. '
            "Write 'PATH PATH LABEL' with 1 for one person and 0 for two, "
            "parted by tabs where paths have spaces, or LFW's form 'NAME N "
            "N' and 'NAME N NAME N'.")


def _lfw(name: str, number: str) -> str:
    return f'{name}/{name}_{int(number):04d}.jpg'
