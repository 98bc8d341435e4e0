"""A peer: ONNX Runtime or PyTorch behind the protocol of bench/engine.go. One JSON object a line comes in on
standard input, one goes out. "open" makes a task ready and returns its outputs, "run" repeats it and returns the
wall and processor nanoseconds of every repetition, "close" drops it.

    python bench/peer.py ort|torch|compile
"""

import gc
import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import numpy as np

ENGINE = sys.argv[1]


def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


# ---- ONNX Runtime

def ort_open(t):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads = t["threads"]
    o.inter_op_num_threads = 1
    o.log_severity_level = 3
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    start = time.perf_counter()
    s = ort.InferenceSession(t["file"], o, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    feeds = {k: np.load(p) for k, p in t["inputs"].items()}
    start = time.perf_counter()
    out = s.run(None, feeds)
    first = time.perf_counter() - start
    return (lambda: s.run(None, feeds)), out, load, first


# ---- PyTorch

def product(t, torch):
    M, K, N = t["shape"]
    g = torch.Generator().manual_seed(1)
    if t.get("model") == "transposed":  # packed: the first operand is transposed, otherwise the second
        if t.get("packed"):
            a, b = torch.randn(K, M, generator=g), torch.randn(K, N, generator=g)
            return lambda: torch.mm(a.T, b)
        a, b = torch.randn(M, K, generator=g), torch.randn(N, K, generator=g)
        return lambda: torch.mm(a, b.T)
    if t["kind"] == "mm":
        a, b = torch.randn(M, K, generator=g), torch.randn(K, N, generator=g)
        return lambda: torch.mm(a, b)
    if t["kind"] == "onednn":  # what torch.compile calls for a linear layer; the weight is packed if t["packed"]
        a, w = torch.randn(M, K, generator=g), torch.randn(N, K, generator=g)
        if t.get("packed"):
            w = torch.ops.mkldnn._reorder_linear_weight(w, M)
        return lambda: torch.ops.mkldnn._linear_pointwise(a, w, None, "none", [], "")
    a = torch.randint(-128, 128, (M, K), generator=g, dtype=torch.int8)
    b = torch.randint(-128, 128, (K, N), generator=g, dtype=torch.int8)
    return lambda: torch._int_mm(a, b)


def gpt(t, torch):
    from torch import nn
    F = nn.functional
    c = t["config"]
    C, heads, V, T, B = c["dim"], c["heads"], c["vocab"], c["tokens"], c["batch"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.mlp1, self.mlp2 = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

        def forward(self, x):
            q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
            return x + self.mlp2(F.gelu(self.mlp1(self.norm2(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(V, C), nn.Embedding(T, C)
            self.block = nn.ModuleList(Block() for _ in range(c["depth"]))
            self.norm = nn.LayerNorm(C)

        def forward(self, ids, labels):
            x = self.token(ids) + self.position.weight
            for b in self.block:
                x = b(x)
            return F.cross_entropy((self.norm(x) @ self.token.weight.T).view(-1, V), labels.view(-1))

    m = GPT()
    # names of the Go side: token, position, blockN.norm1.weight, blockN.attn.qkv.weight [in, out], ...
    own = {}
    for name, p in m.named_parameters():
        n = name.replace("block.", "block").replace(".qkv", ".attn.qkv").replace(".out", ".attn.out")
        own[n.replace("token.weight", "token").replace("position.weight", "position")] = p
    return m, own


def resnet(t, torch):
    from torch import nn
    import torchvision
    F = nn.functional
    m = torchvision.models.resnet18(num_classes=10)
    m.conv1, m.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.m = m

        def forward(self, x, labels):
            return F.cross_entropy(self.m(x), labels)

    return Loss(), {n: p for n, p in m.named_parameters()}


def train(t, torch):
    m, own = {"gpt": gpt, "resnet18": resnet}[t["model"]](t, torch)
    missing = set(own) ^ {f[:-4] for f in os.listdir(t["weights"])}
    if missing:
        raise ValueError(f"the two sides do not have the same parameters: {sorted(missing)[:4]}")
    with torch.no_grad():
        for name, p in own.items():
            w = torch.from_numpy(np.load(os.path.join(t["weights"], name + ".npy")))
            p.copy_(w.T if w.dim() == 2 and name.endswith(".weight") else w)  # a linear layer is [in, out] there
    decay = [p for p in own.values() if p.dim() > 1]
    rest = [p for p in own.values() if p.dim() <= 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, fused=True)
    x, y = (torch.from_numpy(np.load(t["inputs"][k])) for k in ("x", "labels"))
    forward = torch.compile(m) if ENGINE == "compile" else m

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=t["config"].get("half", False)):
            loss = forward(x, y)
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss

    return step


def torch_open(t):
    import torch
    torch.set_num_threads(t["threads"])
    start = time.perf_counter()
    if t["kind"] == "train":
        step = train(t, torch)
        load = time.perf_counter() - start
        start = time.perf_counter()
        losses = [float(step().detach()) for _ in range(t["steps"])]
        return step, [np.array(losses, np.float32)], load, time.perf_counter() - start
    f = product(t, torch)
    load = time.perf_counter() - start
    start = time.perf_counter()
    with torch.no_grad():
        f()
    first = time.perf_counter() - start

    def once():
        with torch.no_grad():
            return f()

    return once, [], load, first


def main():
    if ENGINE != "ort":
        import torch  # before the first task: its import is not a load time
    run = None
    say = sys.stdout
    sys.stdout = sys.stderr  # libraries that print must not disturb the protocol
    for line in sys.stdin:
        t = json.loads(line)
        r = {}
        try:
            if t["cmd"] == "open":
                run, out, load, first = (ort_open if ENGINE == "ort" else torch_open)(t)
                r = {"load": load * 1e9, "first": first * 1e9, "outputs": []}
                for i, x in enumerate(out):
                    p = os.path.join(t["out"], f"{ENGINE}-{i}.npy")
                    np.save(p, np.asarray(x, order="C"))
                    r["outputs"].append(p)
            elif t["cmd"] == "run":
                wall = []
                gc.disable()
                cpu = time.process_time_ns()
                end = time.perf_counter_ns() + t.get("nanos", 0)
                while len(wall) < t["least"] or time.perf_counter_ns() < end and len(wall) < 100000:
                    w = time.perf_counter_ns()
                    run()
                    wall.append(time.perf_counter_ns() - w)
                gc.enable()
                r = {"wall": wall, "cpu": (time.process_time_ns() - cpu) // len(wall)}
            elif t["cmd"] == "close":
                run = None
                gc.collect()
            r["resident"] = resident()
        except Exception as e:
            r = {"error": f"{type(e).__name__}: {str(e)[:300]}"}
        say.write(json.dumps(r) + "\n")
        say.flush()


main()
