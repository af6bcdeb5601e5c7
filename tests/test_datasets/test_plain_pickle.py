# Copyright (c) sskd_mm authors. All rights reserved.
import os
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest

from sskd_mm.datasets import PlainPickleError, load_plain_pickle

PLAIN = [
    ([b'one', b'', b'\x00\xff' * 300], [True, False]),
    (b'a', 1, -5, 2**70, True),
    [np.arange(6, dtype=np.uint8).reshape(2, 3), [np.zeros(3, bool)]],
    [np.asfortranarray(np.arange(6).reshape(2, 3)),
     np.array(7, '>i4'), np.array([b'ab', b'c'])],
    [np.bool_(True), np.int64(-3)],
]


def same(a, b):
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, np.ndarray):
        return (a.dtype == b.dtype and a.shape == b.shape
                and np.array_equal(a, b))
    return a == b


@pytest.mark.parametrize('value', PLAIN)
@pytest.mark.parametrize('protocol', range(6))
def test_plain_data(value, protocol):
    assert same(load_plain_pickle(pickle.dumps(value, protocol)), value)


def test_array_of_objects():
    images = np.empty(2, object)
    images[:] = b'one', np.arange(3, dtype=np.uint8)
    found, = load_plain_pickle(pickle.dumps([images]))
    assert found[0] == b'one' and found[1].tolist() == [0, 1, 2]


# ([b'\xff\xd8', b'ab'], [True]) and an array, as Python 2 wrote them.
PYTHON_2 = [
    (b'\x80\x02]q\x00(U\x02\xff\xd8q\x01U\x02abq\x02e]q\x03\x88a\x86q\x04.',
     ([b'\xff\xd8', b'ab'], [True])),
    (b'\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\n'
     b'q\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02\x85cnumpy\ndtype\nq\x04U'
     b'\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff'
     b'\xffK\x00tb\x89U\x02\x05\xfftb.', np.array([5, 255], np.uint8)),
]


@pytest.mark.parametrize('data,value', PYTHON_2)
def test_python_2(data, value):
    assert same(pickle.loads(data, encoding='bytes'), value)
    assert same(load_plain_pickle(data), value)


class Runs:

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Plain:
    pass


def bent(array, **changes):
    """The pickle of an array whose shape or data were changed."""
    function, args, state = array.__reduce__()
    names = 'version', 'shape', 'dtype', 'fortran', 'data'
    state = tuple({**dict(zip(names, state)), **changes}.values())

    class Bent:

        def __reduce__(self):
            return function, args, state

    return Bent()


BYTES = np.arange(4, dtype=np.uint8)


@pytest.mark.parametrize('value', [
    Runs(os.mkdir, 'it_ran'),
    Runs(eval, 'open("it_ran", "w")'),
    Runs(getattr, 'a', 'upper'),
    Runs(np.fromfile, 'it_ran'),
    Runs(np.load, 'it_ran'),
    Runs(bytearray, 5),
    Runs(bytes, 10),
    Plain(),
    Plain,
    np.ndarray,
    {1: 2},
    {1, 2},
    [1.5],
    ['text'],
    [None],
    np.ones(3),
    np.array(['text']),
    np.array([1.5, b'x'], object),
    np.zeros(2, [('a', 'i4')]),
    np.array([np.datetime64(1, 's')]),
    [[[[b'deep']]]],
    bent(BYTES, shape=(10**12, )),
    bent(BYTES, shape=(-4, )),
    bent(BYTES, shape='x'),
    bent(BYTES, dtype=b'u1'),
    bent(BYTES, data=[b'x'] * 4),
    bent(np.array([b'x', b'y'], object), data=b'12345678' * 2),
    bent(np.array([b'x', b'y'], object), shape=(3, )),
], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_anything_else(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        data = pickle.dumps([b'image', value], protocol)
    except Exception:
        pytest.skip('this protocol has no such object')
    with pytest.raises(PlainPickleError):
        load_plain_pickle(data)
    assert os.listdir(tmp_path) == []


def test_every_cut_and_every_flip():
    """A damaged pickle gives an error or plain data, and never anything
    else."""
    data = pickle.dumps(([b'image' * 9, BYTES], [True]), 2)
    for end in range(len(data)):
        with pytest.raises(PlainPickleError):
            load_plain_pickle(data[:end])
    rng = np.random.default_rng(0)
    for position in range(len(data)):
        for value in rng.integers(0, 256, 6):
            flipped = bytearray(data)
            flipped[position] = value
            try:
                load_plain_pickle(bytes(flipped))
            except PlainPickleError:
                pass


@pytest.mark.parametrize('data', [
    b'\x80\x04\x8e' + struct.pack('<Q', 2**40) + b'x.',
    b'\x80\x02J\x01\x00\x00\x00r\xff\xff\xff\x7f.',
    b'\x80\x02K\x01p2000000000\n.',
    b'\x80\x02\x8b' + struct.pack('<i', 2**30) + b'.',
    b'\x80\x04\x95' + struct.pack('<Q', 2**40) + b'N.',
    b'I' + b'9' * 10000 + b'\n.',
], ids=['bytes', 'memo', 'memo in digits', 'long', 'frame', 'digits'])
def test_little_that_claims_to_be_much(data):
    tracemalloc.start()
    with pytest.raises(PlainPickleError):
        load_plain_pickle(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_lists_that_repeat_lists():
    a = [b'x'] * 2000
    b = [a] * 2000
    data = pickle.dumps([b] * 2000)
    assert len(data) < 20000
    with pytest.raises(PlainPickleError, match='repeats its own parts'):
        load_plain_pickle(data)
    loop = []
    loop.append(loop)
    with pytest.raises(PlainPickleError, match='nested too deep'):
        load_plain_pickle(pickle.dumps(loop))


def test_all_opcodes_are_known():
    """None that calls or imports has slipped in."""
    from sskd_mm.datasets.plain_pickle import PLAIN_OPCODES
    known = {opcode.name for opcode in pickletools.opcodes}
    assert PLAIN_OPCODES < known
    assert not PLAIN_OPCODES & {
        'INST', 'OBJ', 'NEWOBJ', 'NEWOBJ_EX', 'EXT1', 'EXT2', 'EXT4', 'PERSID',
        'BINPERSID', 'NEXT_BUFFER', 'READONLY_BUFFER', 'DICT', 'EMPTY_DICT'
    }
