# Copyright (c) sskd_mm authors. All rights reserved.
"""Small pickles that take gigabytes or crash an unpickler, in both readers
that go by this check."""
import pickle
import resource
import struct

import pytest

from sskd_mm.datasets import (CIFARFileError, PlainPickleError,
                              load_plain_pickle, read_cifar_pickle)

MANY = 200000
BEGIN = b'\x80\x02'
#: The first of each is a million bytes at most; hashed, it crashes CPython.
NESTED = {
    'tuples of one': b')' + b'\x85' * MANY,
    'tuples of two': b'N' * MANY + b')' + b'\x86' * MANY,
    'tuples of three': b'NN' * MANY + b')' + b'\x87' * MANY,
    'by marks': b'(' * MANY + b't' * MANY,
    'by the memo': b')' + b'q\x00h\x00\x86' * MANY,
    'by the long memo': b')' + b'r\x00\x00\x00\x00j\x00\x00\x00\x00\x86' *
    MANY,
    'after a list': b'])\x86)\x86' + b'\x85' * MANY,
    'around popped marks': b')' + b'(0\x85' * MANY,
    'around popped items': b')' + b'(NN1\x85' * MANY,
}
MEMOS = {
    'long_binput': b'r\xff\xff\xff\x0f',
    'binput and a number': b'p268435455\n',
}


def as_key(nested):
    return BEGIN + b'}' + nested + b'K\x01s.'


def as_item(nested):
    return BEGIN + b']' + nested + b'a.'


@pytest.fixture
def read(tmp_path):
    """Both readers, with 2 GiB more than the process has by now."""

    def read(data):
        (tmp_path / 'file').write_bytes(data)
        with pytest.raises(PlainPickleError):
            load_plain_pickle(data)
        with pytest.raises(CIFARFileError) as error:
            read_cifar_pickle(str(tmp_path / 'file'))
        return str(error.value)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield read
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 300 << 10, 'KiB'


@pytest.mark.parametrize('nested', NESTED.values(), ids=NESTED)
@pytest.mark.parametrize('wrap', [as_key, as_item])
def test_nested_tuples(read, wrap, nested):
    assert 'nests tuples more than 100 deep' in read(wrap(nested))


@pytest.mark.parametrize('put', MEMOS.values(), ids=MEMOS)
def test_memo_of_a_billion(read, put):
    message = read(BEGIN + b']' + put + b'.')
    assert '268435455' in message and 'bytes hold at most' in message


@pytest.mark.parametrize('data', [
    BEGIN + b'\x8a\xff' + b'\x01' * 255 + b'.',
    BEGIN + b'\x8b' + struct.pack('<i', 9999) + b'\x01' * 9999 + b'.',
    b'I' + b'9' * 4000 + b'\n.',
], ids=['long1', 'long4', 'digits'])
def test_integers_that_cannot_be_printed(read, data):
    assert 'needs more than 256' in read(data)


@pytest.mark.parametrize('data', [
    b't.', b'0.', b'(\x85.', b'\x86.', b'h\x05.', b'q\x05.', b'N1.', b'a.',
    b'(e.', b''
])
def test_opcodes_that_miss_something(read, data):
    assert 'cannot be read' in read(BEGIN + data)


@pytest.mark.parametrize('protocol', range(2, 6))
def test_tuples_up_to_the_bound(protocol):
    """The count is right where containers, marks and the memo mix."""
    value = ()
    for number in range(100):
        value = (value, number, (), [number], value)[:1 + number % 5]
    data = pickle.dumps([value, value], protocol)
    with pytest.raises(PlainPickleError, match='where only lists, tuples'):
        load_plain_pickle(data)
    with pytest.raises(PlainPickleError, match='nests tuples'):
        load_plain_pickle(pickle.dumps([(value, )], protocol))
