"""The PyTorch side of the benchmark: LayerNorm-only training steps of a ViT-B/16 encoder.

    pytorch_step.py make WORKLOAD.safetensors TOKENS BATCH
    pytorch_step.py step WORKLOAD.safetensors STEPS GRADIENTS.safetensors THREADS MODE
    pytorch_step.py compare GRADIENTS.safetensors REFERENCE.safetensors

`step` prints one JSON object, as the example bench_step of the library does. The encoder is
written as BLIP's is, with the fused attention that PyTorch offers. MODE is eager (f32), autocast
(bf16) or bf16_weights (frozen weights kept in bf16; norms and the residual stream in f32).
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

LAYERS, WIDTH, HEADS, INTERMEDIATE, EPS = 12, 768, 12, 3072, 1e-6


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x.to(self.qkv.weight.dtype)).view(b, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.projection(x.transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, INTERMEDIATE)
        self.fc2 = nn.Linear(INTERMEDIATE, WIDTH)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x.to(self.fc1.weight.dtype))))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(WIDTH, eps=EPS)
        self.self_attn = Attention()
        self.layer_norm2 = nn.LayerNorm(WIDTH, eps=EPS)
        self.mlp = Mlp()

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(LAYERS))})
        self.post_layernorm = nn.LayerNorm(WIDTH, eps=EPS)

    def forward(self, x):
        for block in self.encoder["layers"]:
            x = block(x)
        return self.post_layernorm(x)


def is_norm(name):
    return "layer_norm" in name or "layernorm" in name


def make(path, tokens, batch):
    torch.manual_seed(0)
    tensors = {"input": torch.randn(int(batch), int(tokens), WIDTH)}
    for name, p in Encoder().named_parameters():
        noise = torch.randn_like(p)
        if is_norm(name):
            tensors[name] = 0.2 * noise + (1 if name.endswith("weight") else 0)
        else:
            tensors[name] = noise * (0.02 if name.endswith("bias") else 0.5 / math.sqrt(p.shape[1]))
    save_file(tensors, path)


def peak_bytes():
    """The most memory that this process has held (Linux's VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def step(path, steps, gradients_out, threads, mode):
    torch.set_num_threads(int(threads))
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast")
    with torch.device("meta"):
        model = Encoder()
    tensors = load_file(path)
    x = tensors.pop("input")
    if mode == "bf16_weights":
        tensors = {n: t if is_norm(n) else t.bfloat16() for n, t in tensors.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    for name, p in model.named_parameters():
        p.requires_grad_(is_norm(name))
    norms = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(norms, lr=1e-3, weight_decay=0.0)
    losses, seconds, cpu_seconds = [], [], []
    for i in range(int(steps)):
        start, cpu_start = time.perf_counter(), time.process_time()
        with autocast:
            y = model(x)
        loss = y.float().square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        if i == 0:
            grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
            save_file(grads, gradients_out)
        optimizer.zero_grad(set_to_none=True)
    measured = {"losses": losses, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes()}
    print(json.dumps(measured))


def compare(found, reference):
    """Prints the largest relative error (Euclidean norm) of a tensor, and its name."""
    found, reference = load_file(found), load_file(reference)
    if found.keys() != reference.keys():
        sys.exit(f"not the same tensors: {sorted(found.keys() ^ reference.keys())}")
    errors = {n: ((found[n] - r).norm() / r.norm()).item() for n, r in reference.items()}
    worst = max(errors, key=errors.get)
    print(json.dumps({"error": errors[worst], "tensor": worst}))


if __name__ == "__main__":
    {"make": make, "step": step, "compare": compare}[sys.argv[1]](*sys.argv[2:])
