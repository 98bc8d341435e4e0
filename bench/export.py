"""Writes the ONNX files of real architectures that bench measures and compares: constructors of
torchvision, timm and transformers, and a few written out here where no package has one, all with
random weights from a fixed seed. Nothing is downloaded.

    bench/.cache/venv/bin/python bench/export.py [--out bench/.cache/models] [--only REGEXP] [--force]

Every model is exported by both of PyTorch's exporters: NAME.ts.onnx (TorchScript, opset 17) and
NAME.dynamo.onnx (torch.export, opset 20); NAME.int8.onnx is quantised from the first. models.json beside the files says with which shapes each is run.
Shapes: B batch, T tokens, H heads, D channels per head.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time
import traceback
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch
from torch import nn

MODELS = {}


def model(name, exporters=("ts", "dynamo")):
    """Registers a maker that returns (module, inputs by name, output names, dynamic axes by input name)."""

    def add(f):
        MODELS[name] = (f, exporters)
        return f

    return add


def disturb(m):
    """Gives biases, norms and running statistics values that a mistake would change."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in list(m.named_parameters()) + list(m.named_buffers()):
            if not p.is_floating_point() or p.dim() != 1:
                continue
            if name.endswith(("running_var", "weight")):
                p.copy_(0.8 + 0.4 * torch.rand(p.shape, generator=g))
            elif name.endswith(("running_mean", "bias")):
                p.copy_(0.1 * torch.randn(p.shape, generator=g))
    return m.eval()


def image(n=224, channels=3):
    return {"image": torch.randn(1, channels, n, n)}


# ---- encoders

class Encoder(nn.Module):
    """A BERT whose outputs are a tuple."""

    def __init__(self, **kw):
        super().__init__()
        from transformers import BertConfig, BertModel
        self.bert = BertModel(BertConfig(**kw))

    def forward(self, input_ids, attention_mask, token_type_ids):
        o = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return o.last_hidden_state, o.pooler_output


def encoder(T=128, **kw):
    ids = torch.randint(0, 30522, (1, T))
    ins = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    axes = {k: {0: "batch", 1: "tokens"} for k in ins}
    return disturb(Encoder(**kw)), ins, ["last_hidden_state", "pooler_output"], axes


@model("minilm-l6")
def minilm():
    return encoder(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)


@model("bert-base")
def bert():
    return encoder()


# ---- images

@model("vit-b16")
def vit():
    import timm
    return disturb(timm.create_model("vit_base_patch16_224")), image(), ["logits"], {"image": {0: "batch"}}


@model("resnet50")
def resnet50():
    import torchvision
    return disturb(torchvision.models.resnet50()), image(), ["logits"], {"image": {0: "batch"}}


@model("mobilenetv2")
def mobilenetv2():
    import torchvision
    return disturb(torchvision.models.mobilenet_v2()), image(), ["logits"], {"image": {0: "batch"}}


@model("efficientnet-b0")
def efficientnet():
    import torchvision
    return disturb(torchvision.models.efficientnet_b0()), image(), ["logits"], {"image": {0: "batch"}}


class CifarResNet18(nn.Module):
    """ResNet-18 for 32x32 images: a 3x3 stem without pooling."""

    def __init__(self):
        super().__init__()
        import torchvision
        self.net = torchvision.models.resnet18(num_classes=10)
        self.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.net.maxpool = nn.Identity()

    def forward(self, image):
        return self.net(image)


@model("resnet18-32")
def resnet18():
    return disturb(CifarResNet18()), image(32), ["logits"], {"image": {0: "batch"}}


class Conv(nn.Sequential):
    def __init__(self, i, o, k=3, s=1):
        super().__init__(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o), nn.SiLU())


