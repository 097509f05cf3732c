import hashlib
import math
import struct

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.runtime.batches import batches, steps_per_epoch, windows
from atentdsl.runtime.data import Images, from_dataset, hold_out


def numbered(n, classes=1, shape=(1, 1, 2)):
    """Images that carry their own number, so that a batch shows which images it took."""
    numbers = torch.arange(n)
    x = torch.stack([numbers % 256, numbers // 256], dim=1).to(torch.uint8).reshape(n, *shape)
    return Images(x, numbers % classes, classes)


def numbers_of(x):
    pixels = (x.reshape(len(x), 2) * 255).round().long()
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


@st.composite
def images(draw, smallest=0, sides=(1, 6)):
    n, channels = draw(st.integers(smallest, 6)), draw(st.integers(1, 3))
    height, width = draw(st.integers(*sides)), draw(st.integers(*sides))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.integers(1, 4))
    x = generator.integers(0, 256, (n, channels, height, width), dtype=np.uint8)
    return Images(torch.from_numpy(x), torch.from_numpy(generator.integers(0, classes, n)), classes)


# Images


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uint8_becomes_the_float_nearest_to_its_fraction(dtype):
    x = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    taken, _ = Images(x, torch.zeros(256, dtype=torch.int64), 1).take(slice(None), dtype)
    exact = np.arange(256) / 255
    assert taken.dtype == dtype
    assert np.array_equal(taken.flatten().numpy(), exact.astype(taken.numpy().dtype))


@given(images(smallest=1), st.data())
def test_take_agrees_with_numpy_and_copies(given_images, data):
    before = given_images.digest()
    index = data.draw(st.lists(st.integers(0, len(given_images) - 1), max_size=9))
    x, y = given_images.take(torch.tensor(index, dtype=torch.int64))
    assert np.array_equal(x.numpy(), (given_images.x.numpy()[index] / 255).astype(np.float32))
    assert y.tolist() == [given_images.y.tolist()[i] for i in index]
    whole, labels = given_images.take(slice(None))
    floats = Images(whole, labels, given_images.classes)
    before_floats = floats.digest()
    for source in (given_images, floats):
        x, y = source.take(slice(None))
        x += 7
        y += 7
    assert given_images.digest() == before
    assert floats.digest() == before_floats


@given(images(smallest=1), st.data())
def test_digest_changes_with_one_bit(given_images, data):
    flat = given_images.x.flatten()
    i, bit = data.draw(st.integers(0, len(flat) - 1)), data.draw(st.integers(0, 7))
    flipped = flat.clone()
    flipped[i] ^= 1 << bit
    other = Images(flipped.reshape(given_images.x.shape), given_images.y, given_images.classes)
    assert other.digest() != given_images.digest()
    assert (
        Images(given_images.x.clone(), given_images.y.clone(), given_images.classes).digest() == given_images.digest()
    )


@given(images(smallest=1))
def test_digest_sees_shape_dtype_and_labels_but_not_how_memory_lies(given_images):
    n, c, h, w = given_images.x.shape
    digest = given_images.digest()
    classes = given_images.classes + 1
    assert Images(given_images.x.reshape(n, 1, c, h, w), given_images.y, classes).digest() != digest
    assert Images(given_images.x.double() / 255, given_images.y, classes).digest() != digest
    relabelled = given_images.y.clone()
    relabelled[0] = classes - 1
    assert Images(given_images.x, relabelled, classes).digest() != digest
    strided = given_images.x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert Images(strided, given_images.y, classes).digest() == digest


def test_digest_is_the_sha256_that_anyone_can_compute():
    x = b"x torch.uint8 (3, 1, 1, 2)\n" + bytes([0, 0, 1, 0, 2, 0])
    y = b"y torch.int64 (3,)\n" + struct.pack("<3q", 0, 1, 0)
    assert numbered(3, classes=2).digest() == hashlib.sha256(x + y).hexdigest()


@pytest.mark.parametrize(
    ("x", "y", "classes", "reason"),
    [
        (torch.zeros(2, 1, 1, 1, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 1, "uint8 or floats"),
        (torch.zeros(2, 1, 1, 1), torch.zeros(2), 1, "labels must be int64"),
        (torch.zeros(2, 1, 1, 1), torch.zeros(3, dtype=torch.int64), 1, "do not fit"),
        (torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]), 1, "must lie in"),
        (torch.zeros(2, 1, 1, 1), torch.tensor([0, -1]), 1, "must lie in"),
        (torch.full((1, 1, 1, 1), 1.001), torch.tensor([0]), 1, "finite and lie in"),
        (torch.full((1, 1, 1, 1), -0.001), torch.tensor([0]), 1, "finite and lie in"),
        (torch.full((1, 1, 1, 1), math.nan), torch.tensor([0]), 1, "finite and lie in"),
    ],
)
def test_what_is_no_image_is_refused(x, y, classes, reason):
    with pytest.raises(ValueError, match=reason):
        Images(x, y, classes)


