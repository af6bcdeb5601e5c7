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
    """SIGTERM or Ctrl-C, on which all processes of a run act together.

    Every :attr:`interval` iterations they exchange the signal on the CPU, in a
    process group of its own, so no device waits and all stop at the same
    iteration. A second signal ends the process at once.
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
        """Restore the previous handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _note(self, number, frame) -> None:
        self._signal = number
        # A second signal acts at once.
        self.ignore()

    def is_agreed(self, iteration: int) -> bool:
        """Whether all processes stop at this iteration, counted alike in
        all."""
        if get_world_size() == 1:
            return bool(self._signal)
        if iteration % self.interval:
            return False
        number = torch.tensor(self._signal)
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self._group)
        self._signal = int(number)
        return bool(self._signal)

    def leave(self, message: str) -> None:
        """End the process with this message, as its signal would: by
        ``KeyboardInterrupt`` or ``SystemExit``."""
        name = signal.Signals(self._signal).name
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt(f'{name}: {message}')
        raise SystemExit(f'{name}: {message}')


# Forked workers, such as those of mmdet's VOCMetric, inherit the handlers but
# must still end on SIGTERM, even if it arrives while they are being forked.


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
