# timm's Xception and torchvision's Inception V3 with the generated weights, for the scripts that record them.
"""Weights get to their places by the order in which the modules were made, not by names: the names are what the
package's own table is tested on."""

import inception
from common import (
    CLASSES, CLASSIFIER_GAIN, FIXTURES, SHORTCUTS, need, np, separable_layers, split_statistics, statistics_names,
    xception_shapes, xception_weights,
)  # fmt: skip

torch = need('torch')
functional = torch.nn.functional


# Builds of torchvision for CUDA want operators that they define only beside a PyTorch for CUDA. timm imports it too. The
# definitions last as long as this object.
OPERATORS = torch.library.Library('torchvision', 'FRAGMENT')
for name in ('nms', 'qnms'):
    OPERATORS.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
torchvision, timm = need('torchvision', 'timm')


class Peer:
    """A network of PyTorch's world: how it is built, and our names for its modules in the order of their making."""

    def __init__(self, folder, build, names, weights, statistics):
        self.folder = FIXTURES / folder
        self.build = build
        self.names = names
        self.weights = weights
        self.statistics_names = statistics

    def model(self, weights, dtype='float32', **options):
        """The network in inference mode, with these weights."""
        model = self.build(**options).to(getattr(torch, dtype)).eval()
        for name, tensor in self.tensors(model, 'aux_logits' in options).items():
            if name in weights:
                with torch.no_grad():
                    tensor.copy_(torch.from_numpy(to_torch(weights[name])))
        return model

    def tensors(self, model, auxiliary=False):
        """Our name -> tensor of the model."""
        found = {}
        kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
        modules = [module for module in model.modules() if isinstance(module, kinds)]
        for name, module in zip(self.names(auxiliary), modules, strict=True):
            own = {'weight': module.weight, 'bias': module.bias}
            if isinstance(module, torch.nn.BatchNorm2d):
                own = {'gamma': module.weight, 'beta': module.bias,
                       'running_mean': module.running_mean, 'running_var': module.running_var}  # fmt: skip
            found.update({f'{name}.{part}': tensor for part, tensor in own.items() if tensor is not None})
        return found

    def read(self, model):
        return {name: from_torch(tensor) for name, tensor in self.tensors(model).items()}


def to_torch(array):
    """[out, height, width, in] -> [out, in, height, width]."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)


def from_torch(tensor):
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def nchw(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def predict(model, images):
    """Logits [n, classes] in inference mode."""
    with torch.no_grad():
        return model(nchw(images)).numpy()


def softmax(logits):
    return functional.softmax(torch.from_numpy(np.asarray(logits)).float(), dim=1).numpy()


# ---- timm ----


def timm_names(_auxiliary):
    """timm's blocks make the shortcut first; pointwise convolutions follow their depthwise ones."""
    shortcuts = {name.split('_')[0] for name, *_ in SHORTCUTS}
    names = ['block1_conv1', 'block1_conv1_bn', 'block1_conv2', 'block1_conv2_bn']
    block = None
    for name, *_ in separable_layers():
        if name.split('_')[0] != block:
            block = name.split('_')[0]
            if block in shortcuts:
                names += [f'{block}_shortcut', f'{block}_shortcut_bn']
        names += [f'{name}.depthwise', f'{name}.pointwise', f'{name}_bn']
    return [*names, 'predictions']


def build_timm():
    return timm.create_model('legacy_xception', pretrained=False, num_classes=CLASSES)


def timm_weights(gain=CLASSIFIER_GAIN):
    """With running statistics of its own (torch_forward.py): most variances are below the epsilon of Keras, which
    damps the signal, and above that of timm, which does not."""
    weights = xception_weights(gain=gain)
    file = FIXTURES / 'timm' / 'statistics.npy'
    return {**weights, **split_statistics(np.load(file), xception_shapes(CLASSES))} if file.exists() else weights


TIMM = Peer('timm', build_timm, timm_names, timm_weights, statistics_names)


# ---- torchvision ----

AUXILIARY = [('aux_conv1', 768, 128, 1, 1), ('aux_conv2', 128, 768, 5, 5)]


def torchvision_names(auxiliary):
    names = []
    for name, *_ in inception.CONVOLUTIONS:
        if name == 'mixed8_3x3_1' and auxiliary:
            for side, *_ in AUXILIARY:
                names += [side, f'{side}_bn']
            names.append('aux_predictions')
        names += [name, f'{name}_bn']
    return [*names, 'predictions']


def torchvision_shapes(auxiliary=False):
    """Our name -> shape, beside those of Keras' network: scales, and the classifier at the side."""
    shapes = {f'{name}_bn.gamma': (outputs,) for name, _, outputs, *_ in inception.CONVOLUTIONS}
    if auxiliary:
        for name, inputs, outputs, height, width in AUXILIARY:
            shapes[f'{name}.weight'] = (outputs, height, width, inputs)
            shapes.update({f'{name}_bn.{part}': (outputs,) for part in ('gamma', 'beta', 'running_mean', 'running_var')})
        shapes['aux_predictions.weight'] = (CLASSES, 768)
        shapes['aux_predictions.bias'] = (CLASSES,)
    return shapes


def torchvision_weights(gain=inception.CLASSIFIER_GAIN, auxiliary=False):
    more = {name: inception.generated(name, shape, gain=gain) for name, shape in torchvision_shapes(auxiliary).items()}
    return {**inception.recorded_weights(gain=gain), **more}


def build_torchvision(aux_logits=False, transform_input=False):
    return torchvision.models.inception_v3(
        num_classes=CLASSES, aux_logits=aux_logits, transform_input=transform_input, dropout=0.0, init_weights=False
    )


TORCHVISION = Peer(
    'torchvision', build_torchvision, torchvision_names, torchvision_weights, inception.statistics_names
)
