# sskd_cifar.py for pairs of one family: the student has fewer blocks than the
# teacher, and starts with some of its, spread over each stage. It has the
# teacher's classifier, too, so that at last the backbone can mimic what that
# makes of its features.
_base_ = './sskd_cifar.py'

sskd = dict(
    model=dict(
        stages=['auto', 'neck', 'head.fc'], inherit=['backbone', 'head']),
    train_cfg=dict(
        phases={
            # Logits are larger than features, and so is their distance.
            'mimic/last': dict(optim_wrapper=dict(optimizer=dict(lr=0.03)))
        }))
