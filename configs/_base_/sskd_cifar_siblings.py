# sskd_cifar.py for pairs of one family: the student has fewer of the teacher's
# blocks, and starts with those that it has.
_base_ = './sskd_cifar.py'

sskd = dict(model=dict(inherit=['backbone', 'head']))
