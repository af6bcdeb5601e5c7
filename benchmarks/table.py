# Copyright (c) sskd_mm authors. All rights reserved.
from dataclasses import dataclass
from typing import Any, List, Sequence


@dataclass
class Table:
    """The result of a benchmark.

    Args:
        title (str): What is compared, and under which conditions.
        columns (list[str]): Column names with units.
        rows (list[list]): Numbers and texts, one per column.
        notes (str): Notes for the reader.
    """

    title: str
    columns: Sequence[str]
    rows: List[Sequence[Any]]
    notes: str = ''

    def __str__(self) -> str:
        """Format as Markdown."""
        rows = [self.columns, ['---'] * len(self.columns), *self.rows]
        table = '\n'.join(f'| {" | ".join(map(_cell, row))} |'
                          for row in rows)
        return '\n\n'.join(filter(None, (self.title, table, self.notes)))


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    # Three digits, but never an exponent.
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.{1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2}f}'
