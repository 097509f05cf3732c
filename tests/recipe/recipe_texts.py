"""A recipe with a line of every sort, whose places the tests count on."""

TEXT = """\
schema = 1
[recipe]
name = "mine"
seed = 1
[data]
name = "digits"
batch = 64
[model]
name = "mlp"
[[sampler]]
name = "attack"
moves = 5
[sampler.target]
coupling = { kind = "l2", gamma = 0.5 }
[sampler.start]
kind = "corner"
radius = 0.1
[sampler.kernel]
kind = "langevin"
step_size = 0.01
noise = 1e-3
drift = "sign"
[[sampler.projection]]
kind = "linf_ball"
radius = 0.1
[sampler.averaging]
kind = "mean"
burn_in = 2
[optimizer]
kind = "sgd"
epochs = 2
lr = { kind = "cosine", start = 0.1 }
momentum = 0.9
[evaluate]
attacks = ["pgd-20"]
"""
