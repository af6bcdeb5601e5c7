# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

from ..check_keys import did_you_mean
from .phase import Phase

SCHEDULES = ('sequential', 'cumulative', 'local', 'blockwise', 'joint',
             'last')

#: What a stage gets from the one before, in schedules of one phase.
_BORDERS = dict(local='detached', blockwise='teacher', joint='student')


def plan_mimic_phases(schedule: str,
                      stages: Sequence[str],
                      in_head: Sequence[str] = ()) -> List[Phase]:
    """The mimic phases of a schedule, without their lengths.

    No phase has a task loss, and the head follows on a fixed backbone, so
    each of these is SSKD's decoupling:

    - ``sequential``: a phase a stage; phase k trains stage k alone against
      tap k, what lies before it is fixed. The paper's form.
    - ``cumulative``: a phase a stage; phase k trains the stages up to k
      against tap k.
    - ``local``: one phase; each stage has its own tap's loss and no gradient
      crosses a border.
    - ``blockwise``: one phase; each stage has its own tap's loss and is fed
      with the teacher's feature of the tap before. Where the shapes differ,
      with what a linear map, which learns to tell the student's feature from
      the teacher's, makes of it.
    - ``joint``: one phase; all taps at once, gradients flow through the
      whole backbone.
    - ``last``: one phase; the whole backbone against the last tap alone,
      which is what the head reads, or what it makes of it.

    ``local``, ``blockwise`` and ``joint`` leave a tap in the head out: no
    weights lie between it and the tap before, so that it compares the same
    once more, in other units (logits are larger than features).

    Args:
        schedule (str): One of the above.
        stages (Sequence[str]): Names of the stages, in order.
        in_head (Sequence[str]): Those of them whose tap lies in the head.

    Returns:
        list[Phase]: The phases, named ``mimic/<stage>``, or
        ``mimic/<schedule>`` where one covers all stages.

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