# hold_out


@given(st.lists(st.integers(0, 25), min_size=1, max_size=5), st.floats(0.001, 0.999), st.integers(0, 9))
def test_hold_out_is_a_stratified_partition(sizes, fraction, seed):
    y = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    whole = Images(numbered(len(y)).x, y, len(sizes))
    if max(sizes) < 2:
        with pytest.raises(ValueError, match="no validation image can be held out"):
            hold_out(whole, fraction, seed)
        return
    training, validation = hold_out(whole, fraction, seed)
    kept, held = (numbers_of(part.take(slice(None))[0]) for part in (training, validation))
    assert sorted(kept + held) == list(range(len(y)))
    assert kept == sorted(kept)
    assert held == sorted(held)
    assert held
    for part, numbers in ((training, kept), (validation, held)):
        assert part.y.tolist() == [int(y[i]) for i in numbers]
        assert part.classes == len(sizes)
    for label, size in enumerate(sizes):
        count = int((validation.y == label).sum())
        assert abs(count - fraction * size) < 1 or (count == size - 1 and fraction * size > count)
        assert count < size or size == 0
    capped = sum(math.floor(fraction * size) + 1 >= size for size in sizes)
    assert len(validation) <= max(1, fraction * len(y) + 0.5)
    assert len(validation) >= fraction * len(y) - 0.5 - capped
    again = hold_out(whole, fraction, seed)
    assert [part.digest() for part in again] == [training.digest(), validation.digest()]


def test_hold_out_takes_other_images_with_another_seed():
    whole = numbered(200, classes=4)
    assert len({hold_out(whole, 0.1, seed)[1].digest() for seed in range(20)}) == 20


