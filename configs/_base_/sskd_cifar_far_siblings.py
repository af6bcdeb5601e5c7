# sskd_cifar_siblings.py for a student with at most a fifth of the teacher's
# blocks. It cannot match the features, so it mimics the logits for as long.
_base_ = './sskd_cifar_siblings.py'

sskd = dict(
    train_cfg=dict(
        mimic=dict(max_epochs=110),
        phases={
            'mimic/last':
            dict(
                max_epochs=110,
                optim_wrapper=dict(optimizer=dict(lr=0.03)))
        }))
