"""Prints what torch.optim.AdamW makes of the parameters in crates/normed/src/train/adamw.rs's test."""

import torch

matrix = torch.nn.Parameter(torch.tensor([[0.5, -1.5], [2.0, 1.0]]))
gain = torch.nn.Parameter(torch.tensor([0.5, -1.5]))
optimizer = torch.optim.AdamW(
    [{"params": [matrix], "weight_decay": 0.1}, {"params": [gain], "weight_decay": 0.0}],
    betas=(0.9, 0.999),
    eps=1e-8,
)
for lr, factor in [(0.1, 1.0), (0.05, -0.5), (0.02, 3.0)]:
    for group in optimizer.param_groups:
        group["lr"] = lr
    for parameter in (matrix, gain):
        indices = torch.arange(parameter.numel(), dtype=torch.float32)
        parameter.grad = ((indices - 1.2) * factor).reshape(parameter.shape)
    optimizer.step()
for name, parameter in (("MATRIX", matrix), ("GAIN", gain)):
    print(name, [f"{value:.8f}" for value in parameter.detach().flatten().tolist()])
