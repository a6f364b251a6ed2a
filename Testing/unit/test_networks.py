"""TVSRN and CTH-Net against the plain formulation, and their behaviour as modules."""

from __future__ import annotations

import pytest
import torch

from Testing.plain_networks import plain_cthnet, plain_tvsrn
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks import swin
from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.networks.window_spec import WindowSpec
from ThickToThinSRLib.networks.windows import Reordered

PLAIN = {"tvsrn": plain_tvsrn, "cthnet": plain_cthnet}
# Small enough for a fast test, and different in every axis.
CASES = [
    ("tvsrn", {}, (2, 16, 32)),
    ("tvsrn", {"learned_mask_tokens": True}, (1, 24, 16)),
    ("tvsrn", {"factor": 4}, (2, 16, 24)),  # D' = 13, computed as 16
    ("tvsrn", {"factor": 3, "depth": 5, "channels": 16, "heads": 4}, (1, 16, 24)),
    ("tvsrn", {"factor": 2, "depth": 3, "through_plane_window": 8}, (1, 24, 16)),  # one window high
    ("tvsrn", {"window": 4, "mlp_ratio": 2.0, "in_plane_groups": 1, "decoder_blocks": 3}, (1, 8, 16)),
    ("cthnet", {"depth": 4}, (2, 16, 24)),
    ("cthnet", {"depth": 4, "mask_shifted_windows": True}, (1, 24, 16)),
    ("cthnet", {"depth": 5, "factor": 4, "features": 16}, (1, 16, 24)),  # odd depth, D' = 17
]


pytestmark = pytest.mark.usefixtures("one_thread")


def network(name: str, **arguments) -> torch.nn.Module:
    """A network with weights large enough that every part leaves a trace in the output."""
    torch.manual_seed(0)
    module = build(name, **arguments)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def image(module: torch.nn.Module, batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 1, module.depth, height, width)


@pytest.mark.parametrize(("name", "arguments", "size"), CASES)
def test_a_network_gives_what_the_plain_formulation_gives(name, arguments, size):
    module = network(name, **arguments)
    x = image(module, *size)
    with torch.inference_mode():
        expected, result = PLAIN[name](module, x), module(x)
    assert expected.std() > 1e-2
    assert result.shape == (size[0], 1, module.window.outputs, *size[1:])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", PLAIN)
def test_predicting_many_chunks_of_windows_changes_nothing(name, monkeypatch):
    module = network(name)
    x = image(module, 2, 16, 24)
    with torch.inference_mode():
        whole = module(x)
        monkeypatch.setattr("ThickToThinSRLib.networks.swin._CPU_NUMBERS", 70_000)
        torch.testing.assert_close(module(x), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 3, 16, 16), (1, 1, 4, 16, 20), (1, 1, 4, 0, 16), (1, 4, 16, 16)])
def test_an_input_of_a_wrong_shape_is_refused_with_the_right_one(shape):
    with pytest.raises(UserError, match=r"reads \(B, 1, 4, H, W\) with H and W multiples of 8"):
        build("tvsrn")(torch.zeros(shape))


@pytest.mark.parametrize("name", PLAIN)
def test_several_threads_change_nothing_and_leave_their_number_as_it_was(name):
    module = network(name)
    x = image(module, 1, 32, 64)
    with torch.no_grad():
        one = module(x)
        torch.set_num_threads(3)
        torch.testing.assert_close(module(x), one, rtol=1e-4, atol=1e-4)
    assert torch.get_num_threads() == 3


def test_threads_work_in_the_precision_of_their_caller():
    module = network("tvsrn")
    x = image(module, 1, 64, 64)
    with torch.no_grad():
        exact = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            one = module(x)
            torch.set_num_threads(2)
            several = module(x)
    assert (several - one).abs().mean() < 0.1 * (exact - one).abs().mean()


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    module = network("tvsrn")

    def fail(*_):
        raise MemoryError("no memory")

    monkeypatch.setattr("ThickToThinSRLib.networks.swin.attend", fail)
    torch.set_num_threads(2)
    with torch.no_grad(), pytest.raises(MemoryError):
        module(image(module, 1, 64, 64))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", PLAIN)
