# Copyright (c) sskd_mm authors. All rights reserved.
import csv
import os.path as osp
from typing import Dict, List, Optional, Tuple

import numpy as np
from mmengine.registry import DATASETS

from .paired_faces import PairedFaces
from .read_lines import read_lines

#: Possible formats of LFW's images, and a placeholder for any of them.
_EXTENSIONS = ('.jpg', '.png', '.jpeg', '.bmp', '.webp')
_ANY = '.*'
_Pair = Tuple[str, str, bool]


@DATASETS.register_module()
class FacePairs(PairedFaces):
    """The images of a list of pairs, for verification.

    An item is an image; the pairs are in ``metainfo['pairs']``: first image,
    second image and whether they show the same person, each an array of shape
    (P, ). An image in several pairs is one item. See :class:`PairedFaces`.

    The list is a UTF-8 text file with one pair per line, in one of two forms:

    - ``a/1.jpg b/7.jpg 0``: two paths below ``data_prefix`` and a label;
    - as in LFW's ``pairs.txt``: ``Name 1 4`` for images 1 and 4 of a person,
      ``Name 1 Other 3`` for images of two people. The images are
      ``Name/Name_0001.jpg`` and so on, or ``.png`` or another format if there
      is no ``.jpg``. The header line with numbers is skipped.

    Fields are separated by tabs, commas or spaces.

    Args:
        ann_file (str): The list.
        data_prefix (dict): ``dict(img_path=...)``, the folder of images.
        pipeline (list[dict]): Begins with ``LoadImageFromFile``.
        **kwargs: Other arguments of MMEngine's ``BaseDataset``.

    Raises:
        ValueError: A line, which the message names, has neither form; or the
            file is not UTF-8 text.

    Example:
        >>> dict(type='FacePairs', data_root='data/lfw',
        ...      ann_file='pairs.txt', data_prefix=dict(img_path='lfw_112'),
        ...      pipeline=[dict(type='LoadImageFromFile'),
        ...                dict(type='PackInputs')])
    """

    def load_data_list(self) -> List[dict]:
        """Read the list.

        Returns:
            list[dict]: One per image, with ``img_path`` and its ``number``.
        """
        prefix = self.data_prefix.get('img_path', '')
        numbers: Dict[str, int] = {}
        pairs: List[Tuple[int, int, bool]] = []
        for number, line in enumerate(read_lines(self.ann_file), 1):
            if not line.strip() or number == 1 and _is_header(line):
                continue
            pair = _parse(line)
            if pair is None:
                raise ValueError(
                    f'{self.ann_file!r}, line {number}: {line.strip()!r} is '
                    "not a pair. Write 'PATH PATH LABEL' with label 1 for the "
                    'same person and 0 for two, separated by tabs if paths '
                    "have spaces or commas, or LFW's form 'NAME N N' and "
                    "'NAME N NAME N'.")
            first, second = (
                numbers.setdefault(path, len(numbers)) for path in pair[:2])
            pairs.append((first, second, pair[2]))
        if not pairs:
            raise ValueError(f'{self.ann_file!r} has no pairs.')
        self.set_pairs(*map(np.array, zip(*pairs)))
        return [
            dict(img_path=_find(osp.join(prefix, path)), number=number)
            for path, number in numbers.items()
        ]


def _find(path: str) -> str:
    """Locate an image, whose format LFW's list does not give."""
    if not path.endswith(_ANY):
        return path
    path = path[:-len(_ANY)]
    return next((path + extension for extension in _EXTENSIONS
                 if osp.isfile(path + extension)), path + _EXTENSIONS[0])


def _is_header(line: str) -> bool:
    """Detect LFW's numbers of folds and pairs, or column names."""
    fields = line.strip().split(',')
    return all(field.isdigit() for field in line.split()) or (
        len(fields) > 2
        and not any(field.isdigit() or '.' in field for field in fields))


def _parse(line: str) -> Optional[_Pair]:
    for fields in (line.split('\t'), next(csv.reader([line])), line.split()):
        fields = [field.strip() for field in fields]
        while fields and not fields[-1]:  # from a table with four columns
            fields.pop()
        pair = _parse_fields(fields)
        # Such a path means that the line has two kinds of separators.
        if pair and not any(path.endswith((',', ';')) for path in pair[:2]):
            return pair
    return None


def _parse_fields(fields: List[str]) -> Optional[_Pair]:
    if not all(fields):
        return None
    if len(fields) == 3:
        if fields[1].isdigit() and fields[2].isdigit():
            return _lfw(*fields[:2]), _lfw(fields[0], fields[2]), True
        if fields[2] in ('0', '1'):
            return fields[0], fields[1], fields[2] == '1'
    if len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
        return _lfw(*fields[:2]), _lfw(*fields[2:]), False
    return None


def _lfw(name: str, number: str) -> str:
    return f'{name}/{name}_{int(number):04d}{_ANY}'
