# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple

import numpy as np


class SearchResult(NamedTuple):
    """The result of searching a gallery (1:N) for each probe.

    Attributes:
        mated (np.ndarray): Whether the probe's subject is in the gallery,
            shape (P, ).
        rank (np.ndarray): Rank of its subject among the gallery's subjects,
            from 1; 0 if it is not in the gallery. Ties count against the
            probe: an embedding that is the same for all faces ranks last, and
            a failed embedding of probe or entry ranks after the last.
        mate (np.ndarray): Similarity to its own subject, NaN without one,
            -inf if either could not be embedded.
        other (np.ndarray): Highest similarity to any other subject, -inf if
            there is none. For a probe without a mate this decides whether it
            is falsely identified.
    """
    mated: np.ndarray
    rank: np.ndarray
    mate: np.ndarray
    other: np.ndarray

    def cmc(self, ranks: int) -> np.ndarray:
        """Compute the cumulative match characteristic (closed set).

        Args:
            ranks (int): The number of ranks.

        Returns:
            np.ndarray: Shape (ranks, ): the fraction of mated probes whose
            subject is among the first k, for k = 1, 2, ...

        Raises:
            ValueError: No probe has its subject in the gallery.
        """
        probes = self._some(self.mated, 'has its subject')
        hits = self.rank[probes, None] <= np.arange(1, ranks + 1)
        # A failed embedding is no hit, even with fewer subjects than ranks.
        return (hits & (self.mate[probes, None] > -np.inf)).mean(0)

    def rank_rate(self, k: int) -> float:
        """Get the fraction of mated probes with their subject in the top k."""
        return float(self.cmc(k)[-1])

    def tpir_at_fpir(self, fpir: float, first: bool = False) -> float:
        """Compute the largest TPIR with FPIR <= ``fpir`` (open set).

        FPIR is the fraction of probes without a mate whose highest similarity
        is at or above the threshold; TPIR is the fraction of mated probes
        whose mate is. If ``fpir`` is below one over the number of probes
        without a mate, this is the TPIR with none of them accepted.

        Source: Grother and Ngan, NIST Interagency Report 8009, 2014.

        Args:
            fpir (float): From 0 to 1.
            first (bool): Whether the mate must also rank first, as in public
                code for IJB-B and IJB-C. Defaults to False.

        Returns:
            float: TPIR, from 0 to 1.

        Raises:
            ValueError: All probes have a mate, or none has.
        """
        hit = self._some(self.mated, 'has its subject')
        alarms = np.sort(self.other[self._some(~self.mated,
                                               'lacks its subject')])[::-1]
        # The maximum number of false alarms. Fractions are compared, because
        # 0.29 * 100 is less than 29.
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
                f'No probe of {len(probes)} {what} in the gallery. Check that '
                'probes and gallery are labelled in the same way, and whether '
                'the gallery should lack some people.')
        return probes