class Stage(nn.Module):
    """A cross-stage partial block: half of the channels pass through the bottlenecks."""

    def __init__(self, c, n=1):
        super().__init__()
        self.first, self.last = Conv(c, c, 1), Conv(c // 2 * (n + 2), c, 1)
        self.inner = nn.ModuleList(nn.Sequential(Conv(c // 2, c // 2), Conv(c // 2, c // 2)) for _ in range(n))

    def forward(self, x):
        y = list(self.first(x).chunk(2, 1))
        for f in self.inner:
            y.append(f(y[-1]))
        return self.last(torch.cat(y, 1))


class Yolo(nn.Module):
    """A YOLO-type detector: CSP backbone, spatial pyramid, a path down and up, decoded boxes, NonMaxSuppression."""

    def __init__(self, classes=20, c=16):
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(Conv(3, c, 3, 2), Conv(c, 2 * c, 3, 2), Stage(2 * c))
        self.p3 = nn.Sequential(Conv(2 * c, 4 * c, 3, 2), Stage(4 * c, 2))
        self.p4 = nn.Sequential(Conv(4 * c, 8 * c, 3, 2), Stage(8 * c, 2))
        self.p5 = nn.Sequential(Conv(8 * c, 8 * c, 3, 2), Stage(8 * c))
        self.pool, self.spp = nn.MaxPool2d(5, 1, 2), Conv(32 * c, 8 * c, 1)
        self.up4, self.up3 = Conv(16 * c, 8 * c, 1), Conv(12 * c, 4 * c, 1)
        self.head = nn.ModuleList(nn.Conv2d(k * c, 4 + classes, 1) for k in (4, 8, 8))

    def forward(self, image):
        import torchvision
        x3 = self.p3(self.stem(image))
        x4 = self.p4(x3)
        x5 = self.p5(x4)
        pools = [x5]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        x5 = self.spp(torch.cat(pools, 1))
        x4 = self.up4(torch.cat([nn.functional.interpolate(x5, scale_factor=2.0, mode="nearest"), x4], 1))
        x3 = self.up3(torch.cat([nn.functional.interpolate(x4, scale_factor=2.0, mode="nearest"), x3], 1))
        boxes, scores = [], []
        for f, x, stride in zip(self.head, (x3, x4, x5), (8, 16, 32)):
            y = f(x).flatten(2).transpose(1, 2)
            h, w = x.shape[2], x.shape[3]
            gy, gx = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            centre = torch.stack([gx, gy], -1).reshape(1, -1, 2).to(y.dtype) + 0.5
            xy = (centre + y[..., :2].tanh()) * stride
            wh = y[..., 2:4].sigmoid() * 4 * stride
            boxes.append(torch.cat([xy - wh / 2, xy + wh / 2], -1))
            scores.append(y[..., 4:].sigmoid())
        boxes, scores = torch.cat(boxes, 1)[0], torch.cat(scores, 1)[0]
        best, kind = scores.max(1)
        keep = torchvision.ops.nms(boxes, best, 0.45)[:50]
        return boxes[keep], best[keep], kind[keep]


@model("yolo")
def yolo():
    return disturb(Yolo()), image(320), ["boxes", "scores", "classes"], {}


class UNet(nn.Module):
    """A U-Net with three levels; one way up is a transposed convolution, the others are bilinear."""

    def __init__(self, c=16):
        super().__init__()
        two = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(4, o), nn.ReLU(),
                                         nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.d1, self.d2, self.d3, self.mid = two(3, c), two(c, 2 * c), two(2 * c, 4 * c), two(4 * c, 8 * c)
        self.up3 = nn.ConvTranspose2d(8 * c, 4 * c, 2, 2)
        self.u3, self.u2, self.u1 = two(8 * c, 4 * c), two(6 * c, 2 * c), two(3 * c, c)
        self.out = nn.Conv2d(c, 2, 1)

    def forward(self, image):
        half = lambda x: nn.functional.max_pool2d(x, 2)
        twice = lambda x: nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        a = self.d1(image)
        b = self.d2(half(a))
        c = self.d3(half(b))
        x = self.u3(torch.cat([self.up3(self.mid(half(c))), c], 1))
        x = self.u2(torch.cat([twice(x), b], 1))
        return self.out(self.u1(torch.cat([twice(x), a], 1)))


@model("unet")
def unet():
    return disturb(UNet()), image(128), ["mask"], {"image": {0: "batch"}}


class CRNN(nn.Module):
    """Text recognition: convolutions over a line of 32 pixels, two bidirectional LSTMs, classes per column."""

    def __init__(self, classes=37):
        super().__init__()
        step = lambda i, o, pool: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(pool))
        self.conv = nn.Sequential(step(1, 32, 2), step(32, 64, 2), step(64, 128, (2, 1)), step(128, 128, (4, 1)))
        self.rnn = nn.LSTM(128, 96, num_layers=2, bidirectional=True)
        self.out = nn.Linear(192, classes)

    def forward(self, image):
        x = self.conv(image).squeeze(2).permute(2, 0, 1)
        y, _ = self.rnn(x)
        return nn.functional.log_softmax(self.out(y), -1)


@model("crnn")
def crnn():
    return disturb(CRNN()), {"image": torch.randn(1, 1, 32, 160)}, ["logp"], {}


# ---- language models with their cache as inputs and outputs

class Cached(nn.Module):
    """A causal language model whose keys and values of earlier tokens come in and go out as tensors."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm

    def forward(self, input_ids, attention_mask, *past):
        from transformers import DynamicCache
        cache = DynamicCache()
        for i in range(0, len(past), 2):
            cache.update(past[i], past[i + 1], i // 2)
        o = self.lm(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        out = [o.logits]
        for layer in o.past_key_values.layers:
            out += [layer.keys, layer.values]
        return tuple(out)


def cached(lm, layers, H, D, vocab, T=8, past=24):
    ids = torch.randint(0, vocab, (1, T))
    ins = {"input_ids": ids, "attention_mask": torch.ones(1, past + T, dtype=torch.int64)}
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "total"}}
    outs = ["logits"]
    for i in range(layers):
        for kind in ("key", "value"):
            ins[f"past.{i}.{kind}"] = torch.randn(1, H, past, D)
            axes[f"past.{i}.{kind}"] = {0: "batch", 2: "past"}
            outs.append(f"present.{i}.{kind}")
    return disturb(Cached(lm)), ins, outs, axes


@model("gpt2")
def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel
    return cached(GPT2LMHeadModel(GPT2Config()), 12, 12, 64, 50257)


@model("llama-small")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM
    c = LlamaConfig(vocab_size=2000, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
                    num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=512)
    return cached(LlamaForCausalLM(c), 4, 4, 32, 2000)


# ---- the two exporters

def torchscript(path, m, ins, outs, axes):
    torch.onnx.export(m, tuple(ins.values()), str(path), input_names=list(ins), output_names=outs, dynamic_axes=axes,
                      opset_version=17, dynamo=False)


def dynamo(path, m, ins, outs, axes):
    dims = {}
    sym = lambda n: dims.setdefault(n, torch.export.Dim.DYNAMIC if n in ("batch", "total") else torch.export.Dim(n, min=2, max=4096))
    spec = tuple({a: sym(n) for a, n in axes.get(k, {}).items() if n != "batch"} or None for k in ins)
    if any(k.startswith("past.") for k in ins):  # the trailing arguments are one tuple
        spec = spec[:2] + (spec[2:],)
    torch.onnx.export(m, tuple(ins.values()), str(path), input_names=list(ins), output_names=outs,
                      dynamic_shapes=spec if axes else None, opset_version=20, dynamo=True, external_data=False, verbose=False)


EXPORTERS = {"ts": torchscript, "dynamo": dynamo}

QUANTISED = ("bert-base", "minilm-l6")  # NAME.int8.onnx: dynamic int8 of NAME.ts.onnx, by ONNX Runtime


def quantise(path, source):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(source, path, per_channel=False, weight_type=QuantType.QInt8)


def describe(path, name, exporter, ins):
    return {"file": path.name, "model": name, "exporter": exporter,
            "shapes": {k: list(v.shape) for k, v in ins.items()}}


def main():
    p = argparse.ArgumentParser()
    here = pathlib.Path(__file__).resolve().parent
    cache = pathlib.Path(os.environ.get("MUSTER_BENCH_CACHE", here / ".cache"))
    p.add_argument("--out", type=pathlib.Path, default=cache / "models")
    p.add_argument("--only", default="")
    p.add_argument("--force", action="store_true", help="write files that are there already")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    index = a.out / "models.json"
    known = {e["file"]: e for e in json.loads(index.read_text())} if index.exists() else {}
    failed = 0
    for name, (make, exporters) in MODELS.items():
        for exporter in exporters:
            path = a.out / f"{name}.{exporter}.onnx"
            if not re.search(a.only, path.name) or path.exists() and path.name in known and not a.force:
                continue
            torch.manual_seed(7)
            start = time.time()
            part = path.with_suffix(".part")
            try:
                m, ins, outs, axes = make()
                with torch.no_grad():
                    EXPORTERS[exporter](part, m, ins, outs, axes)
            except Exception as e:
                failed += 1
                print(f"FAIL  {path.name}: {type(e).__name__}: {str(e).splitlines()[0][:200]}", flush=True)
                if os.environ.get("MUSTER_BENCH_TRACE"):
                    traceback.print_exc()
                continue
            part.rename(path)
            known[path.name] = describe(path, name, exporter, ins)
            index.write_text(json.dumps([known[k] for k in sorted(known)], indent=1))
            print(f"ok    {path.name}  {path.stat().st_size / 1e6:.1f} MB  {time.time() - start:.1f} s", flush=True)
    for name in QUANTISED:
        path, source = a.out / f"{name}.int8.onnx", a.out / f"{name}.ts.onnx"
        if re.search(a.only, path.name) and source.exists() and (a.force or not path.exists()):
            part = path.with_suffix(".part")
            quantise(part, source)
            part.rename(path)
            known[path.name] = dict(known[source.name], file=path.name, exporter="int8", rtol=0.05)
            index.write_text(json.dumps([known[k] for k in sorted(known)], indent=1))
            print(f"ok    {path.name}  {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
