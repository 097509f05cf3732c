"""What a misspelt word was meant to be: names from other libraries first, then close spelling."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What other libraries and papers call it -> what it may be called here, in the order of preference. Which of these is
# meant depends on the table the word stands in: the first that is accepted there is taken. Words are in lower case,
# with `_` for `-`.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    # sizes of sets and noises
    "eps": ("epsilon", "radius", "noise"),
    "epsilon": ("radius", "noise"),
    "bound": ("radius",),
    "budget": ("radius",),
    "delta": ("radius",),
    "r": ("radius",),
    "d_max": ("radius",),
    "sigma": ("sd", "sigma", "noise"),
    "std": ("sd", "sigma", "noise"),
    "stddev": ("sd", "sigma", "noise"),
    "sd": ("sigma", "noise"),
    "scale": ("sd", "sigma", "noise", "radius"),
    "noise_sd": ("sd", "noise", "sigma"),
    "noise_std": ("sd", "noise", "sigma"),
    "temperature": ("noise",),
    "thermal_noise": ("noise",),
    # moves
    "steps": ("moves", "epochs"),
    "n_steps": ("moves",),
    "nb_iter": ("moves",),
    "num_steps": ("moves",),
    "k": ("moves",),
    "l": ("moves",),
    "iter": ("moves",),
    "iters": ("moves",),
    "num_iter": ("moves",),
    "iterations": ("moves", "epochs"),
    "max_iter": ("moves", "epochs"),
    "perturb_steps": ("moves",),
    "langevin_steps": ("moves",),
    "num_restarts": ("restarts",),
    "n_restarts": ("restarts",),
    "random_restarts": ("restarts",),
    "step": ("step_size",),
    "stepsize": ("step_size",),
    "eta": ("step_size", "lr"),
    "eta_prime": ("step_size",),
    "alpha": ("step_size",),
    "lr_inner": ("step_size",),
    "inner_lr": ("step_size",),
    "eps_iter": ("step_size",),
    "eps_step": ("step_size",),
    "eps_step_size": ("step_size",),
    "rel_stepsize": ("step_size",),
    "decay": ("alpha", "mu", "momentum", "weight_decay"),
    "decay_rate": ("alpha",),
    "ema": ("alpha", "exponential"),
    "burn_in": ("b",),
    "burnin": ("b",),
    # target and objective
    "lambda": ("beta", "gamma"),
    "lam": ("beta", "gamma"),
    "inverse_temperature": ("beta",),
    "trades_beta": ("beta",),
    "scope": ("gamma",),
    "penalty": ("coupling",),
    "regulariser": ("coupling",),
    "regularizer": ("coupling",),
    "proximity": ("coupling",),
    "reduce": ("reduction",),
    "sum": ("per_example",),
    "mean": ("batch_mean", "mean"),
    "maximize": ("direction", "ascend"),
    "maximise": ("ascend",),
    "max": ("ascend",),
    "minimize": ("direction", "descend"),
    "minimise": ("descend",),
    "min": ("descend",),
    "criterion": ("loss", "kind"),
    "loss_fn": ("loss",),
    "loss": ("objective", "kind"),
    "ce": ("cross_entropy",),
    "xent": ("cross_entropy",),
    "nll": ("cross_entropy",),
    "crossentropy": ("cross_entropy",),
    "cross_entropy_loss": ("cross_entropy",),
    "kl": ("kl_to_clean",),
    "kl_div": ("kl_to_clean",),
    "kld": ("kl_to_clean",),
    "bce": ("boosted_cross_entropy",),
    "cw": ("margin",),
    "carlini_wagner": ("margin",),
    "hinge": ("margin",),
    "ibp": ("interval_bound",),
    # kinds
    "type": ("kind", "name"),
    "name": ("kind",),
    "kind": ("name",),
    "method": ("kind",),
    "class": ("kind",),
    "sgld": ("langevin",),
    "ula": ("langevin",),
    "pgd": ("gradient",),
    "fgsm": ("gradient",),
    "hmc": ("mala",),
    "metropolis": ("mala",),
    "random": ("uniform", "radial"),
    "rand": ("uniform",),
    "normal": ("gaussian",),
    "randn": ("gaussian",),
    "bernoulli": ("corner",),
    "rademacher": ("corner",),
    "zeros": ("zero",),
    "identity": ("zero", "none"),
    "persistent": ("carry",),
    "mma": ("margin_search",),
    "norm": ("drift", "kind", "normalise"),
    "normalize": ("normalise", "drift"),
    "normalization": ("drift", "normalise"),
    "nu": ("drift",),
    "grad_norm": ("drift",),
    "linf": ("linf_ball", "sign", "linf"),
    "l_inf": ("linf", "linf_ball", "sign"),
    "inf": ("linf", "linf_ball", "sign"),
    "max_norm": ("linf", "linf_ball"),
    "l2": ("l2_ball",),
    "l_2": ("l2", "l2_ball"),
    "euclidean": ("l2", "l2_ball"),
    "l1": ("l1_ball",),
    "l_1": ("l1", "l1_ball"),
    "clip": ("box", "increment_clip", "projection"),
    "clamp": ("box",),
    "clip_grad": ("gradient_clipping",),
    "project": ("projection",),
    "projections": ("projection",),
    "proposal": ("kernel",),
    "init": ("start",),
    "initial": ("start",),
    "rand_init": ("start",),
    "random_start": ("start",),
    "attack": ("sampler",),
    "samplers": ("sampler",),
    "average": ("averaging", "mean"),
    "filter": ("averaging",),
    "ema_average": ("exponential",),
    # data, network and optimizer
    "dataset": ("data", "name"),
    "batch_size": ("batch",),
    "batchsize": ("batch",),
    "bs": ("batch",),
    "augmentation": ("augment",),
    "transforms": ("augment",),
    "replay": ("repeat",),
    "replays": ("repeat",),
    "minibatch_replays": ("repeat",),
    "arch": ("model", "name"),
    "architecture": ("model", "name"),
    "net": ("model",),
    "network": ("model",),
    "pretrained": ("init",),
    "checkpoint": ("init",),
    "training": ("train",),
    "evaluation": ("eval", "evaluate"),
    "lr": ("lr", "step_size"),
    "learning_rate": ("lr", "step_size"),
    "lr_max": ("lr",),
    "wd": ("weight_decay",),
    "l2_regularization": ("weight_decay",),
    "mu": ("momentum",),
    "momentum": ("mu",),
    "beta1": ("momentum", "betas"),
    "num_epochs": ("epochs",),
    "n_epochs": ("epochs",),
    "epoch": ("epochs",),
    "opt": ("optimizer",),
    "optim": ("optimizer",),
    "optimiser": ("optimizer",),
    "adam": ("adamw",),
    "milestones": ("at",),
    "boundaries": ("at",),
    "values": ("value",),
    "multistep": ("piecewise",),
    "step_lr": ("piecewise",),
    "cosine_annealing": ("cosine",),
    "triangular": ("cyclic",),
    "one_cycle": ("cyclic",),
    "fixed": ("constant",),
    # the recipe itself
    "version": ("schema",),
    "schema_version": ("schema",),
    "base": ("extends",),
    "inherits": ("extends",),
    "extend": ("extends",),
    "title": ("name",),
    "random_seed": ("seed",),
    "dtype": ("precision",),
    "tol": ("tolerance",),
    "aa": ("autoattack",),
    "auto_attack": ("autoattack",),
    "evaluations": ("evaluate",),
    "test": ("evaluate",),
}


def suggest(word: str, accepted: Iterable[str]) -> str | None:
    """Find the accepted word that was meant; None where there is no telling or the word is accepted itself.

    A word that differs in case or in `-` and `_` only comes first, then what other libraries call it, then close
    spelling.

    >>> suggest("eps", ["kind", "radius", "when"]), suggest("eps", ["step_size", "noise"])
    ('radius', 'noise')
    >>> suggest("noize", ["step_size", "noise", "drift"])
    'noise'
    >>> suggest("Step-Size", ["step_size", "noise"])
    'step_size'
    """
    words = list(accepted)
    if word in words:
        return None
    by_form: dict[str, str] = {}
    for candidate in words:
        by_form.setdefault(_form(candidate), candidate)
    wanted = _form(word)
    if wanted in by_form:
        return by_form[wanted]
    for alias in _ALIASES.get(wanted, ()):
        if alias in words:
            return alias
    close = difflib.get_close_matches(wanted[:100], by_form, 1)
    return by_form[close[0]] if close else None


def _form(word: str) -> str:
    return word.casefold().replace("-", "_")
