# Copyright (c) sskd_mm authors. All rights reserved.
import pytest

from sskd_mm.check_keys import arguments, check_keys, did_you_mean


class Base:

    def __init__(self, a, b=1, **unknown):
        pass


class Child(Base):

    def __init__(self, c, **kwargs):
        pass


class Grandchild(Child):
    pass


def test_arguments():
    assert arguments(Base, Base) == ['a', 'b']
    assert arguments(Grandchild, Base) == ['c', 'a', 'b']


def test_check_keys():
    check_keys('model', ['mimic', 'head'], ['head', 'mimic', 'other'])
    with pytest.raises(ValueError) as error:
        check_keys('model', ['head', 'mimc'], ['head', 'mimic'])
    assert str(error.value) == (
        "model has the key 'mimc', which is none of head, mimic. Did you "
        "mean 'mimic'?")


def test_nothing_near():
    assert did_you_mean('xyz', ['head', 'mimic']) == ''
