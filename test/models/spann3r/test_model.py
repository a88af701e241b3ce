from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import random_frames, tiny_config, tiny_network

from spann3r_ros.errors import AnswerError, ConfigError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.prediction import Prediction


def run(model: Spann3r, frames: list[Frame]) -> list[Prediction]:
    memory = model.new_memory()
    answers = [answer for frame in frames for answer in model.step(frame, memory)]
    return answers + model.flush(memory)


def with_output(output: str, **memory: int) -> Spann3r:
    config = tiny_config(**memory)
    config.output = output
    return Spann3r(tiny_network(), config, "random")


def count_heads(model: Spann3r) -> dict[str, int]:
    calls = {"head1": 0, "head2": 0, "value": 0}
    modules = {
        "head1": model.network.dust3r.downstream_head1,
        "head2": model.network.dust3r.downstream_head2,
        "value": model.network.value_out,
    }
    for name, module in modules.items():

        def count(*_: object, name: str = name) -> None:
            calls[name] += 1

        module.register_forward_hook(count)
    return calls


def test_refined_answers_come_one_frame_late_and_the_last_at_the_flush() -> None:
    model, frames = with_output("refined"), random_frames(4)
    memory = model.new_memory()
    assert model.step(frames[0], memory) == []
    for number, frame in enumerate(frames[1:]):
        (answer,) = model.step(frame, memory)
        assert answer.frame is frames[number] and answer.final
    (last,) = model.flush(memory)
    assert last.frame is frames[3] and last.final


def test_immediate_answers_come_at_once() -> None:
    model, frames = with_output("immediate"), random_frames(4)
    memory = model.new_memory()
    assert model.step(frames[0], memory) == []
    first, second = model.step(frames[1], memory)
    assert (first.frame, first.final, second.frame, second.final) == (frames[0], True, frames[1], True)
    for frame in frames[2:]:
        (answer,) = model.step(frame, memory)
        assert answer.frame is frame and answer.final
    assert model.flush(memory) == []


def test_both_outputs_agree_with_each_alone() -> None:
    frames = random_frames(6)
    both = run(with_output("both"), frames)
    for final, output in ((True, "refined"), (False, "immediate")):
        # The last frame is owed by head 2 only, so its early answer is its final one, too.
        for answer in run(with_output(output), frames)[int(not final) :]:
            twin = next(a for a in both if a.frame is answer.frame and (a.final == final or answer.frame is frames[-1]))
            assert np.array_equal(answer.points, twin.points) and np.array_equal(answer.confidence, twin.confidence)


def test_no_head_runs_whose_result_nobody_asked_for() -> None:
    frames = random_frames(6)
    refined = with_output("refined")
    calls = count_heads(refined)
    memory = refined.new_memory()
    for frame in frames:
        refined.step(frame, memory)
    assert (calls["head1"], calls["head2"], calls["value"]) == (5, 0, 5)

    immediate = with_output("immediate")
    calls = count_heads(immediate)
    memory = immediate.new_memory()
    for frame in [frames[0]] * 6:
        immediate.step(frame, memory)
    rejected = memory.status().rejected
    assert rejected > 0
    assert (calls["head1"], calls["head2"]) == (5 - rejected, 5)
    assert calls["value"] == 5 - rejected, "a rejected frame must not pay for the value encoder"


def test_a_single_frame_is_answered() -> None:
    for output in ("refined", "immediate", "both"):
        (frame,) = random_frames(1)
        (answer,) = run(with_output(output), [frame])
        assert answer.frame is frame and answer.points.shape == (48, 64, 3) and np.isfinite(answer.points).all()


def test_an_empty_memory_owes_nothing(model: Spann3r) -> None:
    assert model.flush(model.new_memory()) == []


def test_the_stream_goes_on_after_a_flush(model: Spann3r) -> None:
    frames = random_frames(5)
    straight, flushed = model.new_memory(), model.new_memory()
    for frame in frames:
        expected = [answer for answer in model.step(frame, straight) if not answer.final]
        answers = model.step(frame, flushed)
        (last,) = model.flush(flushed)
        assert last.final and last.frame.index == frame.index  # so no later answer is about it
        assert [(a.final, a.points.tobytes()) for a in answers] == [(False, a.points.tobytes()) for a in expected]


