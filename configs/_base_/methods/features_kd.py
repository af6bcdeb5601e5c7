# Joint features and KD, with the weights that were best for ResNet-20 on
# held-out images of CIFAR-10 (docs/benchmarks.md).
_base_ = './features.py'

model = dict(
    task_weight=0.1,
    losses=[
        dict(type='FeatureLoss', weight=10),
        dict(type='KDLoss', weight=0.9, temperature=1)
    ])
