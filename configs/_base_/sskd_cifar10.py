# 200 epochs in all, as mmpretrain trains on CIFAR-10. The student has fewer of
# the teacher's blocks, and starts with those that it has.
_base_ = './sskd_cifar.py'

sskd = dict(
    model=dict(inherit=['backbone', 'head']),
    train_cfg=dict(
        mimic=dict(max_epochs=150),
        phases={'mimic/last': dict(max_epochs=30)}))