def test_predictions_carry_what_they_are_about(model: Spann3r) -> None:
    frames = [
        Frame(f.index, f.stamp, "left", f.image, Intrinsics(100, 100, 63.5, 47.5, 128, 96))
        for f in random_frames(2, size=(128, 96))
    ]
    memory = model.new_memory()
    model.step(frames[0], memory)
    answer = model.step(frames[1], memory)[0]
    assert answer.points.dtype == np.float32 and answer.confidence.dtype == np.float32
    assert answer.points.shape == (48, 64, 3) and answer.confidence.shape == (48, 64)
    assert (answer.confidence >= 0).all() and (answer.confidence < 1).all()
    image = preprocess(frames[0], (48, 64))
    assert np.array_equal(answer.colors, image.colors) and answer.intrinsics == image.intrinsics
    assert answer.intrinsics is not None and answer.intrinsics.fx == pytest.approx(50)
    assert answer.submap_from_camera is None and answer.submap == 0


def test_a_list_encoded_at_once_gives_the_same(model: Spann3r) -> None:
    pixels = torch.cat([preprocess(frame, model.image_size).pixels for frame in random_frames(12)])
    features = model.encode(pixels)
    one, other = model.new_memory(), model.new_memory()
    for index in range(12):
        step = model.advance(pixels[index : index + 1], one)
        batch = model.advance(pixels[index : index + 1], other, features=features[index : index + 1])
        if step is not None and batch is not None:
            assert step.refined is not None and batch.refined is not None
            torch.testing.assert_close(batch.refined.points, step.refined.points, rtol=1e-4, atol=1e-5)
    assert one.status().inserted == other.status().inserted


@pytest.mark.parametrize("stop", [0, 1, 2, 9, 17])
def test_a_run_resumed_from_a_file_continues_bit_for_bit(stop: int, tmp_path: Path) -> None:
    frames = random_frames(24)
    straight = with_output("both")
    memory = straight.new_memory()
    expected = [straight.step(frame, memory) for frame in frames] + [straight.flush(memory)]

    first = with_output("both")
    before = first.new_memory()
    for frame in frames[:stop]:
        first.step(frame, before)
    before.save(tmp_path / "memory.safetensors")
    second = with_output("both")
    resumed = second.load_memory(tmp_path / "memory.safetensors")
    assert repr(resumed.status()) == repr(before.status())  # as text, since NaN is not itself
    answers = [second.step(frame, resumed) for frame in frames[stop:]] + [second.flush(resumed)]
    assert memory.status().counters["prunes"] > 0
    for got, want in zip(answers, expected[stop:], strict=True):
        assert len(got) == len(want)
        for mine, theirs in zip(got, want, strict=True):
            assert mine.points.tobytes() == theirs.points.tobytes()
            assert mine.confidence.tobytes() == theirs.confidence.tobytes()
            assert (mine.frame.index, mine.frame.stamp) == (theirs.frame.index, theirs.frame.stamp)
            assert np.array_equal(mine.frame.image, theirs.frame.image) and np.array_equal(mine.colors, theirs.colors)


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (64, 64), (16, 48)])
def test_any_multiple_of_the_patch_in_any_orientation(size: tuple[int, int]) -> None:
    height, width = size
    config = tiny_config()
    config.image_height, config.image_width = height, width
    model = Spann3r(tiny_network(head="dpt", decoder_depth=10, dpt_width=8, dpt_last_width=8), config, "random")
    answers = run(model, random_frames(3, size=(width, height)))
    assert [answer.points.shape for answer in answers] == [(height, width, 3)] * 3


def test_portrait_values_lie_on_the_same_patches_as_keys() -> None:
    """A change of half a pointmap changes the value tokens of that half only (without blocks, patches do not mix)."""
    network = tiny_network()
    network.value_encoder = torch.nn.ModuleList()
    points = torch.randn(1, 64, 48, 3)
    changed = points.clone()
    changed[:, :32] += 1.0
    features = torch.zeros(1, 12, 32)
    difference = (
        (network.value(points, features, (4, 3)) - network.value(changed, features, (4, 3))).abs().sum(-1).view(4, 3)
    )
    assert (difference[:2] > 0).all() and (difference[2:] == 0).all()