def test_training_mode_without_drop_path_gives_the_prediction(name):
    module = network(name, drop_path=0.0)
    x = image(module, 2, 16, 24)
    with torch.inference_mode():
        expected = module(x)
    torch.testing.assert_close(module.train()(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_prediction_does_not_change_its_input(name):
    module = network(name)
    x = image(module, 1, 16, 16)
    before = x.clone()
    with torch.inference_mode():
        first, second = module(x), module(x)
    assert torch.equal(x, before)
    assert torch.equal(first, second)


@pytest.mark.parametrize(("name", "arguments"), [("tvsrn", {"learned_mask_tokens": True}), ("cthnet", {})])
def test_every_weight_is_trained(name, arguments):
    module = network(name, **arguments).train()
    with torch.inference_mode():  # what a prediction caches must serve training too
        module(image(module, 1, 16, 16))
    module(image(module, 1, 16, 16)).square().mean().backward()
    lost = [key for key, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not lost


def test_gradients_are_those_of_the_plain_formulation():
    module = network("tvsrn")
    x = image(module, 1, 16, 24)
    gradients = []
    for forward in (module, lambda x: plain_tvsrn(module, x)):
        module.zero_grad()
        forward(x).square().mean().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in module.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5 * float(gradients[1].abs().max()))


@pytest.mark.parametrize("name", PLAIN)
def test_autocast_to_bfloat16_stays_close_and_trains(name):
    torch.manual_seed(0)
    module = build(name)
    x = image(module, 1, 16, 16)
    with torch.inference_mode():
        expected = module.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            predicted = module(x).float()
        module.train()(x).float().square().mean().backward()
    assert (predicted - expected).abs().max() < 0.1 * expected.abs().max()
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


def test_drop_path_skips_branches_in_training_only():
    module = network("tvsrn", drop_path=0.9)
    x = image(module, 1, 16, 16)
    assert torch.equal(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))


def test_drop_path_keeps_the_expectation_for_each_image_by_itself():
    torch.manual_seed(0)
    module = build("tvsrn", drop_path=0.5)
    block = module.in_plane.groups[1].blocks[3].train()
    kept = block._branch_gain(torch.zeros(4000, 1, 1))
    assert set(kept.flatten().tolist()) == {0.0, 2.0}
    assert abs(float(kept.mean()) - 1) < 0.1


@pytest.mark.parametrize(("name", "count"), [("tvsrn", 2_387_489), ("cthnet", 10_606_217)])
def test_parameters_number_as_in_the_released_code(name, count):
    with torch.device("meta"):
        assert sum(weight.numel() for weight in build(name).parameters()) == count


@pytest.mark.parametrize("name", PLAIN)
def test_a_module_built_without_memory_takes_its_weights_by_assignment(name):
    source = network(name)
    with torch.device("meta"):
        module = build(name)
    module.load_state_dict(source.state_dict(), assign=True)
    assert not list(module.buffers())
    x = image(source, 1, 16, 16)
    with torch.inference_mode():
        assert torch.equal(module.eval()(x), source(x))


def test_windows_are_the_released_ones():
    assert NETWORKS["tvsrn"].window() == WindowSpec(5, 4, 2, 3, 10, 8, 256, 16)
    assert NETWORKS["cthnet"].window() == WindowSpec(5, 8, 6, 3, 30, 8, 256, 32)


@pytest.mark.parametrize("factor", range(2, 11))
@pytest.mark.parametrize("depth", [3, 4, 8])
def test_windows_one_stride_apart_leave_no_thin_slice_out(factor, depth):
    spec = NETWORKS["tvsrn"].window(factor=factor, depth=depth)
    assert spec.outputs >= spec.stride * factor
    assert 2 * spec.first_output + spec.outputs == (depth - 1) * factor + 1


@pytest.mark.parametrize(("name", "size"), [("tvsrn", 96), ("cthnet", 128)])
def test_inside_its_margin_a_tile_predicts_what_the_whole_image_does(name, size):
    torch.manual_seed(0)
    module = build(name, **({"depth": 3} if name == "cthnet" else {})).eval()
    x = image(module, 1, size, size)
    margin = module.window.margin
    with torch.inference_mode():
        whole, tile = module(x)[..., 16:-16, 16:-16], module(x[..., 16:-16, 16:-16])
    difference = (whole - tile).abs() / whole.std()
    assert difference[..., margin:-margin, margin:-margin].max() < 1e-3
    assert difference.max() > 1e-3


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgg", {}, "unknown network 'vgg'"),
        ("tvsrn", {"factors": 5}, "no argument 'factors'"),
        ("tvsrn", {"mask_shifted_windows": True}, "no argument"),
        ("tvsrn", {"factor": 5.0}, "factor must be int"),
        ("tvsrn", {"factor": True}, "factor must be int"),
        ("tvsrn", {"factor": "5"}, "factor must be int"),
        ("cthnet", {"mask_shifted_windows": 0}, "must be bool"),
        ("cthnet", {"drop_path": float("nan")}, "drop_path must be from 0"),
        ("tvsrn", {"drop_path": 1.0}, "drop_path must be from 0"),
        ("tvsrn", {"mlp_ratio": 0.0}, "mlp_ratio positive"),
        ("tvsrn", {"channels": 0}, "channels must be 1 or more"),
        ("tvsrn", {"factor": 1}, "factor of 2 or more"),
        ("tvsrn", {"depth": 2}, "3 or more slices"),
        ("tvsrn", {"heads": 7}, "7 attention heads cannot share"),
    ],
)
def test_wrong_arguments_are_named(name, arguments, message):
    with pytest.raises(UserError, match=message):
        build(name, **arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [4, 8])
