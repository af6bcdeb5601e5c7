# Copyright (c) sskd_mm authors. All rights reserved.
import os
import signal
import threading
from typing import Any, Dict, Optional

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """SIGTERM or Ctrl-C, which all processes of a run act on together.

    Whichever process gets the signal, all of them learn of it at the same
    iteration: every :attr:`interval` iterations they exchange a number on the
    CPU, in a group of their own, so that no device has to wait. The second
    signal ends its process at once.
    """

    #: Iterations between two exchanges.
    interval = 10

    def __init__(self) -> None:
        self._signal = 0
        self._handlers: Dict[int, Any] = {}
        self._group = None

    def listen(self) -> None:
        """Catch the signals from now on."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {
                number: signal.signal(number, self._note)
                for number in _SIGNALS
            }
        if get_world_size() > 1 and dist.get_backend() != 'gloo':
            self._group = dist.new_group(backend='gloo')

    def ignore(self) -> None:
        """Leave the signals as they were."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _note(self, number, frame) -> None:
        self._signal = number
        # Whoever sends it twice means now.
        self.ignore()

    def is_agreed(self, iteration: int) -> bool:
        """Whether all processes stop at this iteration.

        Args:
            iteration (int): The same in all of them, counted anywhere.
        """
        if get_world_size() == 1:
            return bool(self._signal)
        if iteration % self.interval:
            return False
        number = torch.tensor(self._signal)
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self._group)
        self._signal = int(number)
        return bool(self._signal)

    def leave(self, message: str) -> None:
        """End the process as its signal would.

        Args:
            message (str): What to tell the user.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM.
        """
        name = signal.Signals(self._signal).name
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt(f'{name}: {message}')
        raise SystemExit(f'{name}: {message}')


# A process that is forked meanwhile, such as those of mmdet's VOCMetric, has
# the handlers too, and is to end on SIGTERM all the same: its parent waits for
# that. What is sent to it before it has run at all must not get lost.


def _is_listening() -> bool:
    handler: Optional[Any] = signal.getsignal(signal.SIGTERM)
    return getattr(handler, '__func__', None) is StopRequest._note


def _before_fork() -> None:
    if _is_listening():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _after_fork() -> None:
    if _is_listening():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _after_fork_in_child() -> None:
    if _is_listening():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


if hasattr(os, 'register_at_fork'):  # not on Windows, which cannot fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child)
