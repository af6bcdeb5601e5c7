# CIFAR-100 in data/cifar100/cifar-100-python/, as in torchvision.
_base_ = './cifar10.py'

data_root = 'data/cifar100/'
data_preprocessor = dict(
    num_classes=100,
    # 255 times (0.5071, 0.4867, 0.4408) and (0.2675, 0.2565, 0.2761).
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055])
dataset = dict(layout='cifar100', data_root=data_root)
train_dataloader = dict(batch_size=64, dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = val_dataloader
del dataset
