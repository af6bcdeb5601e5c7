# Mimicking only, which needs no labels: here on the training images without
# theirs; everyone.txt also lists images of the verified people. The student
# has no class centres, and there is no head phase.
_base_ = './iresnet18_mobilefacenet_orl.py'

model = dict(
    student=dict(head=dict(_delete_=True, type='EmbeddingHead')), inherit=[])
train_cfg = dict(
    mimic=dict(max_epochs=15), head=dict(max_epochs=0))
train_dataloader = dict(
    dataset=dict(ann_file='unlabelled.txt', with_label=False))
