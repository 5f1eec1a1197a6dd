"""Writes small files in many image formats and what Pillow makes of them, for tests/image_formats.rs.

    python make_image_format_goldens.py OUT_DIR

image_formats.safetensors has a tensor `NAME.file` for each file, its bytes. `NAME.rgb` `[H, W, 3]` is what
transformers.image_utils.load_image and convert_to_rgb make of it, or for samples that Pillow clips or does not read, what
numpy makes of the stored values. The metadata `cases` (JSON) has the options of each case, and the largest difference of
a level that is allowed; `refused` has files that are errors, and a part of each message.
"""

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps, PngImagePlugin
from safetensors.numpy import save_file
from transformers.image_transforms import convert_to_rgb

HEIGHT, WIDTH = 9, 13
TENSORS, CASES, REFUSED = {}, {}, {}


def soft(rng, height, width, channels=3):
    y, x = np.mgrid[:height, :width] / max(height, width)
    wave = np.cos(np.arange(4, 4 + channels) * y[..., None] + np.arange(channels) * x[..., None])
    base = 127 + 120 * np.sin(9 * x + 5 * y * y)[..., None] * wave
    return np.clip(base + rng.normal(0, 12, (height, width, channels)), 0, 255).astype(np.uint8)


def by_pillow(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return convert_to_rgb(ImageOps.exif_transpose(image), return_numpy=True)


def add(name, data, expected=None, off=0, file=None, **options):
    """A case: the file `name` or `file`, read with `options`."""
    if file is None:
        TENSORS[f"{name}.file"] = np.frombuffer(data, np.uint8)
    expected = by_pillow(data) if expected is None else expected
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    TENSORS[f"{name}.rgb"] = np.ascontiguousarray(expected)
    CASES[name] = {"file": file or name, "off": off, **options}


def refuse(name, data, message):
    TENSORS[f"{name}.file"] = np.frombuffer(data, np.uint8)
    REFUSED[name] = message


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def full(values, most):
    return np.floor(values.astype(float) * 255 / most + 0.5).astype(np.uint8)


def stretched(values, low=None, high=None):
    values = values.astype(float)
    low, high = values.min() if low is None else low, values.max() if high is None else high
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def segments(jpeg):
    """The segments of a JPEG file before its scan, and the rest."""
    at, found = 2, []
    while jpeg[at + 1] != 0xDA:
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        found.append((jpeg[at + 1], jpeg[at + 4 : at + 2 + length]))
        at += 2 + length
    return found, jpeg[at:]


def marked(jpeg, jfif, transform, ids=None):
    """A JPEG file with these markers and names of components."""
    found, rest = segments(jpeg)
    found = [(marker, data) for marker, data in found if marker not in (0xE0, 0xEE)]
    if transform is not None:
        found.insert(0, (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])))
    if jfif:
        found.insert(0, (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"))
    rest = bytearray(rest)
    for i, name in enumerate(ids or b""):
        rest[5 + 2 * i] = name
    out = b"\xff\xd8"
    for marker, data in found:
        data = bytearray(data)
        for i, name in enumerate(ids or b"" if marker == 0xC0 else b""):
            data[6 + 3 * i] = name
        out += bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
    return out + rest


def jpeg_goldens(rng, rgb):
    for sampling in ("4:2:0", "4:2:2", "4:1:1"):
        for width, height in ((1, 3), (2, 2), (3, 8), (4, 1), (5, 5), (6, 9), (8, 3), (18, 18)):
            image = Image.fromarray(soft(rng, height, width))
            data = saved(image, "JPEG", quality=90, subsampling=sampling, progressive=width == 6)
            add(f"{width}x{height}_{sampling.replace(':', '')}.jpg", data)
    image = Image.fromarray(rgb)
    add("restart.jpg", saved(image, "JPEG", restart_marker_blocks=1, subsampling="4:2:0"))
    plain = saved(image, "JPEG", quality=90, subsampling="4:4:4")
    for jfif, transform, ids in ((1, 0, None), (1, None, b"RGB"), (0, 0, None), (0, 1, None), (0, None, b"RGB"), (0, None, None)):
        add(f"jfif_{jfif}_adobe_{transform}_ids_{ids and ids.decode()}.jpg", marked(plain, jfif, transform, ids))
    inks = saved(image.convert("CMYK"), "JPEG", quality=90)
    for transform in (None, 0, 2):
        add(f"cmyk_adobe_{transform}.jpg", marked(inks, 0, transform))
    inks = image.convert("CMYK")
    refuse("cmyk_sampled.jpg", saved(inks, "JPEG", subsampling=2), "CMYK components of different sizes")
    ycck = {"colorspace": "CMYK", "outcolorspace": "YCCK", "subsampling": (2, 2)}
    add("ycck_420.jpg", imagecodecs.jpeg8_encode(np.asarray(inks), level=92, **ycck))
    for orientation in range(1, 9):
        add(f"turned_{orientation}.jpg", saved(image, "JPEG", quality=90, exif=exif(orientation)))
    data = saved(image, "JPEG", quality=90, exif=exif(6))
    as_stored = np.array(Image.open(io.BytesIO(data)))
    add("turned_6_ignored", data, as_stored, file="turned_6.jpg", orientation="ignore")
    deep = (soft(rng, HEIGHT, WIDTH, 1)[..., 0].astype(np.uint16)) * 16
    data = imagecodecs.jpeg_encode(deep, level=95, bitspersample=12)
    decoded = imagecodecs.jpeg_decode(data)
    add("12_bits.jpg", data, full(decoded, 4095), off=1)
    arithmetic = bytearray(plain)
    arithmetic[arithmetic.index(b"\xff\xc0") + 1] = 0xC5
    refuse("hierarchical.jpg", bytes(arithmetic), "hierarchical")
    lossless = imagecodecs.ljpeg_encode(deep, bitspersample=12)
    refuse("lossless.jpg", lossless, "without losses")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(shape, bits, color, rows, extra=b""):
    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png_goldens(rgb, rgba):
    image = Image.fromarray(rgb)
    palette = image.quantize(7)
    whole = saved(image, "PNG")
    add("without_end.png", whole[:-12])
    add("without_checksum.png", whole[:-16])
    refuse("cut.png", whole[:-24], "some of its pixels are missing")
    add("transparent_palette.png", saved(palette, "PNG", transparency=bytes(range(0, 210, 30))))
    add("transparent_color.png", saved(image, "PNG", transparency=tuple(int(v) for v in rgb[2, 3])))
    add("animated.png", saved(image, "PNG", save_all=True, append_images=[image.rotate(180)]))
    deep = (rgb[..., 0].astype(int) * 13).astype(">u2")
    data = png(deep.shape, 16, 0, deep)
    add("12_bits_in_16.png", data, full(deep, 65535))
    add("12_bits_in_16_range", data, stretched(deep), file="12_bits_in_16.png", window="range")
    low, high = np.percentile(deep, 0.5), np.percentile(deep, 99.5)
    add("12_bits_in_16_percentiles", data, stretched(deep, low, high), file="12_bits_in_16.png", window="percentiles")
    # DICOM's linear function (PS3.3, C.11.2.1.2).
    level = np.clip((deep.astype(float) - 999.5) / 1999 + 0.5, 0, 1)
    add("12_bits_in_16_window", data, np.floor(level * 255 + 0.5).astype(np.uint8), file="12_bits_in_16.png", window=[1000, 2000])
    deep = (rgb.astype(int) * 257).astype(">u2")
    add("rgb_16.png", png(deep.shape, 16, 2, deep), rgb)
    add("turned_6.png", saved(image, "PNG", exif=exif(6)))
    add("turned_after_pixels.png", whole[:-12] + chunk(b"eXIf", exif(5).tobytes()[6:]) + whole[-12:])
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<tiff:Orientation>8</tiff:Orientation>", zip=True)
    add("turned_by_xmp.png", saved(image, "PNG", pnginfo=text))
    digits = exif(7).tobytes().hex()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8}\n{digits}\n", zip=True)
    add("turned_by_raw_profile.png", saved(image, "PNG", pnginfo=text))


def other_goldens(rgb, rgba):
    image, clear = Image.fromarray(rgb), Image.fromarray(rgba)
    palette = image.quantize(7)
    add("lossy.webp", saved(image, "WEBP", quality=80))
    add("lossless_alpha.webp", saved(clear, "WEBP", lossless=True))
    add("animated.webp", saved(image, "WEBP", lossless=True, save_all=True, append_images=[image.rotate(180)]))
    add("turned_3.webp", saved(image, "WEBP", lossless=True, exif=exif(3)))
    refuse("cut.webp", saved(image, "WEBP", quality=80)[:-40], "cannot be decoded")
    add("animated.gif", saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]))
    add("transparent.gif", saved(palette, "GIF", transparency=3))
    refuse("cut.gif", saved(palette, "GIF")[:-20], "cannot be decoded")
    refuse("cut.bmp", saved(image, "BMP")[:-20], "cannot be decoded")
    add("gray.pgm", saved(image.convert("L"), "PPM"))
    deep = (rgb[..., 1].astype(int) * 257).astype(">u2")
    add("gray_16.pgm", b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + deep.tobytes(), rgb[..., 1])
    add("rgb.jp2", saved(image, "JPEG2000"))
    add("codestream.j2k", saved(image.convert("L"), "JPEG2000", no_jp2=True))
    refuse("cut.jp2", saved(image, "JPEG2000")[:-20], "end marker")
    for name, array in (("rgb", rgb), ("rgba", rgba), ("gray", rgb[..., 0])):
        data = imagecodecs.jpegxl_encode(np.ascontiguousarray(array), lossless=True)
        add(f"{name}.jxl", data, convert_to_rgb(Image.fromarray(array), return_numpy=True))
    refuse("cut.jxl", data[:-8], "cut short")
    refuse("image.avif", saved(image, "AVIF"), "it is AVIF. Convert it to PNG")


