"""Every kind of image is read as a viewer shows it, or refused by its name."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from models.datasets import images
from models.datasets.data import DataError
from models.datasets.images import Looked, Reader, value_range

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], axis=-1)


def look(path: str) -> Looked:
    with open(path, "rb") as file:
        return images.look(file, Path(path).name)


def saved(folder: Path, image: Any, name: str = "x.png", **options: Any) -> str:
    path = folder / name
    image.save(path, **options)
    return str(path)


def read(path: str, channels: int = 3) -> np.ndarray[Any, Any]:
    low, high = value_range([look(path)])
    one = look(path)
    pixels: np.ndarray[Any, Any] = Reader(channels, one.width, False, low, high)(path).numpy()
    return pixels.transpose(1, 2, 0)


def look_and_read(path: str) -> None:
    look(path)
    Reader(3, 8)(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tiff"])
def test_a_picture_is_turned_as_a_viewer_shows_it(tmp_path: Path, orientation: int, name: str) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(COLOUR).resize((8, 16)).resize((16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    inverse = {6: 6, 8: 8}.get(orientation, orientation)
    stored = upright.transpose(turns[inverse]) if orientation > 1 else upright
    options = {"quality": 100, "lossless": True} if name.endswith("webp") else {"quality": 100}
    path = saved(tmp_path, stored, name, exif=exif, **(options if "png" not in name else {}))
    plain = saved(tmp_path, upright, f"upright-{name}", **(options if "png" not in name else {}))
    difference = np.abs(read(path).astype(int) - read(plain).astype(int))
    assert difference.mean() < 4  # JPEG rounds a turned picture differently
    assert ("orientation" in look(path).conversions) == (orientation > 1)


def png_of_16_bits(colour_type: int, samples: np.ndarray[Any, Any], *chunks: bytes) -> bytes:
    """A PNG file that Pillow itself does not write; samples are `[height, width, channels]`."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_transparent_value_of_deep_grey_is_white(tmp_path: Path) -> None:
    samples = np.full((8, 8, 1), 1_000)
    samples[:4] = 0
    path = tmp_path / "x.png"
    path.write_bytes(png_of_16_bits(0, samples, chunk(b"tRNS", struct.pack(">H", 0))))
    pixels = read(str(path), 1)
    assert (pixels[:4] == 255).all()
    assert (pixels[4:] < 255).all()


def test_deep_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_of_16_bits(4, np.stack([np.full((8, 8), 0), np.full((8, 8), 32_768)], axis=-1)))
    assert not look(str(path)).colour
    assert abs(int(read(str(path), 1).mean()) - 127) <= 1


def test_a_turned_picture_has_the_size_that_is_shown(tmp_path: Path) -> None:
    wide = Image.fromarray(COLOUR).resize((16, 8))
    for name, options in (("x.tiff", {"tiffinfo": {0x0112: 6}}), ("x.jpg", {"exif": turned_exif()})):
        seen = look(saved(tmp_path, wide, name, **options))
        assert (seen.width, seen.height) == (8, 16), name


def turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("exif", [b"Exif\0\0no tags at all", b"Exif\0\0II*\0\x08\0\0\0\x05\0"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_good_picture_with_broken_tags_is_read(tmp_path: Path, exif: bytes) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR), "x.jpg", quality=95, exif=exif)
    assert look(path).conversions == ()
    assert np.abs(read(path).astype(int) - COLOUR).mean() < 12


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 32_896], [257, 65_535]], dtype=np.uint16), [[0, 128], [1, 255]]),
        (np.array([[0, 4_095], [1_024, 2_048]], dtype=np.uint16), [[0, 255], [64, 128]]),  # 12 bits
        (np.array([[0, 1_023], [512, 256]], dtype=np.uint16), [[0, 255], [128, 64]]),  # 10 bits
    ],
)
@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_deep_grey_is_scaled_from_its_own_depth(
    tmp_path: Path, values: np.ndarray[Any, Any], expected: list[list[int]], name: str
) -> None:
    path = saved(tmp_path, Image.fromarray(values), name)
    assert read(path, 1)[..., 0].tolist() == expected
    assert "more than 8 bits" in look(path).conversions


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 1.0], [0.5, 0.25]], [[0, 255], [128, 64]]),
        ([[-1.0, 1.0], [0.0, 0.5]], [[0, 255], [128, 191]]),
        ([[100.0, 300.0], [200.0, 250.0]], [[0, 255], [128, 191]]),
    ],
)
def test_fractions_are_scaled_from_their_own_range(
    tmp_path: Path, values: list[list[float]], expected: list[list[int]]
) -> None:
    path = saved(tmp_path, Image.fromarray(np.array(values, dtype=np.float32)), "x.tiff")
    assert read(path, 1)[..., 0].tolist() == expected


