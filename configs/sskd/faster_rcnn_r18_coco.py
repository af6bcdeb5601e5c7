# Faster R-CNN R50-FPN -> R18-FPN on COCO, 12 epochs in all as schedule_1x.
#
# The recipe is the best that docs/benchmarks.md found on small sets; nobody
# has run it on COCO yet. For the paper's strict form see
# faster_rcnn_r18_coco_paper.py.
_base_ = '../baselines/faster_rcnn_r18_coco.py'

student = _base_.model
# Every stage mimics the teacher, so the config must freeze none.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=student,
    teacher=dict(
        cfg='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
        'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'),
    stages=['neck'],
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])
del student

warmup = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
cosine = dict(
    type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    mimic=dict(max_epochs=5, param_scheduler=[warmup, cosine]),
    # An inherited head is nearly there.
    head=dict(
        max_epochs=1,
        optim_wrapper=dict(optimizer=dict(lr=0.007)),
        param_scheduler=[warmup, cosine]),
    finetune=dict(
        max_epochs=6,
        optim_wrapper=dict(optimizer=dict(lr=0.014)),
        param_scheduler=[warmup, cosine]))