def test_thresholds_may_change_between_steps() -> None:
    model, (frame,) = with_output("refined"), random_frames(1)
    memory = model.new_memory()
    model.settings.similarity_threshold = -1.0
    for _ in range(5):
        model.step(frame, memory)
    assert memory.status().rejected == 3
    model.settings.similarity_threshold = 1.0
    for _ in range(5):
        model.step(frame, memory)
    assert memory.status().rejected == 3 and memory.status().inserted == 6


def test_precision_leaves_the_heads_in_float32() -> None:
    network = tiny_network()
    network.set_precision(torch.bfloat16)
    heads = {p.dtype for n, p in network.named_parameters() if "downstream_head" in n}
    others = {p.dtype for n, p in network.named_parameters() if "downstream_head" not in n}
    assert heads == {torch.float32} and others == {torch.bfloat16}
    model = Spann3r(network, tiny_config(), "random")
    answers, exact = run(model, random_frames(8)), run(with_output("refined"), random_frames(8))
    for answer, reference in zip(answers, exact, strict=True):
        assert answer.points.dtype == np.float32
        error = np.linalg.norm(answer.points - reference.points, axis=-1)
        assert np.median(error / np.linalg.norm(reference.points, axis=-1)) < 0.1


def unchanged_after(model: Spann3r, action: object, error: type[Exception], match: str) -> None:
    """The action must raise, and the stream must go on as if it had never happened."""
    frames = random_frames(4)
    memory, reference = model.new_memory(), model.new_memory()
    for frame in frames[:3]:
        model.step(frame, memory)
        model.step(frame, reference)
    with pytest.raises(error, match=match):
        action(memory)  # type: ignore[operator]
    assert memory.status() == reference.status()
    got, want = model.step(frames[3], memory), model.step(frames[3], reference)
    assert [a.points.tobytes() for a in got] == [a.points.tobytes() for a in want]


def test_bad_pixels_leave_the_memory_as_it_was(model: Spann3r) -> None:
    nan = torch.zeros(1, 3, 48, 64)
    nan[0, 0, 0, 0] = torch.nan
    cases = [
        (nan, FrameError, "1 NaN or infinite values"),
        (torch.zeros(1, 3, 48, 60), FrameError, r"got \(48, 60\); expected multiples of 16"),
        (torch.zeros(1, 3, 64, 48), MemoryMismatchError, r"got \(64, 48\); expected \(48, 64\)"),
        (torch.zeros(2, 3, 48, 64), MemoryMismatchError, "batch differs from the memory's: got 2; expected 1"),
        (torch.zeros(0, 3, 48, 64), FrameError, r"got \(0, 3, 48, 64\)"),
        (torch.zeros(1, 3, 48, 64, dtype=torch.uint8), FrameError, "got torch.uint8; expected a floating point tensor"),
    ]
    for pixels, error, match in cases:
        unchanged_after(model, lambda memory, pixels=pixels: model.advance(pixels, memory), error, match)


def test_an_error_in_the_middle_of_a_step_leaves_the_memory_as_it_was(model: Spann3r) -> None:
    def fail(memory: object) -> None:
        hook = model.network.value_out.register_forward_hook(lambda *_: 1 / 0)
        try:
            model.step(random_frames(1, seed=9)[0], memory)  # type: ignore[arg-type]
        finally:
            hook.remove()

    unchanged_after(model, fail, ZeroDivisionError, "division")


def test_a_memory_of_another_model_is_refused(model: Spann3r, tmp_path: Path) -> None:
    stranger = Spann3r(tiny_network(seed=1, encoder_depth=1), tiny_config(), "random")
    memory = stranger.new_memory()
    with pytest.raises(MemoryMismatchError, match=r"memory of another model: got spann3r [0-9a-f]{16} float32"):
        model.step(random_frames(1)[0], memory)
    stranger.step(random_frames(1)[0], memory)
    memory.save(tmp_path / "memory.safetensors")
    with pytest.raises(MemoryMismatchError, match="belongs to another network"):
        model.load_memory(tmp_path / "memory.safetensors")


