# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

from ..check_keys import did_you_mean
from .phase import Phase

SCHEDULES = ('sequential', 'cumulative', 'local', 'blockwise', 'joint',
             'last')

#: Those that can train a backbone for a tap in the head.
FOR_HEAD = ('cumulative', 'last')

#: The input of each stage, in schedules of one phase.
_BORDERS = dict(local='detached', blockwise='teacher', joint='student')


def plan_mimic_phases(schedule: str,
                      stages: Sequence[str],
                      in_head: Sequence[str] = ()) -> List[Phase]:
    """Plan the mimic phases of a schedule, without their lengths.

    - ``sequential``: one phase per stage; phase k trains stage k alone
      against tap k, with earlier stages frozen. The paper's.
    - ``cumulative``: one phase per stage; phase k trains stages 1 to k
      against tap k.
    - ``local``: one phase; each stage has its own tap's loss, and no gradient
      crosses a border.
    - ``blockwise``: one phase; each stage has its own tap's loss and gets the
      teacher's feature of the previous tap, linearly mapped if shapes differ.
    - ``joint``: one phase; all taps at once, with gradients through the whole
      backbone.
    - ``last``: one phase; the whole backbone against the last tap only.

    ``local``, ``blockwise`` and ``joint`` skip a tap in the head: no weights
    lie between it and the previous tap, so it would compare the same again.

    Args:
        schedule (str): One of the above.
        stages (Sequence[str]): Names of the stages, in order.
        in_head (Sequence[str]): Stages whose tap lies in the head.

    Returns:
        list[Phase]: The phases, named ``mimic/<stage>``, or
        ``mimic/<schedule>`` if one covers all stages.

    Raises:
        ValueError: An unknown schedule.
    """
    names = tuple(stages)
    if schedule == 'sequential':
        return [Phase(f'mimic/{name}', (name, ), (name, )) for name in names]
    if schedule == 'cumulative':
        return [
            Phase(f'mimic/{name}', (name, ), names[:k + 1])
            for k, name in enumerate(names)
        ]
    if schedule in _BORDERS:
        at_once = tuple(n for n in names if n not in in_head) or names
        return [
            Phase(
                f'mimic/{schedule}',
                at_once,
                names,
                border=_BORDERS[schedule])
        ]
    if schedule == 'last':
        return [Phase('mimic/last', names[-1:], names)]
    raise ValueError(f'schedule={schedule!r} is not one of '
                     f'{", ".join(SCHEDULES)}.'
                     f'{did_you_mean(schedule, SCHEDULES)}')