def tiff(array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def old_lzw(data):
    """LZW as before TIFF 5.0, which no library writes: the lowest bit first, and longer codes one entry later."""
    bits, table, width, word = [], {}, 9, b""

    def emit(code):
        bits.extend(code >> i & 1 for i in range(width))

    emit(256)
    for value in data:
        longer = word + bytes([value])
        if len(longer) == 1 or longer in table:
            word = longer
            continue
        emit(table.get(word, word[0]))
        table[longer] = 258 + len(table)
        assert len(table) < 3000
        width += 258 + len(table) > 1 << width
        word = bytes([value])
    emit(table.get(word, word[0]))
    width += 259 + len(table) > 1 << width
    emit(257)
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def one_strip(array, compression, strip):
    """A gray TIFF file of one strip."""
    height, width = array.shape
    tags = [(256, width), (257, height), (258, 8), (259, compression), (262, 1), (273, 0), (278, height), (279, len(strip))]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0" * 4 + strip


def tiff_goldens(rng, rgb, rgba):
    gray = rgb[..., 0]
    # More entries than codes of 9 bits have.
    wide = soft(np.random.default_rng(6), 30, 40, 1)[..., 0]
    add("old_lzw.tiff", one_strip(wide, 5, old_lzw(wide.tobytes())))
    tile = {"tile": (16, 16)}
    for name, array, options in (
        ("lzw_tiles", rgb, dict(photometric="rgb", compression="lzw", predictor=True, **tile)),
        ("deflate_planes", np.moveaxis(rgb, 2, 0).copy(), dict(photometric="rgb", planarconfig="separate", compression="deflate")),
        ("zstd", rgb, dict(photometric="rgb", compression="zstd", rowsperstrip=4)),
        ("packbits", gray, dict(photometric="minisblack", compression="packbits", rowsperstrip=2)),
        ("min_is_white", gray, dict(photometric="miniswhite")),
        ("premultiplied", rgba, dict(photometric="rgb", extrasamples=["assocalpha"])),
        ("alpha", rgba, dict(photometric="rgb", extrasamples=["unassalpha"])),
        ("unused_sample", rgba, dict(photometric="rgb", extrasamples=["unspecified"])),
        ("gray_alpha", rgba[..., :2].copy(), dict(photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig")),
        ("cmyk", rgba, dict(photometric="separated")),
        ("big", rgb, dict(photometric="rgb", bigtiff=True)),
        ("4_bits", gray >> 4, dict(photometric="minisblack", bitspersample=4)),
        ("ycbcr_jpeg_tiles", rgb, dict(photometric="ycbcr", compression="jpeg", subsampling=(2, 2), **tile)),
        ("ycbcr_jpeg_strips", rgb, dict(photometric="ycbcr", compression="jpeg", subsampling=(2, 1), rowsperstrip=8)),
        ("rgb_jpeg", rgb, dict(photometric="rgb", compression="jpeg", rowsperstrip=8)),
    ):
        add(f"{name}.tiff", tiff(array, **options))
    add("ycbcr.tiff", saved(Image.fromarray(rgb).convert("YCbCr"), "TIFF"))
    colors = rng.integers(0, 65536, (3, 256), dtype=np.uint16)
    add("palette.tiff", tiff(gray, photometric="palette", colormap=colors))
    for orientation in range(2, 9):
        tags = [(274, "H", 1, orientation, True)]
        add(f"turned_{orientation}.tiff", tiff(rgb, photometric="rgb", extratags=tags))
    bits = Image.fromarray(gray).convert("1")
    for compression in ("group3", "group4", "tiff_ccitt"):
        add(f"{compression}.tiff", saved(bits, "TIFF", compression=compression))
    pages = tiff(np.stack([rgb, 255 - rgb]), photometric="rgb")
    add("pages.tiff", pages)
    add("pages_second", pages, 255 - rgb, file="pages.tiff", frame=1)
    deep = gray.astype(np.uint16) * 16
    # tifffile 2026.3 packs big-endian samples of 12 bits in a wrong order.
    add("12_bits.tiff", tiff(deep, photometric="minisblack", bitspersample=12), full(deep, 4095))
    for order in "<>":
        data = tiff(deep, photometric="minisblack", byteorder=order, compression="lzw", predictor=True)
        add(f"16_bits_{order == '<'}.tiff", data, full(deep, 65535))
        for name, values in (
            ("float_32", (gray / 255).astype(np.float32)),
            ("float_16", (gray / 255).astype(np.float16)),
            ("int_16", gray.astype(np.int16) * 9 - 1000),
            ("int_8", (gray.astype(int) - 128).astype(np.int8)),
        ):
            predictor = dict(compression="deflate", predictor=True) if name.startswith("float") else {}
            data = tiff(values, photometric="minisblack", byteorder=order, **predictor)
            add(f"{name}_{order == '<'}.tiff", data, stretched(values), off=1)
    holes = (gray / 255).astype(np.float32)
    expected = stretched(holes, holes[1:].min(), holes[1:].max())
    holes[0], expected[0] = np.nan, 0
    add("not_a_number.tiff", tiff(holes, photometric="minisblack"), expected, off=1)
    refuse("lab.tiff", tiff(rgb, photometric="cielab"), "CIE L*a*b*")
    refuse("lzma.tiff", tiff(rgb, photometric="rgb", compression="lzma"), "LZMA")
    refuse("cut.tiff", tiff(rgb, photometric="rgb")[:-20], "cut short")


if __name__ == "__main__":
    rng = np.random.default_rng(5)
    rgb, rgba = soft(rng, HEIGHT, WIDTH), soft(rng, HEIGHT, WIDTH, 4)
    jpeg_goldens(rng, rgb)
    png_goldens(rgb, rgba)
    other_goldens(rgb, rgba)
    tiff_goldens(rng, rgb, rgba)
    metadata = {"cases": json.dumps(CASES), "refused": json.dumps(REFUSED)}
    save_file(TENSORS, Path(sys.argv[1]) / "image_formats.safetensors", metadata)
