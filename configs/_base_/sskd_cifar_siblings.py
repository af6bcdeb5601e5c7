# sskd_cifar.py for pairs of one family: the student has fewer blocks than the
# teacher and starts from some of the teacher's, spread over each stage. It
# also has the teacher's classifier, so that finally the backbone can mimic the
# logits.
_base_ = './sskd_cifar.py'

sskd = dict(
    model=dict(
        stages=['auto', 'neck', 'head.fc'], inherit=['backbone', 'head']),
    train_cfg=dict(
        phases={
            # Logits, and their distances, are larger than features.
            'mimic/last': dict(optim_wrapper=dict(optimizer=dict(lr=0.01)))
        }))