def test_values_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    values = np.array([[0.0, np.nan]] * 2, dtype=np.float32)
    with pytest.raises(DataError, match=r"x\.tiff holds values that are no numbers"):
        look(saved(tmp_path, Image.fromarray(values), "x.tiff"))


def ink(mode: str) -> Any:
    """A black picture whose drawing is in its alpha channel."""
    alpha = Image.fromarray(GREY)
    if mode in ("RGBA", "LA"):
        image = Image.new(mode, (8, 8), 0)
        image.putalpha(alpha)
        return image
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.paste(1, (0, 0, 4, 8))
    return palette


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_ink_in_the_alpha_channel_lies_on_white(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, ink(mode))
    assert np.abs(read(path, 1)[..., 0].astype(int) - (255 - GREY.astype(int))).max() <= 1
    assert look(path).conversions == ("alpha on white",)
    assert look(path).colour == (mode == "RGBA")


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    path = saved(tmp_path, ink("P"), transparency=0)
    pixels = read(path)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_a_palette_of_greys_is_grey_and_one_of_colours_is_colour(tmp_path: Path) -> None:
    grey = saved(tmp_path, Image.fromarray(GREY).convert("P"), "grey.gif")
    colour = saved(tmp_path, Image.fromarray(COLOUR).quantize(64), "colour.gif")
    assert not look(grey).colour
    assert look(colour).colour
    assert np.array_equal(read(grey, 1)[..., 0], GREY)


def test_print_colours_become_screen_colours(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    path = saved(tmp_path, image, "x.tiff")
    assert read(path)[0, 0].tolist() == [255, 0, 0]
    assert look(path).conversions == ("CMYK to RGB",)


@pytest.mark.parametrize("name", ["x.gif", "x.tiff", "x.webp"])
def test_the_first_frame_stands_for_all(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert read(path)[0, 0].tolist() == [255, 0, 0]
    assert "first of several frames" in look(path).conversions


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(GREY > 100))
    assert sorted(np.unique(read(path, 1))) == [0, 255]
    assert not look(path).colour


@pytest.mark.parametrize("what", ["text", "profile"])
def test_a_png_with_a_large_text_or_profile_is_read(tmp_path: Path, what: str) -> None:
    large = b"x" * (3 << 20)
    if what == "text":
        info = PngImagePlugin.PngInfo()
        info.add_text("comment", large.decode(), zip=True)
        path = saved(tmp_path, Image.fromarray(COLOUR), pnginfo=info)
    else:
        path = saved(tmp_path, Image.fromarray(COLOUR), icc_profile=large)
    assert np.array_equal(read(path), COLOUR)


def png_with_broken_pixels() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"IDAT") + 8
    content[place : place + 12] = b"\xff" * 12
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", b""),
        ("a.png", b"not an image"),
        ("a.jpg", b"\xff\xd8\xff"),
        ("a.ppm", b"P6 99999999999999 8 255\n"),
        ("a.ppm", b"P6 8 8 255\nfew"),
        ("a.png", png_with_broken_pixels()),
        ("a.tiff", b"II*\x00\xff\xff\xff\xff"),
        ("a.gif", b"GIF89a\xff\xff\xff\xff"),
        ("a.webp", b"RIFF\x10\x00\x00\x00WEBPVP8 \x00"),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is not a readable image"):
        look_and_read(str(path))


def test_an_image_of_too_many_pixels_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vast.pgm"
    path.write_bytes(b"P5 12000 12000 255\n")
    with pytest.raises(DataError, match=r"vast\.pgm.*12000 x 12000 pixels"):
        look(str(path))


def test_a_size_is_reached_by_scaling_and_cropping_at_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = 255
    path = saved(tmp_path, Image.fromarray(wide))
    assert int(Reader(1, 4, fit=True)(path).min()) > 200
    with pytest.raises(DataError, match="24 x 8 pixels and the first image 8 x 8"):
        Reader(1, 8)(path)


def test_pixels_are_uint8_by_channel(tmp_path: Path) -> None:
    pixels = Reader(3, 8)(saved(tmp_path, Image.fromarray(COLOUR)))
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (3, 8, 8))
    assert torch.equal(pixels, torch.from_numpy(COLOUR).permute(2, 0, 1))
