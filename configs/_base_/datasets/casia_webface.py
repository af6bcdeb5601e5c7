# CASIA-WebFace of insightface (faces_webface_112x112: 10,572 identities) in
# data/casia_webface/: train.rec, train.idx and lfw.bin.
_base_ = './ms1mv3.py'

data_root = 'data/casia_webface/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
