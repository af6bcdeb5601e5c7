# 200 epochs in total, as in mmpretrain for CIFAR-10.
_base_ = './sskd_cifar_siblings.py'

sskd = dict(
    train_cfg=dict(
        mimic=dict(max_epochs=150),
        phases={'mimic/last': dict(max_epochs=30)}))
