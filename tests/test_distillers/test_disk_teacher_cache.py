# Copyright (c) sskd_mm authors. All rights reserved.
import errno
import logging
import os
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_flatten

from sskd_mm.distillers import disk_teacher_cache
from sskd_mm.distillers.disk_teacher_cache import DiskTeacherCache

CPU = torch.device('cpu')
#: The identity of a batch.
IMAGES = 7


def _never():
    raise AssertionError('computed again')


def _assert_same(ours, theirs):
    """Equal bit by bit, in the same lists, tuples and dicts."""
    (ours, tree), (theirs, other) = tree_flatten(ours), tree_flatten(theirs)
    assert tree == other
    for a, b in zip(ours, theirs):
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b)
        else:
            assert a == b


def _result(value=0):
    """Every kind of value that a teacher may output."""
    x = torch.arange(2 * 3 * 4 * 5.).reshape(2, 3, 4, 5) + value
    return [{
        'map': (x, x.to(memory_format=torch.channels_last)),
        'half': (x.bfloat16(), x.half()[:, :, ::2]),
        'rest': (torch.tensor(7), torch.zeros(0, 3), x > 50, x[:1].expand(
            4, 3, 4, 5)),
        'plain': (None, 3)
    }], [(32, 48)]


def _cache(folder, limit=2**20):
    return DiskTeacherCache(folder, 0, limit)


def _fill(folder, number=3):
    cache = _cache(folder)
    for i in range(number):
        cache.recall((0, i), IMAGES, lambda: _result(i), CPU)
    return cache


def _recall(cache, i):
    """The cached result of a batch; None if it must be computed."""
    return cache.recall((0, i), IMAGES, lambda: None, CPU)


def test_another_process_reads_what_was_computed(tmp_path):
    writer = _fill(tmp_path)
    for cache in (writer, _cache(tmp_path)):
        for i in range(3):
            found = _recall(cache, i)
            _assert_same(found, _result(i))
        first, last = found[0][0]['map']
        assert first.is_contiguous()
        assert last.is_contiguous(memory_format=torch.channels_last)
        assert found[0][0]['half'][0].dtype == torch.bfloat16
    assert cache.num_bytes == writer.num_bytes > 3 * 2 * 120 * 4


def test_what_a_reader_changes_is_not_on_disk(tmp_path):
    _recall(_fill(tmp_path), 0)[0][0]['map'][0].zero_()
    _assert_same(_recall(_cache(tmp_path), 0), _result())


@pytest.mark.parametrize('cut', [0, 10, -1])
def test_a_file_that_is_cut_off(tmp_path, cut):
    """It is computed again, and then complete."""
    _fill(tmp_path)
    file = next(tmp_path.glob('0-0-1-*.pt'))
    file.write_bytes(file.read_bytes()[:cut])
    cache = _cache(tmp_path)
    assert _recall(cache, 0) is not None
    cache.recall((0, 1), IMAGES, lambda: _result(1), CPU)
    cache = _cache(tmp_path)
    for i in range(3):
        _assert_same(cache.recall((0, i), IMAGES, _never, CPU), _result(i))


def test_a_writer_that_was_killed(tmp_path, monkeypatch):
    """An unfinished file is not read."""

    def killed(path, data):
        path.open('wb').write(data[:10])
        raise KeyboardInterrupt

    cache = _fill(tmp_path, 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, 'write_bytes', killed)
        cache.recall((0, 1), IMAGES, lambda: _result(1), CPU)
    cache = _cache(tmp_path)
    assert _recall(cache, 0) is not None
    cache.recall((0, 1), IMAGES, lambda: _result(1), CPU)
    _assert_same(_recall(_cache(tmp_path), 1), _result(1))


def test_damaged_bytes_are_not_believed(tmp_path):
    _fill(tmp_path)
    file = next(tmp_path.glob('0-0-0-*.pt'))
    content = bytearray(file.read_bytes())
    # In the features; the archive's directory comes last.
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    cache = _cache(tmp_path)
    assert _recall(cache, 0) is None
    assert _recall(cache, 1) is not None


def test_other_images_of_the_same_number(tmp_path):
    _fill(tmp_path)
    cache = _cache(tmp_path)
    _assert_same(
        cache.recall((0, 0), IMAGES + 1, lambda: _result(9), CPU), _result(9))
    assert cache.missed == 1
    # Later runs find both.
    for cache in (cache, _cache(tmp_path)):
        for identity, value in ((IMAGES, 0), (IMAGES + 1, 9)):
            _assert_same(
                cache.recall((0, 0), identity, _never, CPU), _result(value))


def test_another_rank_has_files_of_its_own(tmp_path):
    _fill(tmp_path)
    cache = DiskTeacherCache(tmp_path, 1, 2**20)
    assert cache.recall((0, 0), IMAGES, lambda: 'own', CPU) == 'own'


@pytest.mark.parametrize('size', [0, 10])
def test_a_disk_that_is_full(tmp_path, monkeypatch, caplog, size):
    cache = _fill(tmp_path, 1)

    def full(path, data):
        path.open('wb').write(data[:size])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, 'write_bytes', full)
    monkeypatch.setattr(disk_teacher_cache.MMLogger, 'get_current_instance',
                        lambda: logging.getLogger())
    for value in (1, 2):
        # Computed each time, as nothing is cached.
        _assert_same(
            cache.recall((0, 1), IMAGES, lambda: _result(value), CPU),
            _result(value))
    assert caplog.text.count('No space left on device') == 1
    assert 'Training goes on' in caplog.text
    for cache in (cache, _cache(tmp_path, 0)):
        assert _recall(cache, 0) is not None
        assert _recall(cache, 1) is None


def test_the_limit(tmp_path):
    size = _fill(tmp_path / 'whole', 1).num_bytes
    cache = _cache(tmp_path / 'bound', 2 * size)
    for i in range(3):
        cache.recall((0, i), IMAGES, _result, CPU)
    assert cache.num_bytes == 2 * size
    assert sum(f.stat().st_size
               for f in (tmp_path / 'bound').glob('*')) == 2 * size


def test_nothing_is_written_after_clear(tmp_path):
    _fill(tmp_path)
    cache = _cache(tmp_path)
    cache.clear()
    for _ in range(2):
        assert cache.recall((0, 0), IMAGES, lambda: 3, CPU) == 3
    with pytest.raises(AssertionError, match='computed again'):
        cache.recall((0, 0), IMAGES, _never, CPU)