def test_hold_out_reads_the_fraction_as_it_is_written():
    # The binary number nearest to 0.35 is below it, and 3.5 is rounded to 4.
    assert len(hold_out(numbered(10), 0.35)[1]) == 4


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, math.nan])
def test_hold_out_refuses_a_fraction_that_is_none(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        hold_out(numbered(10), fraction)


# from_dataset


@given(images(smallest=1, sides=(5, 8)))
def test_every_kind_of_item_gives_the_same_images(given_images):
    channels_last = given_images.x.permute(0, 2, 3, 1).numpy()
    grey_or_colour = given_images.x.shape[1] in (1, 3)
    kinds = {
        "tensor": (list(given_images.x), [int(label) for label in given_images.y]),
        "numpy": (list(channels_last), list(given_images.y.numpy())),
    }
    if grey_or_colour:
        squeezed = channels_last.squeeze(-1) if channels_last.shape[-1] == 1 else channels_last
        kinds["pil"] = ([PIL.Image.fromarray(image) for image in squeezed], list(given_images.y))
    for x, y in kinds.values():
        made = from_dataset(list(zip(x, y, strict=True)), given_images.classes)
        assert made.digest() == given_images.digest()
    floats = from_dataset([(image.double() / 255, int(y)) for image, y in zip(*kinds["tensor"], strict=True)])
    assert floats.x.dtype == torch.float32
    assert torch.equal(floats.x, given_images.take(slice(None))[0])
    assert floats.classes == int(given_images.y.max()) + 1


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.full((2, 2), index, dtype=torch.uint8), index


def test_a_torch_data_set_of_flat_images_gets_a_channel():
    made = from_dataset(Squares())
    assert made.shape == (1, 2, 2)
    assert made.x[:, 0, 0, 0].tolist() == made.y.tolist() == [0, 1, 2]


def test_palettes_and_bitmaps_are_expanded():
    colours = PIL.Image.new("RGB", (3, 2), (200, 0, 100))
    made = from_dataset([(colours.convert("P", palette=PIL.Image.Palette.ADAPTIVE), 0), (colours, 1)])
    assert torch.equal(made.x[0], made.x[1])
    bitmap = from_dataset([(PIL.Image.new("1", (3, 2), 1), 0)])
    assert bitmap.x.unique().tolist() == [255]


GOOD = (torch.zeros(1, 2, 2), 0)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ((torch.full((1, 2, 2), 1.5), 0), r"not all in \[0, 1\]"),
        ((torch.full((1, 2, 2), -0.1), 0), r"not all in \[0, 1\]"),
        ((torch.full((1, 2, 2), math.nan), 0), r"not all in \[0, 1\]"),
        ((torch.full((1, 2, 2), math.inf), 0), r"not all in \[0, 1\]"),
        ((torch.zeros(1, 2, 3), 0), r"shape \(1, 2, 3\), the first is .* \(1, 2, 2\)"),
        ((torch.zeros(1, 2, 2, dtype=torch.uint8), 0), "torch.uint8 of shape"),
        ((torch.zeros(1, 2, 2, dtype=torch.int64), 0), "torch.int64"),
        ((torch.zeros(4), 0), "channels, height, width"),
        ((np.zeros((1, 2, 5)), 0), "height, width, channels"),
        ((np.array([["a"]]), 0), "the array is <U1"),
        ((PIL.Image.new("I", (2, 2)), 0), "mode I"),
        (("cat.png", 0), "the image is a str"),
        ((torch.zeros(1, 2, 2), "cat"), "label is 'cat'"),
        ((torch.zeros(1, 2, 2), True), "label is True"),
        ((torch.zeros(1, 2, 2), 1.0), "label is 1.0"),
        ((torch.zeros(1, 2, 2), torch.tensor([1])), "not an integer"),
        ((torch.zeros(1, 2, 2), 3), r"label 3 is not in \[0, 3\)"),
        ((torch.zeros(1, 2, 2), -1), "label -1"),
        (torch.zeros(1, 2, 2), "pair of image and label"),
    ],
)
def test_a_bad_item_is_named_by_its_index(item, reason):
    with pytest.raises(ValueError, match=f"item 2 of the data set: .*{reason}"):
        from_dataset([GOOD, GOOD, item, GOOD], classes=3)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="at least one item"):
        from_dataset([])


# batches

SEEDS = st.integers(0, 2**70)


@given(st.integers(1, 300), st.integers(1, 80), SEEDS, st.integers(0, 1000))
def test_an_epoch_meets_each_image_at_most_once_and_misses_only_the_incomplete_batch(n, size, seed, epoch):
    made = list(batches(numbered(n, classes=3), size, seed=seed, epoch=epoch, first_step=0))
    assert len(made) == steps_per_epoch(n, size)
    met = [number for x, _ in made for number in numbers_of(x)]
    assert len(set(met)) == len(met)
    assert set(met) <= set(range(n))
    assert len(met) == (n if n < size else n - n % size)
    assert all(len(x) == len(y) == min(n, size) for x, y in made)
    assert [int(label) for _, y in made for label in y] == [number % 3 for number in met]


@given(SEEDS, st.integers(0, 1000), st.integers(0, 10**6))
def test_the_order_is_that_of_seed_and_epoch_alone(seed, epoch, first_step):
    def order(seed, epoch, first_step, size=50):
        made = batches(numbered(100), size, seed=seed, epoch=epoch, first_step=first_step)
        return [number for x, _ in made for number in numbers_of(x)]

    once = order(seed, epoch, first_step)
    assert order(seed, epoch, first_step + 1) == once
    assert order(seed, epoch, first_step, size=20) == once
    assert order(seed, epoch + 1, first_step) != once
    assert order(seed + 1, epoch, first_step) != once
    assert once != sorted(once)


@given(
    images(smallest=2),
    st.sampled_from([(), ("crop4",), ("flip",), ("flip", "crop4")]),
    SEEDS,
    st.integers(0, 10**6),
)
def test_the_global_generators_are_untouched(given_images, augment, seed, first_step):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(batches(given_images, 1, seed=seed, epoch=1, first_step=first_step, augment=augment))
    hold_out(Images(given_images.x, torch.zeros_like(given_images.y), 1), 0.5, seed)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 3))
