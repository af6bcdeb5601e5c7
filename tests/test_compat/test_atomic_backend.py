# Copyright (c) sskd_mm authors. All rights reserved.
import multiprocessing
import os
import resource
import signal
import stat

import mmengine
import pytest
from mmengine.fileio import get_file_backend, put

from sskd_mm.compat.atomic_backend import AtomicLocalBackend


def test_mmengine_uses_it(tmp_path):
    assert isinstance(get_file_backend(str(tmp_path)), AtomicLocalBackend)
    put(b'content', str(tmp_path / 'folder' / 'x.bin'))
    assert mmengine.get(str(tmp_path / 'folder' / 'x.bin')) == b'content'
    assert os.listdir(tmp_path / 'folder') == ['x.bin']


def test_text_too(tmp_path, monkeypatch):
    """MMEngine's dump writes JSON as text."""
    path = tmp_path / 'folder' / 'result.json'
    mmengine.dump(dict(name='ä'), path)
    assert mmengine.load(path) == dict(name='ä')

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        mmengine.dump(dict(name='b'), path)
    assert mmengine.load(path) == dict(name='ä')


def test_usual_permissions(tmp_path):
    put(b'', str(tmp_path / 'ours'))
    (tmp_path / 'theirs').write_bytes(b'')
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'x.bin'
    path.write_bytes(b'good')

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        put(b'new', str(path))
    assert path.read_bytes() == b'good'
    assert os.listdir(tmp_path) == ['x.bin']


def test_a_disk_that_is_really_full(tmp_path):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / 'x.bin'
    path.write_bytes(b'good')

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
        with pytest.raises(OSError, match='File too large'):
            put(b'x' * 100000, str(path))

    # In a process of its own, since the limit stays.
    process = multiprocessing.get_context('fork').Process(target=fill)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert path.read_bytes() == b'good'
    assert os.listdir(tmp_path) == ['x.bin']


def test_what_a_kill_leaves_is_written_over(tmp_path):
    path = tmp_path / 'x.bin'
    path.write_bytes(b'good')

    def die():
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        put(b'new', str(path))

    process = multiprocessing.get_context('fork').Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == b'good'
    assert sorted(os.listdir(tmp_path)) == ['.x.bin.part', 'x.bin']
    put(b'resumed', str(path))
    assert path.read_bytes() == b'resumed'
    assert os.listdir(tmp_path) == ['x.bin']
