"""Backbones against their equations written out, and how a backbone is found by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_features import random_features

from distributed_il.core.config import ModelConfig
from distributed_il.core.errors import UserError
from distributed_il.data.features import Features
from distributed_il.models.backbones import GMF, MLP, Backbone, BiasMF, DeepFM, NeuMF, load_backbone

BACKBONES = ["gmf", "neumf", "bias_mf", "mlp", "deepfm", "backbones:Biased", "backbones:DotProduct"]


def load(name: str, *, dim: int = 4, seed: int = 1, dtype: str = "float64") -> Backbone:
    return load_backbone(ModelConfig(backbone=name, embedding_dim=dim, dtype=dtype), seed=seed)


def rows(backbone: Backbone, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dtype = next(backbone.parameters(), torch.zeros((), dtype=torch.float64)).dtype
    user_rows = torch.randn(count, backbone.user_dim, generator=generator, dtype=torch.float64)
    item_rows = torch.randn(count, backbone.item_dim, generator=generator, dtype=torch.float64)
    return user_rows.to(dtype), item_rows.to(dtype)


def test_gmf_by_hand() -> None:
    """h = (1, −2), b = 0.5: (1·3)·1 + (2·4)·(−2) + 0.5 = 3 − 16 + 0.5; (0.5·2)·1 + (−1·1)·(−2) + 0.5 = 3.5."""
    gmf = load("gmf", dim=2)
    assert isinstance(gmf, GMF)
    with torch.no_grad():
        gmf.predict.weight.copy_(torch.tensor([[1.0, -2.0]]))
        gmf.predict.bias.fill_(0.5)
    users = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    items = torch.tensor([[3.0, 4.0], [2.0, 1.0]], dtype=torch.float64)
    assert gmf(users, items).tolist() == [-12.5, 3.5]


def test_neumf_is_its_equation() -> None:
    """x = hᵀ[p_u ⊙ q_i, φ₃(φ₂(φ₁([p'_u, q'_i])))] + b with φ(z) = max(0, Wz + c)."""
    neumf = load("neumf", dim=3)
    assert isinstance(neumf, NeuMF)
    user_rows, item_rows = rows(neumf, 5)
    named = dict(neumf.named_parameters())
    expected = []
    for p, q in zip(user_rows, item_rows, strict=True):
        hidden = torch.cat([p[3:], q[3:]])
        for layer in (0, 2, 4):
            hidden = (named[f"perceptron.{layer}.weight"] @ hidden + named[f"perceptron.{layer}.bias"]).clamp(min=0)
        both = torch.cat([p[:3] * q[:3], hidden])
        expected.append(named["predict.weight"][0] @ both + named["predict.bias"][0])
    torch.testing.assert_close(neumf(user_rows, item_rows), torch.stack(expected))


def test_neumf_has_three_layers_that_halve_down_to_the_embedding() -> None:
    neumf = load("neumf", dim=32)
    shapes = {name: tuple(parameter.shape) for name, parameter in neumf.named_parameters()}
    assert neumf.user_dim == neumf.item_dim == 32 + 128
    assert [shapes[f"perceptron.{layer}.weight"] for layer in (0, 2, 4)] == [(128, 256), (64, 128), (32, 64)]
    assert shapes["predict.weight"] == (1, 64)
    assert load("gmf", dim=32).user_dim == 32


def test_bias_mf_by_hand() -> None:
    """(1·3 + 2·4) + 0.5 + 0.25 − 1 = 10.75; (0.5·2 − 1·1) + (−2) + 0.125 − 1 = −2.875."""
    bias_mf = load("bias_mf", dim=2)
    assert isinstance(bias_mf, BiasMF)
    with torch.no_grad():
        bias_mf.offset.fill_(-1.0)
    users = torch.tensor([[1.0, 2.0, 0.5], [0.5, -1.0, -2.0]], dtype=torch.float64)
    items = torch.tensor([[3.0, 4.0, 0.25], [2.0, 1.0, 0.125]], dtype=torch.float64)
    assert bias_mf(users, items).tolist() == [10.75, -2.875]


def deepfm_with_features(dim: int = 3) -> tuple[DeepFM, Features]:
    """With values of all orders of size, in particular for first-order weights and the unknown value."""
    features = random_features(5, 4)
    config = ModelConfig(backbone="deepfm", embedding_dim=dim, dtype="float64")
    deepfm = load_backbone(config, seed=1, features=features)
    assert isinstance(deepfm, DeepFM)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in deepfm.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return deepfm, features


def test_deepfm_is_a_double_loop_over_fields_beside_a_perceptron() -> None:
    """x = Σ_f w_f + Σ_{f<g} e_f · e_g + hᵀ φ₃(φ₂(φ₁([e_1, …]))) + b with φ(z) = max(0, Wz + c)."""
    deepfm, features = deepfm_with_features()
    users, items = torch.tensor([0, 1, 2, 3, 4, 4]), torch.tensor([3, 2, 1, 0, 3, 1])
    features = replace(features, items=torch.tensor([[0, 0, 0], [2, 0, 0], [1, 4, 0], [1, 2, 3]]))
    user_rows, item_rows = rows(deepfm, 6)
    named = dict(deepfm.named_parameters())
    expected = []
    for pair in range(6):
        fields = [user_rows[pair]]
        fields += [named[f"user_features.{c}"][int(features.users[users[pair], c])] for c in range(2)]
        # The mean of the rows of an item's values, which stand in front; of none it is the row of the unknown value.
        several = [code for code in features.items[items[pair]].tolist() if code] or [0]
        mean = torch.stack([named["item_features.0"][code] for code in several]).sum(dim=0) / len(several)
        fields += [item_rows[pair], mean]
        logit = named["predict.bias"][0]
        for f, one in enumerate(fields):
            logit = logit + one[3]
            for other in fields[f + 1 :]:
                logit = logit + one[:3] @ other[:3]
        hidden = torch.cat([field[:3] for field in fields])
        for layer in (0, 2, 4):
            hidden = (named[f"perceptron.{layer}.weight"] @ hidden + named[f"perceptron.{layer}.bias"]).clamp(min=0)
        expected.append(logit + named["predict.weight"][0] @ hidden)
    torch.testing.assert_close(deepfm(user_rows, item_rows, *features.codes(users, items)), torch.stack(expected))


def test_deepfm_has_a_row_for_each_value_and_for_the_unknown_one() -> None:
    deepfm, features = deepfm_with_features()
    assert (features.user_values, features.item_values) == ((2, 7), (4,))
    shapes = {name: tuple(parameter.shape) for name, parameter in deepfm.named_parameters()}
    assert [shapes[f"user_features.{c}"] for c in range(2)] == [(3, 4), (8, 4)]
    assert shapes["item_features.0"] == (5, 4)
    assert [shapes[f"perceptron.{layer}.weight"] for layer in (0, 2, 4)] == [(12, 15), (6, 12), (3, 6)]
    assert deepfm.user_dim == deepfm.item_dim == 4


@pytest.mark.parametrize("more", [0, 1, 5])
def test_how_much_room_there_is_for_values_does_not_matter(more: int) -> None:
    deepfm, features = deepfm_with_features()
    wider = DeepFM(3, user_values=(2, 7), item_values=(4,), user_widths=(1, 1), item_widths=(3 + more,)).double()
    wider.load_state_dict(deepfm.state_dict())
    users, items = torch.arange(4), torch.arange(4)
    user_codes, item_codes = features.codes(users, items)
    more_room = torch.cat([item_codes, torch.zeros(4, more, dtype=item_codes.dtype)], dim=1)
    expected = deepfm(*rows(deepfm, 4), user_codes, item_codes)
    torch.testing.assert_close(wider(*rows(deepfm, 4), user_codes, more_room), expected, rtol=1e-14, atol=1e-14)
    with torch.no_grad():
        pairs = wider.all_pairs(*rows(deepfm, 4), user_codes, more_room)
    torch.testing.assert_close(pairs.diagonal(), expected, rtol=1e-12, atol=1e-12)


def test_of_one_value_each_a_column_is_as_ever() -> None:
    """The same bits, whether it has room for one or for several: a mean of one."""
    deepfm, features = deepfm_with_features()
    single = DeepFM(3, user_values=(2, 7), item_values=(4,)).double()
    single.load_state_dict(deepfm.state_dict())
    user_codes, item_codes = features.codes(torch.arange(4), torch.arange(4))
    item_codes[:, 1:] = 0
    pair_rows = rows(deepfm, 4)
    assert torch.equal(single(*pair_rows, user_codes, item_codes[:, :1]), deepfm(*pair_rows, user_codes, item_codes))


def test_a_backbone_that_takes_one_value_of_each_feature_is_not_given_several() -> None:
    features = random_features(5, 4)
    config = ModelConfig(backbone="one_value:OneValue", embedding_dim=2)
    load_backbone(config, seed=0, features=replace(features, user_widths=(), item_widths=()))
    with pytest.raises(UserError, match="OneValue takes one value of each side feature, and some here have several"):
        load_backbone(config, seed=0, features=features)


def test_deepfm_over_ids_alone_by_hand() -> None:
    """The perceptron silenced: (1·3 + 2·4) + 0.5 + 0.25 − 1 = 10.75, as of BiasMF."""
    deepfm = load("deepfm", dim=2)
    assert isinstance(deepfm, DeepFM)
    with torch.no_grad():
        deepfm.predict.weight.zero_()
        deepfm.predict.bias.fill_(-1.0)
    users, items = torch.tensor([[1.0, 2.0, 0.5]]).double(), torch.tensor([[3.0, 4.0, 0.25]]).double()
    assert deepfm(users, items).tolist() == [10.75]


@pytest.mark.parametrize("cls", [DeepFM, Backbone])
def test_all_pairs_with_side_features_are_the_pairs_one_by_one(
    cls: type[Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed_il.models.backbones.backbone.ITEMS_AT_ONCE", 3)
    deepfm, features = deepfm_with_features()
    user_rows, item_rows = rows(deepfm, 5)[0], rows(deepfm, 4, seed=1)[1]
    with torch.no_grad():
        logits = cls.all_pairs(deepfm, user_rows, item_rows, features.users, features.items)
        for u in range(5):
            of_user = torch.full((4,), u)
            codes = features.codes(of_user, torch.arange(4))
            torch.testing.assert_close(logits[u], deepfm(user_rows[of_user], item_rows, *codes))


def test_mlp_is_neumf_without_its_product() -> None:
    """NeuMF whose h is 0 for the product of embeddings has the perceptron alone left."""
    neumf, mlp = load("neumf", dim=3), load("mlp", dim=3)
    assert isinstance(neumf, NeuMF)
    assert isinstance(mlp, MLP)
    with torch.no_grad():
        mlp.perceptron.load_state_dict(neumf.perceptron.state_dict())
        mlp.predict.weight.copy_(neumf.predict.weight[:, 3:])
        mlp.predict.bias.fill_(0.5)
        neumf.predict.weight[:, :3] = 0
        neumf.predict.bias.fill_(0.5)
    user_rows, item_rows = rows(neumf, 5)
    assert mlp.user_dim == mlp.item_dim == 12
    torch.testing.assert_close(mlp(user_rows[:, 3:], item_rows[:, 3:]), neumf(user_rows, item_rows))


@pytest.mark.parametrize("name", BACKBONES)
def test_all_pairs_are_the_pairs_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three of the four items at a time: 16 float64 of each come out of the widest layer.
    monkeypatch.setattr("distributed_il.models.backbones.backbone.ITEMS_AT_ONCE", 3)
    monkeypatch.setattr("distributed_il.models.backbones.perceptron.TILE_BYTES", 3 * 16 * 8)
    backbone = load(name)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1)  # an offset or a bias of 0 would hide one that is left out
        user_rows, item_rows = rows(backbone, 5)[0], rows(backbone, 4, seed=1)[1]
        logits = backbone.all_pairs(user_rows, item_rows)
        assert logits.shape == (5, 4)
        for u in range(5):
            for i in range(4):
                torch.testing.assert_close(logits[u, i], backbone(user_rows[u : u + 1], item_rows[i : i + 1])[0])


@pytest.mark.parametrize("name", BACKBONES)
def test_logits_are_one_for_each_pair_and_each_pair_stands_alone(name: str) -> None:
    backbone = load(name)
    user_rows, item_rows = rows(backbone, 6)
    logits = backbone(user_rows, item_rows)
    assert logits.shape == (6,)
    assert logits.dtype == torch.float64
    for k in range(6):
        torch.testing.assert_close(backbone(user_rows[k : k + 1], item_rows[k : k + 1])[0], logits[k])
    assert backbone(user_rows[:0], item_rows[:0]).shape == (0,)
    assert torch.equal(backbone(user_rows, item_rows), logits)  # no chance in it


def test_gmf_starts_as_plain_matrix_factorisation() -> None:
    gmf = load("gmf")
    user_rows, item_rows = rows(gmf, 5)
    torch.testing.assert_close(gmf(user_rows, item_rows).detach(), (user_rows * item_rows).sum(dim=1))


def test_the_seed_decides_the_tower_and_the_global_random_state_stays() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second, other = load("neumf"), load("neumf"), load("neumf", seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for ours, same in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, same)
    assert any(not torch.equal(ours, o) for ours, o in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tower_has_the_dtype_asked_for(dtype: str) -> None:
    assert {parameter.dtype for parameter in load("neumf", dtype=dtype).parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gmff", "it must be one of gmf, neumf, bias_mf, mlp, deepfm, or module:Class"),
        ("no_such_module:Net", "can't be imported"),
        ("backbones:NoSuchClass", "can't be imported"),
        ("torch.nn:Linear", "is no subclass of"),
        ("torch:zeros", "is no subclass of"),
    ],
)
def test_a_name_that_leads_to_no_backbone_is_answered(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(name)
