# Copyright (c) sskd_mm authors. All rights reserved.
import csv
import os.path as osp
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
from torch import Tensor

from ..datasets.read_lines import read_lines
from .identification import Identification
from .pool_templates import pool_templates
from .search_gallery import search_gallery
from .take_templates import take_templates
from .verification import Verification
from .warn_of_failures import warn_of_failures

#: Columns that identify a face: the file and the box.
FACE = ('FILE', 'FACE_X', 'FACE_Y', 'FACE_WIDTH', 'FACE_HEIGHT')


class Rows(NamedTuple):
    """The faces of one metadata file: the index of each among all faces of
    the protocol, its template, medium and subject, each of shape (M, )."""
    faces: np.ndarray
    templates: np.ndarray
    media: np.ndarray
    subjects: np.ndarray

    def pool(self, embeddings: Tensor) -> Tuple[np.ndarray, Tensor]:
        """See :func:`pool_templates`."""
        return pool_templates(embeddings[self.faces], self.templates,
                              self.media)

    def subjects_of(self, templates: np.ndarray) -> np.ndarray:
        """Get the subject of each of these templates."""
        numbers, first = np.unique(self.templates, return_index=True)
        return self.subjects[first][np.searchsorted(numbers, templates)]


class IJBA(NamedTuple):
    """The protocol of IJB-A: ten splits, from its metadata files.

    Source: Klare et al., Pushing the Frontiers of Unconstrained Face
    Detection and Recognition: IARPA Janus Benchmark A, CVPR 2015.

    Attributes:
        faces (list[tuple]): For each of N faces, the file and left, top,
            width and height of the box.
        splits (list[tuple]): For each split, the :class:`Rows` to verify, the
            templates to compare, (P, 2), and the rows of gallery and probes.

    Example:
        >>> protocol = IJBA.read('data/IJB-A')
        >>> protocol.summary(protocol.score(embeddings))['TAR@FAR=0.01']
        (90.4, 1.4)
    """
    faces: List[tuple]
    splits: List[Tuple[Rows, np.ndarray, Rows, Rows]]

    @classmethod
    def read(cls, root: str, splits: int = 10) -> 'IJBA':
        """Read the metadata in the layout of the release.

        Args:
            root (str): Folder with ``IJB-A_11_sets/`` and ``IJB-A_1N_sets/``.
            splits (int): The number of splits. Defaults to 10.

        Returns:
            IJBA: The protocol.

        Raises:
            FileNotFoundError: A metadata file is missing.
            ValueError: One lacks a column, or a line is damaged.
        """
        numbers: Dict[tuple, int] = {}
        result = []
        for k in range(1, splits + 1):
            verify = osp.join(root, 'IJB-A_11_sets', f'split{k}', 'verify_')
            search = osp.join(root, 'IJB-A_1N_sets', f'split{k}', 'search_')
            result.append((_rows(f'{verify}metadata_{k}.csv', numbers),
                           np.loadtxt(
                               f'{verify}comparisons_{k}.csv',
                               int,
                               delimiter=',',
                               ndmin=2,
                               encoding='utf-8-sig'),
                           _rows(f'{search}gallery_{k}.csv', numbers),
                           _rows(f'{search}probe_{k}.csv', numbers)))
        return cls(list(numbers), result)

    def score(
            self,
            embeddings: Tensor) -> List[Tuple[Verification, Identification]]:
        """Score each split.

        Args:
            embeddings (Tensor): Embeddings of all faces, shape (N, D), in the
                order of ``faces``. Their length is their weight in a
                template: normalise them to give all faces equal weight. A
                face that could not be embedded is all zeros; a template
                without other faces counts as a miss.

        Returns:
            list[tuple[Verification, Identification]]: One per split.

        Raises:
            ValueError: The numbers of embeddings and faces differ, or a
                template to compare has no face.
        """
        if len(embeddings) != len(self.faces):
            raise ValueError(f'{len(embeddings)} embeddings of '
                             f'{len(self.faces)} faces.')
        warn_of_failures(embeddings)
        result = []
        for verify, pairs, gallery, probe in self.splits:
            numbers, pooled = verify.pool(embeddings)
            rows = take_templates(numbers, pairs, 'comparisons')
            who = verify.subjects_of(pairs)
            verification = Verification(
                pooled,
                rows[:, 0],
                rows[:, 1],
                who[:, 0] == who[:, 1],
                allow_failures=True)
            enrolled, g = gallery.pool(embeddings)
            searched, p = probe.pool(embeddings)
            found = search_gallery(p, probe.subjects_of(searched), g,
                                   gallery.subjects_of(enrolled))
            result.append((verification, Identification([found])))
        return result

    @staticmethod
    def summary(
        splits: List[Tuple[Verification, Identification]]
    ) -> Dict[str, Tuple[float, float]]:
        """Compute the metrics that papers report, over splits.

        Args:
            splits (list[tuple[Verification, Identification]]): The result of
                :meth:`score`.

        Returns:
            dict[str, tuple[float, float]]: Mean and population standard
            deviation, in percent, of TAR at FAR 0.1, 0.01 and 0.001, rank-1,
            -5 and -10 and TPIR at FPIR 0.1 and 0.01.
        """
        figures = [{
            **verification.summary((0.1, 0.01, 0.001)),
            **identification.summary((1, 5, 10), (0.1, 0.01))
        } for verification, identification in splits]
        return {
            name: (float(np.mean([f[name] for f in figures])),
                   float(np.std([f[name] for f in figures])))
            for name in figures[0]
        }


def _rows(file: str, numbers: Dict[tuple, int]) -> Rows:
    reader = csv.DictReader(read_lines(file), skipinitialspace=True)
    lacking = {'TEMPLATE_ID', 'SUBJECT_ID', 'MEDIA_ID', *FACE
               } - {*(reader.fieldnames or ())}
    if lacking:
        raise ValueError(f'{file!r} has no column {sorted(lacking)}. It '
                         "should be one of IJB-A's own metadata files.")
    rows = []
    for line in reader:
        try:
            face = (line['FILE'], *(float(line[k]) for k in FACE[1:]))
            rows.append((numbers.setdefault(face, len(numbers)),
                         *(int(line[k]) for k in (
                             'TEMPLATE_ID', 'MEDIA_ID', 'SUBJECT_ID'))))
        except (TypeError, ValueError) as error:
            raise ValueError(f'{file!r}, line {reader.line_num}: '
                             f'{error}.') from error
    if not rows:
        raise ValueError(f'{file!r} has no faces.')
    return Rows(*np.array(rows).T)