def test_augmentation_depends_on_the_step_alone(seed, first_step, skipped):
    # One image, a thousand times: whatever the order, a batch shows only its augmentation.
    x = torch.arange(1, 65, dtype=torch.uint8).reshape(1, 1, 8, 8).repeat(64, 1, 1, 1)
    same = Images(x, torch.zeros(64, dtype=torch.int64), 1)
    augment = ("crop4", "flip")
    whole = [x for x, _ in batches(same, 16, seed=seed, epoch=1, first_step=first_step, augment=augment)]
    later = [x for x, _ in batches(same, 16, seed=seed, epoch=2, first_step=first_step + skipped, augment=augment)]
    assert all(torch.equal(a, b) for a, b in zip(whole[skipped:], later, strict=False))
    assert not torch.equal(whole[0], whole[1])
    other = next(batches(same, 16, seed=seed + 1, epoch=1, first_step=first_step, augment=augment))[0]
    assert not torch.equal(whole[0], other)


def padded_window(image, top, left, padding):
    """Pad and crop one image with a loop over its pixels."""
    height, width = image.shape[1:]
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            source = row + top - padding, column + left - padding
            if 0 <= source[0] < height and 0 <= source[1] < width:
                out[:, row, column] = image[:, source[0], source[1]]
    return out


@given(images(), st.integers(0, 4), st.data())
def test_windows_agree_with_a_loop_over_pixels(given_images, padding, data):
    offsets = st.lists(st.integers(0, 2 * padding), min_size=len(given_images), max_size=len(given_images))
    top, left = data.draw(offsets), data.draw(offsets)
    tensors = (torch.tensor(offset, dtype=torch.int64) for offset in (top, left))
    cut = windows(given_images.x, *tensors, padding)
    assert cut.is_contiguous()
    assert cut.shape == given_images.x.shape
    for image, expected, *offset in zip(cut.numpy(), given_images.x.numpy(), top, left, strict=True):
        assert np.array_equal(image, padded_window(expected, *offset, padding))


def occurrences(augment, candidates, n=4096):
    """How often each of `candidates` (name to image) comes out when the first of them is augmented `n` times."""
    image = next(iter(candidates.values()))
    same = Images(torch.from_numpy(image)[None].repeat(n, 1, 1, 1), torch.zeros(n, dtype=torch.int64), 1)
    (x, _), *rest = batches(same, n, seed=3, epoch=1, first_step=7, augment=augment)
    assert rest == []
    names = {candidate.tobytes(): name for name, candidate in candidates.items()}
    assert len(names) == len(candidates)
    counts = dict.fromkeys(candidates, 0)
    for out in (x * 255).round().to(torch.uint8).numpy():
        counts[names[out.tobytes()]] += 1  # a KeyError here: an image that is none of the candidates
    return counts


IMAGE = np.arange(1, 1 + 2 * 6 * 7, dtype=np.uint8).reshape(2, 6, 7)


def test_crop4_gives_each_of_81_windows_equally_often():
    windows = {(4, 4): IMAGE} | {(i, j): padded_window(IMAGE, i, j, 4) for i in range(9) for j in range(9)}
    counts = occurrences(("crop4",), windows)
    chi_squared = sum((count - 4096 / 81) ** 2 / (4096 / 81) for count in counts.values())
    assert chi_squared < 138  # 80 degrees of freedom, 1 in 10,000; the draw is fixed


def test_flip_mirrors_half_of_the_images():
    counts = occurrences(("flip",), {"plain": IMAGE, "mirrored": IMAGE[:, :, ::-1].copy()})
    assert abs(counts["plain"] - 2048) < 4 * 32  # four standard deviations


def test_batches_are_refused_at_once():
    def make(images, augment=(), size=2):
        return batches(images, size, seed=0, epoch=1, first_step=0, augment=augment)

    with pytest.raises(ValueError, match="unknown augmentation 'mirror'; known: crop4, flip"):
        make(numbered(4), ("mirror",))
    with pytest.raises(ValueError, match="channels, height, width"):
        make(Images(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), 1), ("flip",))
    with pytest.raises(ValueError, match="at least one image"):
        make(numbered(0))
    with pytest.raises(ValueError, match="at least one"):
        make(numbered(4), size=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_batches_have_the_dtype_asked_for(dtype):
    x, _ = next(batches(numbered(4), 4, seed=0, epoch=1, first_step=0, dtype=dtype))
    assert x.dtype == dtype
