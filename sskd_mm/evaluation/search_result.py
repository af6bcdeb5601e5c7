# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple

import numpy as np


class SearchResult(NamedTuple):
    """What searching a gallery (1:N) gave for each probe.

    Attributes:
        mated (np.ndarray): Whether the probe's subject is in the gallery,
            shape (P, ).
        rank (np.ndarray): Of its subject among the gallery's subjects, from
            1; 0 if it is not there. Ties count against the probe: an
            embedding that is the same for all faces ranks last, and one of a
            probe or entry that could not be embedded behind the last.
        mate (np.ndarray): Similarity to its own subject, NaN without one,
            -inf if either could not be embedded.
        other (np.ndarray): Highest similarity to any other subject, -inf if
            there is none. Of a probe without a mate this is what decides
            whether it is falsely identified.
    """
    mated: np.ndarray
    rank: np.ndarray
    mate: np.ndarray
    other: np.ndarray

    def cmc(self, ranks: int) -> np.ndarray:
        """Cumulative match characteristic: closed-set identification.

        Args:
            ranks (int): How many.

        Returns:
            np.ndarray: Shape (ranks, ): the share of mated probes whose
            subject is among the first k, for k = 1, 2, ...

        Raises:
            ValueError: No probe has its subject in the gallery.
        """
        probes = self._some(self.mated, 'has its subject')
        hits = self.rank[probes, None] <= np.arange(1, ranks + 1)
        # With fewer subjects than ranks, a failed one is no hit either.
        return (hits & (self.mate[probes, None] > -np.inf)).mean(0)

    def rank_rate(self, k: int) -> float:
        """The share of mated probes whose subject is among the first k."""
        return float(self.cmc(k)[-1])

    def tpir_at_fpir(self, fpir: float, first: bool = False) -> float:
        """Open-set identification: the largest TPIR with FPIR <= ``fpir``.

        FPIR is the share of probes without a mate whose highest similarity is
        at or above the threshold, TPIR that of mated probes whose mate is. If
        ``fpir`` is less than one in all probes without a mate, this is the
        TPIR with none of them accepted.

        Source: Grother and Ngan, NIST Interagency Report 8009, 2014.

        Args:
            fpir (float): From 0 to 1.
            first (bool): Whether the mate must be the first in rank, too, as
                public code for IJB-B and IJB-C has it. Defaults to False.

        Returns:
            float: TPIR, from 0 to 1.

        Raises:
            ValueError: All probes have a mate, or none has.
        """
        hit = self._some(self.mated, 'has its subject')
        alarms = np.sort(self.other[self._some(~self.mated,
                                               'lacks its subject')])[::-1]
        # The most false alarms that are allowed; they are compared as shares,
        # since 0.29 * 100 is less than 29.
        allowed = np.searchsorted(
            np.arange(1, len(alarms) + 1) / len(alarms), fpir, 'right')
        found = self.mate[hit]
        accepted = found > alarms[allowed] if allowed < len(
            alarms) else np.ones(len(found), bool)
        accepted &= found > -np.inf
        if first:
            accepted &= self.rank[hit] == 1
        return float(accepted.mean())

    @staticmethod
    def _some(probes: np.ndarray, what: str) -> np.ndarray:
        if not probes.any():
            raise ValueError(
                f'No probe of {len(probes)} {what} in the gallery. Look '
                'whether probes and gallery are labelled in the same way, and '
                'whether the gallery is meant to lack some of the people.')
        return probes
