# Copyright (c) sskd_mm authors. All rights reserved.
import os
import pickle

import numpy as np
import pytest

from sskd_mm.datasets import CIFARFileError, read_cifar_pickle

ROWS = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)

#: {'data': np.array([[1, 2], [3, 254]], np.uint8), 'labels': [6, 9]} as
#: Python 2 and numpy 1 wrote it, which is what CIFAR's own files are.
PYTHON_2 = (b'\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n'
            b'_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq'
            b'\x05(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01'
            b'\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK'
            b'\x00tb\x89U\x04\x01\x02\x03\xfetbU\x06labelsq\x08]q\t(K\x06K\te'
            b'u.')


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('order', 'CF')
def test_reads_what_pickle_writes(tmp_path, protocol, order):
    batch = dict(
        data=np.array(ROWS, order=order), labels=[1, 2], name=b'\xe9', n=7)
    path = tmp_path / 'batch'
    path.write_bytes(pickle.dumps(batch, protocol))
    found = read_cifar_pickle(str(path))
    np.testing.assert_array_equal(found.pop('data'), ROWS)
    assert found == dict(labels=[1, 2], name=b'\xe9', n=7)


def test_reads_files_of_python_2(tmp_path):
    path = tmp_path / 'batch'
    path.write_bytes(PYTHON_2)
    found = read_cifar_pickle(str(path))
    # What is held in bytes above, and what numpy itself makes of it.
    np.testing.assert_array_equal(found['data'], [[1, 2], [3, 254]])
    theirs = pickle.loads(PYTHON_2, encoding='latin1')
    np.testing.assert_array_equal(found['data'], theirs['data'])
    assert found['labels'] == theirs['labels']


class Hostile:

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Bare:
    pass


@pytest.mark.parametrize('what, says', [
    (lambda path: Hostile(os.mkdir, path), 'mkdir'),
    (lambda path: Hostile(eval, f'__import__("os").mkdir({path!r})'), 'eval'),
    (lambda path: Hostile(getattr, 'os', 'path'), 'getattr'),
    (lambda path: Hostile(np.lib.format.open_memmap, path), 'open_memmap'),
    (lambda path: Hostile(np.ones, 3), 'ones'),
    (lambda path: np.float64(1), 'scalar'),
    (lambda path: np.ones(3, np.int64), 'i8'),
    (lambda path: np.array([Hostile(os.mkdir, path)]), "'O8'"),
    (lambda path: Bare, 'Bare'),
])
def test_runs_nothing(tmp_path, what, says):
    target = str(tmp_path / 'it_ran')
    path = tmp_path / 'batch'
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(dict(data=what(target)), protocol))
        with pytest.raises(CIFARFileError, match=says) as error:
            read_cifar_pickle(str(path))
        assert str(path) in str(error.value)
        assert not os.path.exists(target)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes of whatever a pickle got hold of."""
    path = tmp_path / 'batch'
    for name in ('_reconstruct', 'ndarray', 'dtype'):
        module = 'numpy.core.multiarray' if name[0] == '_' else 'numpy'
        path.write_bytes(b'\x80\x02c' + f'{module}\n{name}\n'.encode() +
                         b'N}U\x08__code__K\x01s\x86b.')
        with pytest.raises(CIFARFileError):
            read_cifar_pickle(str(path))
    path.write_bytes(PYTHON_2)
    assert read_cifar_pickle(str(path))['labels'] == [6, 9]


def test_broken_files(tmp_path):
    path = tmp_path / 'batch'
    whole = pickle.dumps(dict(data=ROWS, labels=[1, 2]), 2)
    for content in (b'', whole[:-1], whole[:100], whole[:3000],
                    b'no pickle', b'\x80\x02' + b'(' * 10**5,
                    whole.replace(b'K\x02M\x00\x0c', b'K\x03M\x00\x0c')):
        assert content != whole
        path.write_bytes(content)
        with pytest.raises(CIFARFileError, match=str(path)):
            read_cifar_pickle(str(path))
    with pytest.raises(FileNotFoundError):
        read_cifar_pickle(str(tmp_path / 'none'))
