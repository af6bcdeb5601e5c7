# Copyright (c) sskd_mm authors. All rights reserved.
import multiprocessing
import os
import runpy
import signal
import socket
import sys

import torch
from yapf.yapflib import yapf_api

CONTEXT = multiprocessing.get_context('forkserver')
# In this order: the stand-in operators have to be there before mmdet.
CONTEXT.set_forkserver_preload(['sskd_mm', 'mmdet.apis', 'mmpretrain.apis'])


class ToolProcess:
    """A tool in a process of its own, or in several as torchrun starts them.

    They are forked from a process that has imported all packages, which takes
    longer than such short runs. A test of what a tool imports starts Python
    instead. Environment, working directory and ``sys.path`` are the test's.

    Args:
        path (str or Path): The script.
        *args: What follows on the command line.
        processes (int): With more than one they are told so as by torchrun.

    Attributes:
        stdout (file): What they print and log, to be read as it comes.
        returncodes (list[int]): Of each. Of a process that a signal ended it
            is negative, as with ``subprocess``.
        returncode (int): Of the first that failed, or 0.
    """

    def __init__(self, path, *args, processes=1):
        reader, writer = CONTEXT.Pipe(duplex=False)
        argv = [str(arg) for arg in (path, *args)]
        self._processes = [
            CONTEXT.Process(target=_run, args=(writer, argv, env))
            for env in _environments(processes)
        ]
        for process in self._processes:
            process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()), errors='replace')

    def send_signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            os.kill(process.pid, number)

    def wait(self) -> int:
        """Wait for the end and return the ``returncode``."""
        for process in self._processes:
            process.join()
        self.returncodes = [process.exitcode for process in self._processes]
        self.returncode = next(filter(None, self.returncodes), 0)
        return self.returncode

    def finish(self) -> str:
        """Wait for the end, which has to be a good one.

        Returns:
            str: All of ``stdout`` that has not been read before.
        """
        output = self.stdout.read()
        assert self.wait() == 0, output
        return output


def leave_configs_unformatted() -> None:
    """A config is formatted anew for each checkpoint, which would take most
    of the time of such short runs."""
    # Where MMEngine looks the function up differs between the stacks.
    for module in (yapf_api, sys.modules['mmengine.config.config']):
        module.FormatCode = lambda text, **kwargs: (text, False)


def _environments(processes):
    if processes == 1:
        return [dict(os.environ)]
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    return [
        dict(
            os.environ,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(processes),
            MASTER_ADDR='localhost',
            MASTER_PORT=str(port)) for rank in range(processes)
    ]


def _run(output, argv, env):
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    leave_configs_unformatted()
    sys.argv = argv
    runpy.run_path(argv[0], run_name='__main__')
