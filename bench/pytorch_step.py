"""The PyTorch side of the benchmark: training steps of a workload.

    pytorch_step.py make TASK
    pytorch_step.py step TASK
    pytorch_step.py compare GRADIENTS.safetensors REFERENCE.safetensors

TASK is a JSON object, as bench/run.py makes it. `step` prints one, as the example bench_step of the
library does. `mode` is eager (f32), autocast (bf16) or bf16_weights (autocast over frozen matrices
kept in bf16; norms and the residual stream are f32 in all).
"""

import gc
import json
import sys
import time

import torch
from safetensors.torch import load_file, save_file

import workloads

LR = 1e-3


def memory(key):
    """A figure of proc(5)'s status file: VmRSS is what the process holds, VmHWM the most it held."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{key}:"))


def step(task):
    torch.set_num_threads(task["threads"])
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=task["mode"] != "eager")
    model, inputs = workloads.load(task)
    for t in model.parameters():
        t.detach().sum()  # brings what is mapped into memory
    trained = workloads.trained(model)
    # Its state comes with the first step; what it imports is here now.
    optimizer = torch.optim.AdamW(trained.values(), lr=LR, weight_decay=0.0)
    gc.collect()
    base = memory("VmRSS")
    losses, seconds, cpu_seconds = [], [], []
    for i in range(task["steps"]):
        start, cpu_start = time.perf_counter(), time.process_time()
        with autocast:
            loss = model(**inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        if i == 0 and task["gradients"]:
            save_file({name: p.grad.clone() for name, p in trained.items()}, task["gradients"])
        optimizer.zero_grad(set_to_none=True)
    measured = {"losses": losses, "seconds": seconds, "cpu_seconds": cpu_seconds}
    print(json.dumps(measured | {"base_bytes": base, "peak_bytes": memory("VmHWM")}))


def compare(found, reference):
    """Prints the largest relative error (Euclidean norm) of a tensor, and its name."""
    found, reference = load_file(found), load_file(reference)
    if found.keys() != reference.keys():
        sys.exit(f"not the same tensors: {sorted(found.keys() ^ reference.keys())}")
    errors = {n: ((found[n] - r).norm() / r.norm()).item() for n, r in reference.items()}
    worst = max(errors, key=lambda name: (errors[name] != errors[name], errors[name]))
    print(json.dumps({"error": errors[worst], "tensor": worst}))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "compare":
        compare(*arguments)
    else:
        {"make": workloads.make, "step": step}[command](json.loads(arguments[0]))
