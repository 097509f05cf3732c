"""Which policy is chosen, from the device, its instructions, the network and what the recipe asks."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atentdsl.recipe.tables import Compile
from atentdsl.runtime import allocator, machine
from atentdsl.runtime.policy import AS_WRITTEN, ASKED, PRECISIONS, Policy, chosen, policy_of

FLAGS = ["avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16"]
FACTS = ["cuda", "fast_bfloat16", "convolutions", "can_keep"]
facts = st.fixed_dictionaries(dict.fromkeys(FACTS, st.booleans()))


@given(st.sampled_from(ASKED), facts)
def test_the_policy_follows_from_the_facts(asked, given_facts):
    policy = chosen(asked, **given_facts)
    if asked in PRECISIONS:
        assert policy.precision == asked
    else:
        assert policy.precision == ("bfloat16" if given_facts["fast_bfloat16"] else "float32")
    assert policy.channels_last == given_facts["convolutions"]
    assert policy.flush_subnormals != given_facts["cuda"]
    assert policy.keep_freed == (given_facts["can_keep"] and not given_facts["cuda"])
    assert policy.fused == policy.graph == given_facts["cuda"]


@given(st.sampled_from(ASKED), st.sets(st.sampled_from(FLAGS)), st.booleans(), st.booleans())
def test_on_the_processor_its_flags_and_its_library_decide(asked, flags, convolutions, can_keep):
    model = nn.Conv2d(1, 1, 1) if convolutions else nn.Linear(1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "processor_flags", lambda: frozenset(flags))
        patch.setattr(allocator, "can_keep", lambda: can_keep)
        policy = policy_of(model, asked)
    fast = bool(flags & {"avx512_bf16", "amx_bf16"})
    given_facts = {"cuda": False, "fast_bfloat16": fast, "convolutions": convolutions, "can_keep": can_keep}
    assert policy == chosen(asked, **given_facts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_on_a_cuda_device_its_capability_decides():
    policy = policy_of(nn.Linear(1, 1).cuda(), "auto")
    assert (policy.precision == "bfloat16") == (torch.cuda.get_device_capability() >= (8, 0))
    assert policy.fused
    assert policy.graph


def test_a_network_without_weights_is_on_the_processor():
    assert policy_of(nn.Flatten(), "float32") == Policy(flush_subnormals=True, keep_freed=allocator.can_keep())


def test_another_precision_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown precision 'float8'; choose one of auto, float32, bfloat16"):
        policy_of(nn.Linear(1, 1), "float8")


def test_a_recipe_can_ask_for_what_there_is():
    (asked,) = [field.annotation.__args__ for name, field in Compile.model_fields.items() if name == "precision"]
    assert asked == ASKED
    assert Compile().precision == "auto"


@given(st.builds(Policy, st.sampled_from(PRECISIONS), *[st.booleans()] * 5))
def test_the_line_tells_policies_apart(policy):
    others = [attrs.evolve(policy, **{name: not getattr(policy, name)}) for name in list(attrs.asdict(policy))[1:]]
    assert len({policy.line, *(other.line for other in others)}) == 6
    assert policy.line.startswith(policy.precision)


def test_as_written_nothing_is_chosen():
    assert not any(list(attrs.asdict(AS_WRITTEN).values())[1:])
    assert AS_WRITTEN.precision == "float32"