def test_damaged_memory_files_are_refused(model: Spann3r, tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    with pytest.raises(MemoryMismatchError, match="cannot be read"):
        model.load_memory(path)
    memory = model.new_memory()
    for frame in random_frames(3):
        model.step(frame, memory)
    memory.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MemoryMismatchError, match="cannot be read"):
        model.load_memory(path)


def test_sizes_off_the_patch_are_refused() -> None:
    config = tiny_config()
    config.image_height, config.image_width = 48, 60
    with pytest.raises(ConfigError, match="got 60 x 48; expected both multiples of the patch, 16 px"):
        Spann3r(tiny_network(), config, "random")


def test_a_frame_refuses_what_is_no_rgb_image() -> None:
    with pytest.raises(FrameError, match="got float32 with 1 NaN values; expected uint8"):
        Frame(0, 0, "camera", np.array([[[np.nan, 0, 0]]], np.float32))  # type: ignore[arg-type]
    with pytest.raises(FrameError, match=r"got \(0, 4, 3\)"):
        Frame(0, 0, "camera", np.zeros((0, 4, 3), np.uint8))


def test_two_hundred_frames_take_no_more_memory_than_the_first_prunes() -> None:
    config = tiny_config(long_term_tokens=500)
    config.image_height = config.image_width = 160
    model, frames = Spann3r(tiny_network(), config, "random"), random_frames(20, size=(160, 160))
    memory, settled, most = model.new_memory(), 0, 0
    config.of(Spann3rParameters).similarity_threshold = 1.0
    for number in range(200):
        model.step(frames[number % 20], memory)
        statistics = memory.status()
        most = max(most, statistics.tokens)
        if number == 60:
            assert statistics.counters["prunes"] > 1
            settled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statistics = memory.status()
    assert most <= statistics.capacity == 500 + 4 * 100 and statistics.inserted == 199
    # Kilobytes; the tokens of 140 frames are 5 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled < 1024


@pytest.mark.fault("not finite")
@pytest.mark.parametrize("output", ["refined", "immediate", "both"])
@pytest.mark.parametrize("where", ["head", "value", "key"])
def test_nothing_that_is_not_finite_is_remembered(output: str, where: str) -> None:
    frames = random_frames(6)
    model, straight = with_output(output), with_output(output)
    memory, expected = model.new_memory(), straight.new_memory()
    for frame in frames[:3]:
        model.step(frame, memory)
        straight.step(frame, expected)
    network = model.network
    module = {"head": network.dust3r.downstream_head1, "value": network.value_out, "key": network.attn_head_1}[where]

    def spoil(_module: object, _inputs: object, result: torch.Tensor) -> torch.Tensor:
        result = result.clone()
        result.view(-1)[7] = torch.nan
        return result

    hook = module.register_forward_hook(spoil)
    before = repr(memory.status())
    with pytest.raises(AnswerError, match="not finite"):
        model.step(frames[3], memory)
    assert repr(memory.status()) == before
    hook.remove()
    for frame in frames[4:]:
        got, want = model.step(frame, memory), straight.step(frame, expected)
        assert [a.points.tobytes() for a in got] == [a.points.tobytes() for a in want]


@pytest.mark.fault("not finite")
def test_a_first_frame_whose_features_are_not_finite_begins_no_world() -> None:
    model, frames = with_output("refined"), random_frames(3)
    memory = model.new_memory()
    norm = model.network.dust3r.enc_norm
    hook = norm.register_forward_hook(lambda _module, _inputs, result: result * torch.nan)
    with pytest.raises(AnswerError):
        model.step(frames[0], memory)
    hook.remove()
    assert memory.pending is None and model.step(frames[1], memory) == []
    (answer,) = model.step(frames[2], memory)
    assert answer.frame is frames[1] and np.isfinite(answer.points).all()
