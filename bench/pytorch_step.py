"""The PyTorch side of the benchmark: makes training steps of a workload.

    pytorch_step.py make TASK
    pytorch_step.py step TASK
    pytorch_step.py compare GRADIENTS.safetensors REFERENCE.safetensors

TASK is a JSON object that bench/run.py makes. `step` prints the same JSON object as the library's example
bench_step. `mode` is eager (f32), autocast (bf16), or bf16_weights (autocast with frozen matrices stored in
bf16). Norms and the residual stream are f32 in all modes.
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
    """A value of /proc/self/status in bytes: VmRSS is the resident memory, VmHWM its maximum."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{key}:"))


def step(task):
    torch.set_num_threads(task["threads"])
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=task["mode"] != "eager")
    model, inputs = workloads.load(task)
    for t in model.parameters():
        t.detach().sum()  # reads mapped weights into memory
    trained = workloads.trained(model)
    # The optimizer allocates its state in the first step. Its imports are part of the base.
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
    """Prints the largest relative error (Euclidean norm) of a tensor, and the tensor's name."""
    found, reference = load_file(found), load_file(reference)
    if found.keys() != reference.keys():
        sys.exit(f"the files have different tensors: {sorted(found.keys() ^ reference.keys())}")
    errors = {n: ((found[n] - r).norm() / r.norm()).item() for n, r in reference.items()}
    worst = max(errors, key=lambda name: (errors[name] != errors[name], errors[name]))
    print(json.dumps({"error": errors[worst], "tensor": worst}))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "compare":
        compare(*arguments)
    else:
        {"make": workloads.make, "step": step}[command](json.loads(arguments[0]))
