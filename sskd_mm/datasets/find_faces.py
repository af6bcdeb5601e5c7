# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Optional, Tuple

import numpy as np
from mmengine.logging import print_log

from .record_file import Record, RecordFile, RecordFileError

#: Far above the 4 million of WebFace260M, the largest public set.
MAX_IDENTITIES = 20_000_000
#: Images whose labels are read to see whether labels ascend.
_SAMPLES = 64


def find_faces(file: RecordFile,
               count: bool = True) -> Tuple[np.ndarray, Optional[int]]:
    """Find out which records are images, and of how many identities.

    A set of insightface begins with record 0, which has no image but the keys
    at which images and identities end. Images follow, then a record for each
    identity, without an image. The two keys are float32, which rounds them
    from 16.7 million on (Glint360K), so neither is taken at its word: the
    border between images and identities is looked for among the records that
    rounding leaves open, and labels say how many identities there are.

    Args:
        file (RecordFile): The records.
        count (bool): Whether identities are to be counted. Defaults to True.

    Returns:
        tuple: The images' keys, ascending, (N, ), and the number of
        identities: None in a file without record 0, or if they are not to be
        counted.

    Raises:
        RecordFileError: Record 0 does not tell what it should, or claims more
            than :data:`MAX_IDENTITIES`.
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
    """Where images end, and how many identities there should be."""
    ends = np.array(header.label, np.float64)
    if len(ends) != 2 or not np.all(
            np.isfinite(ends) & (ends > 0) & (ends == ends.round())
            & (ends >= ends[0])):
        raise RecordFileError(
            f'{file.path!r}: record 0 has no image, so it has to tell the '
            'keys at which the images and the identities end, but it has '
            f'{header.label}.')
    claimed = ends[1] - ends[0]
    if claimed > MAX_IDENTITIES or ends[0] > 1e18:  # keys are int64
        raise RecordFileError(
            f'{file.path!r}: record 0 claims {claimed:.0f} identities, from '
            f'key {ends[0]:.0f} to {ends[1]:.0f}. No set has more than '
            f'{MAX_IDENTITIES}: the file is damaged.')
    return int(ends[0]), int(claimed)


def _find_border(file: RecordFile, end: int) -> int:
    """The first key behind the images."""
    # Rounding may have moved it by half of what float32 tells apart there,
    # which is nothing below 2**24.
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
    """How many identities there are, by the labels where these ascend."""
    labels = []
    for i in np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))):
        try:
            labels.append(file.read(images[int(i)]).label[0])
        except RecordFileError:  # it is refused when that image is taken
            labels.append(np.nan)
    known = [x for x in labels if 0 <= x < MAX_IDENTITIES]
    found = int(max(known, default=-1)) + 1
    if records and known and known == sorted(known) and (
            known[-1] == labels[-1]):
        # As insightface's tools write them: the last one is the largest.
        if found != records:
            print_log(
                f'{file.path!r} has {records} records of identities, but its '
                f'labels end with {found - 1}: {found} identities. If there '
                "are more, say how many: metainfo=dict(classes=[...]).",
                logger='current',
                level=logging.WARNING)
        return found
    return max(found, records or claimed)
