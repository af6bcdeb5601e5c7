# Copyright (c) sskd_mm authors. All rights reserved.
import csv
import os.path as osp
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from torch import Tensor

from ..datasets.read_lines import read_lines
from .identification import Identification
from .pool_templates import pool_templates
from .search_gallery import search_gallery
from .take_templates import take_templates
from .verification import Verification
from .warn_of_failures import warn_of_failures


class IJB(NamedTuple):
    """The protocol of IJB-B or IJB-C, from its metadata files.

    Attributes:
        images (list[str]): File of each face, N.
        landmarks (np.ndarray): Eyes, nose and mouth corners of each face,
            shape (N, 5, 2).
        scores (np.ndarray): Confidence of the face detector, shape (N, ).
        templates (np.ndarray): Template of each face, shape (N, ).
        media (np.ndarray): Medium of each face, shape (N, ).
        pairs (tuple[np.ndarray]): Templates to verify and whether they show
            the same person, each of shape (P, ).
        galleries (list[tuple[np.ndarray]]): Templates and subjects of G1 and
            G2.
        probes (tuple[np.ndarray]): Templates and subjects to search for.

    Example:
        >>> protocol = IJB.read('data/IJBC', 'ijbc')
        >>> verification, identification = protocol.score(embeddings)
    """
    images: List[str]
    landmarks: np.ndarray
    scores: np.ndarray
    templates: np.ndarray
    media: np.ndarray
    pairs: Tuple[np.ndarray, np.ndarray, np.ndarray]
    galleries: List[Tuple[np.ndarray, np.ndarray]]
    probes: Tuple[np.ndarray, np.ndarray]

    @classmethod
    def read(cls, root: str, name: str) -> 'IJB':
        """Read the metadata in the layout of insightface's release.

        Args:
            root (str): Folder with ``meta/`` and ``loose_crop/``.
            name (str): ``'ijbb'`` or ``'ijbc'``, the prefix of the files.

        Returns:
            IJB: The protocol.

        Raises:
            FileNotFoundError: A metadata file is missing.
            ValueError: A line is damaged, the files differ in length, or they
                name a template without a face.
        """
        meta = osp.join(root, 'meta', name)
        faces = _read(f'{meta}_name_5pts_score.txt', (str, ) + (float, ) * 11)
        names, templates, media = _read(f'{meta}_face_tid_mid.txt',
                                        (str, int, int))
        if list(faces[0]) != list(names):
            raise ValueError(
                f'{meta}_name_5pts_score.txt and {meta}_face_tid_mid.txt must '
                'name the same files in the same order: '
                f'{len(faces[0])} and {len(names)} lines.')
        # Millions of lines, only numbers.
        pairs = np.loadtxt(
            f'{meta}_template_pair_label.txt',
            int,
            ndmin=2,
            unpack=True,
            encoding='utf-8-sig')
        # IJB-B's galleries are called S1 and S2.
        letter = 'S' if name == 'ijbb' else 'G'
        lists = [
            _templates(*_read(f'{meta}_1N_{part}.csv', (int, int), ',', 1))
            for part in (f'gallery_{letter}1', f'gallery_{letter}2',
                         'probe_mixed')
        ]
        return cls([osp.join(root, 'loose_crop', face) for face in names],
                   np.stack(faces[1:11], 1).reshape(-1, 5, 2), faces[11],
                   templates, media,
                   (pairs[0], pairs[1], pairs[2].astype(bool)), lists[:2],
                   lists[2])

    def score(self,
              embeddings: Tensor) -> Tuple[Verification, Identification]:
        """Score 1:1 verification and 1:N identification.

        Args:
            embeddings (Tensor): Embeddings of all faces, shape (N, D), in the
                order of ``images``. Their length is their weight in a
                template: normalise them to give all faces equal weight. A
                face that could not be embedded is all zeros; a template
                without other faces counts as a miss.

        Returns:
            tuple[Verification, Identification]: The results.

        Raises:
            ValueError: The numbers of embeddings and images differ, or a
                template has no face.
        """
        if len(embeddings) != len(self.images):
            raise ValueError(f'{len(embeddings)} embeddings of '
                             f'{len(self.images)} faces.')
        warn_of_failures(embeddings)
        numbers, pooled = pool_templates(embeddings, self.templates,
                                         self.media)
        first, second = (
            take_templates(numbers, x, 'pairs') for x in self.pairs[:2])
        verification = Verification(
            pooled, first, second, self.pairs[2], allow_failures=True)
        probes = pooled[take_templates(numbers, self.probes[0], 'probes')]
        return verification, Identification([
            search_gallery(
                probes, self.probes[1],
                pooled[take_templates(numbers, templates, 'gallery')],
                subjects) for templates, subjects in self.galleries
        ])

    @staticmethod
    def summary(verification: Verification,
                identification: Identification) -> Dict[str, float]:
        """Compute the metrics that papers report, by name, in percent."""
        return {
            **verification.summary((1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
            **identification.summary((1, 5, 10), (0.01, 0.1))
        }


def _read(file: str,
          types: Sequence[type],
          delimiter: str = ' ',
          skip: int = 0) -> List[np.ndarray]:
    """Read the first columns of a text file."""
    columns: List[list] = [[] for _ in types]
    rows = csv.reader(read_lines(file), delimiter=delimiter)
    for number, row in enumerate(rows):
        if number < skip or not row:
            continue
        try:
            for column, kind, field in zip(columns, types, row):
                column.append(kind(field))
            if len(row) < len(types):
                raise ValueError(f'{len(row)} columns')
        except ValueError as error:
            raise ValueError(
                f'{file!r}, line {number + 1}: {delimiter.join(row)!r} '
                f'should begin with {len(types)} columns of '
                f'{", ".join(t.__name__ for t in types)} ({error}).'
            ) from error
    return [np.array(column) for column in columns]


def _templates(templates: np.ndarray,
               subjects: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Keep each template once; the files have one line per face."""
    unique, first = np.unique(templates, return_index=True)
    return unique, subjects[first]
