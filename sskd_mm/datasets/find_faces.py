# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Optional, Tuple

import numpy as np
from mmengine.logging import print_log

from .record_file import Record, RecordFile, RecordFileError

#: Far above the 4 million of WebFace260M, the largest public set.
MAX_IDENTITIES = 20_000_000
#: Number of images whose labels are read to see whether labels ascend.
_SAMPLES = 64


def find_faces(file: RecordFile,
               count: bool = True) -> Tuple[np.ndarray, Optional[int]]:
    """Find out which records are images, and the number of identities.

    Record 0 of an insightface data set has no image; it holds the keys at
    which images and identities end. Images follow, then one record per
    identity, without an image. The two keys are float32, which rounds above
    16.7 million (Glint360K), so neither is trusted: the border between images
    and identities is searched among the records within the rounding error,
    and identities are counted by labels.

    Args:
        file (RecordFile): The records.
        count (bool): Whether to count identities. Defaults to True.

    Returns:
        tuple: The images' keys, ascending, (N, ), and the number of
        identities, or None if there is no record 0 or ``count`` is False.

    Raises:
        RecordFileError: Record 0 is malformed or claims more than
            :data:`MAX_IDENTITIES`.
    """
    keys = file.keys
    header = file.read(keys[0])
    if keys[0] != 0 or header.data:
        return keys, None
    end, claimed = _read_header(file, header)
    end = _find_border(file, end)
    images = keys[(keys > 0) & (keys < end)]
    if not len(images):
        raise RecordFileError(f'{file.path!r} has no image: record 0 says '
                              f'that images end at key {end}.')
    if not count:
        return images, None
    records = int((keys >= end).sum())
    return images, _count_identities(file, images, records, claimed)


def _read_header(file: RecordFile, header: Record) -> Tuple[int, int]:
    """Read where images end and how many identities there should be."""
    ends = np.array(header.label, np.float64)
    if len(ends) != 2 or not np.all(
            np.isfinite(ends) & (ends > 0) & (ends == ends.round())
            & (ends >= ends[0])):
        raise RecordFileError(
            f'{file.path!r}: record 0 has no image, so its label must be the '
            'two keys at which images and identities end, but it is '
            f'{header.label}.')
    claimed = ends[1] - ends[0]
    if claimed > MAX_IDENTITIES or ends[0] > 1e18:  # keys are int64
        raise RecordFileError(
            f'{file.path!r}: record 0 claims {claimed:.0f} identities, from '
            f'key {ends[0]:.0f} to {ends[1]:.0f}. No set has more than '
            f'{MAX_IDENTITIES}: the file is damaged.')
    return int(ends[0]), int(claimed)


def _find_border(file: RecordFile, end: int) -> int:
    """Find the first key after the images."""
    # Rounding may have moved it by half the spacing of float32, which is
    # nothing below 2**24.
    slack = int(np.spacing(np.float32(end))) // 2
    keys = file.keys
    near = keys[(keys >= end - slack) & (keys <= end + slack)]
    for key in near:
        if not file.read(key).data:
            return int(key)
    if len(near) and near[-1] == end + slack:
        raise RecordFileError(
            f'{file.path!r}: record 0 says that images end at key {end}, but '
            f'record {near[-1]} is an image: the file is damaged, or the '
            'index belongs to another one.')
    # The index has no identities.
    return int(near[-1]) + 1 if len(near) else end


def _count_identities(file: RecordFile, images: np.ndarray, records: int,
                      claimed: int) -> int:
    """Count identities, by the labels if these ascend."""
    labels = []
    for i in np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))):
        try:
            labels.append(file.read(images[int(i)]).label[0])
        except RecordFileError:  # raised again when that image is read
            labels.append(np.nan)
    known = [x for x in labels if 0 <= x < MAX_IDENTITIES]
    found = int(max(known, default=-1)) + 1
    if records and known and known == sorted(known) and (
            known[-1] == labels[-1]):
        # Insightface's tools write ascending labels: the last is the largest.
        if found != records:
            print_log(
                f'{file.path!r} has {records} identity records, but its '
                f'labels end at {found - 1}: {found} identities. If there '
                "are more, list them: metainfo=dict(classes=[...]).",
                logger='current',
                level=logging.WARNING)
        return found
    return max(found, records or claimed)