def test_heads_filled_up_for_a_gpu_give_the_same_attention_and_gradients(channels, dtype):
    """Heads of size 4 in half precision, as TVSRN's encoder has, are no size that the fused kernels take."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(6, 2, 16, channels, dtype=dtype, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 16, 16, dtype=dtype, requires_grad=True)
    tolerance = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
    expected = swin.attend(q, k, v, bias, 0.5)
    found = swin.padded_attention(q, k, v, bias, 0.5)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < tolerance
    gradients = [
        torch.autograd.grad(out.float().square().sum(), (q, k, v, bias), retain_graph=True)
        for out in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.isfinite(one).all()
        assert (one - other).abs().max() < 30 * tolerance


def test_tokens_in_another_order_have_the_gradient_of_an_indexing():
    torch.manual_seed(0)
    x = torch.randn(2, 24, 3, requires_grad=True)
    order, weight = torch.randperm(24), torch.randn(2, 24, 3)
    found = Reordered.apply(x, order, order.argsort())
    (expected,) = torch.autograd.grad((x[:, order] * weight).sum(), x)
    torch.testing.assert_close(found, x[:, order])
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), x)[0], expected)


@pytest.mark.parametrize("training", [False, True])
def test_windows_of_all_masks_in_one_chunk_give_what_chunks_of_one_mask_give(training, monkeypatch):
    """On a GPU a shifted block is one chunk; only attention is computed by mask."""
    torch.manual_seed(0)
    block = swin.SwinBlock(16, (4, 4), 4, (2, 2)).train(training)
    x = torch.randn(3, 16, 24, 16)
    with torch.set_grad_enabled(training):
        expected = block(x.clone())
        chunks = block._chunks
        monkeypatch.setattr(
            block, "_chunks", lambda kinds, limit, device: chunks(kinds, 1000, torch.device("meta"))
        )
        assert len(block._chunks(swin.window_kinds((16, 24), (4, 4), (2, 2), True, x.device), 0, None)) == 1
        found = block(x.clone())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
