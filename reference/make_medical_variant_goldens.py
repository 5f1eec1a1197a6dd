"""Writes small DICOM and NIfTI files as programs really write them, with the 8-bit pixels that must come of them,
for tests/medical_images.rs.

    python make_medical_variant_goldens.py OUT_DIR

- *.dcm: without preamble or meta information, in other transfer syntaxes than their meta information says, in
  big endian, deflated; JPEG in all color spaces and with wrong PhotometricInterpretation; JPEG-LS, 12-bit and
  lossless JPEG, JP2 boxes, JPEG XL; padding; palettes; samples of 1 and 32 bits and floating-point numbers; missing and
  wrong elements. Stored values are those of pydicom's `pixel_array`, palettes those of its `apply_color_lut`;
  windows are computed by the formulas of make_medical_image_goldens.py. Where pydicom does not follow a marker
  (Adobe's), pixels are Pillow's;
- *.nii, *.nii.gz, *.hdr, *.img: voxels that would start within the header, several gzip members, NaN, colors,
  pairs of files, five dimensions; expected values are nibabel's;
- variants.safetensors and variants.json: as medical.safetensors and medical.json.

Needs what make_medical_image_goldens.py needs, imagecodecs and pyjpegls.
"""

import gzip
import io
import json
import sys
from pathlib import Path

import imagecodecs
import jpeg_ls as charls
import nibabel
import numpy as np
from make_medical_image_goldens import CASES, EXPECTED, case, full_range, jpeg_lossless, linear, soft, turned
from PIL import Image
from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.native import _encode_segment
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def data_set(pixels, bits=12, signed=False, photometric="MONOCHROME2", syntax=ExplicitVRLittleEndian, allocated=None,
             encoded=None, frames=None, **more):
    """A data set with its pixels: stored values, or frames that are encoded already."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    ds = FileDataset(None, {}, b"\0" * 128, meta, implicit, little)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = "1.2.3.4"
    colors = 1 if photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 3
    shape = pixels.shape[1:] if frames else pixels.shape
    ds.Rows, ds.Columns = shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = colors, photometric
    if colors == 3:
        ds.PlanarConfiguration = 0
    if frames:
        ds.NumberOfFrames = frames
    allocated = allocated or (8 if bits <= 8 else 16)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, bits, bits - 1, int(signed)
    if encoded is not None:
        ds.PixelData = encoded if isinstance(encoded, bytes) else encapsulate(encoded)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = np.ascontiguousarray(pixels.astype(f"{order}{'i' if signed else 'u'}{allocated // 8}")).tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    for key, value in more.items():
        setattr(ds, key, value)
    return ds


def write(name, ds, **options):
    path = OUT / f"{name}.dcm"
    ds.save_as(path, **{"enforce_file_format": True, **options})
    return path


def stored(path, frame=None):
    """The stored values of a frame, as pydicom reads them."""
    ds = dcmread(path, force=True)
    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, little = ds.original_encoding
        named = {(True, True): ImplicitVRLittleEndian, (False, True): ExplicitVRLittleEndian}
        ds.file_meta.TransferSyntaxUID = named.get((implicit, little), ExplicitVRBigEndian)
    array = ds.pixel_array
    return ds, array if frame is None else array[frame]


def gray(name, ds, formula=full_range, frame=None, save=None, **view):
    """A case whose stored values are pydicom's."""
    path = write(name, ds, **(save or {}))
    read, array = stored(path, frame)
    values = apply_modality_lut(array, read).astype(float)
    if frame is not None:
        view["frame"] = frame
    case(name, path.name, formula(values), **view)
    return path


def color(name, ds, pixels=None, frame=None):
    """A case whose colors are pydicom's, or `pixels`."""
    path = write(name, ds)
    array = stored(path, frame)[1] if pixels is None else pixels
    case(name, path.name, array.astype(float), **({} if frame is None else {"frame": frame}))


GRAY = soft(101, (16, 18), 0, 4000)
SIGNED = soft(102, (16, 18), -1500, 1500)
EIGHT = soft(103, (15, 17), 0, 255)
COLORS = np.stack([soft(seed, (16, 18), 0, 255) for seed in (104, 105, 106)], axis=-1).astype(np.uint8)
# Colors that vary slowly, for decoders that interpolate differently.
SMOOTH = np.stack(np.broadcast_arrays(*[
    np.linspace(40, 200, 32)[:, None], np.linspace(220, 60, 32)[None, :], np.full((32, 32), 90)
]), axis=-1).astype(np.uint8)


def jpeg(pixels, strip=False, adobe=None, names=None, **options):
    """A JPEG stream: without its JFIF marker, with an Adobe marker, with other names of components."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=97, **{"subsampling": 0, **options})
    data = stream.getvalue()
    if strip and data[2:4] == b"\xff\xe0":
        data = data[:2] + data[4 + int.from_bytes(data[4:6], "big"):]
    if adobe is not None:
        data = data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe]) + data[2:]
    for old, new in zip(names or b"", b"\1\2\3" if names else b""):
        frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
        data = bytearray(data)
        for i in range(3):
            at = frame + 10 + 3 * i
            data[at] = new if data[at] == old else data[at]
            at = scan + 5 + 2 * i
            data[at] = new if data[at] == old else data[at]
        data = bytes(data)
    return data


def opened(stream):
    return np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))


def color_cases():
    def baseline(stream, photometric):
        size = opened(stream)
        return data_set(size, 8, photometric=photometric, syntax=JPEGBaseline8Bit, encoded=[stream])

    color("jfif_called_rgb", baseline(jpeg(COLORS), "RGB"))
    color("jfif_called_ybr", baseline(jpeg(COLORS), "YBR_FULL_422"))
    color("ybr_without_markers", baseline(jpeg(COLORS, strip=True), "YBR_FULL"))
    named = jpeg(COLORS, keep_rgb=True)
    color("named_rgb_called_ybr", baseline(named, "YBR_FULL_422"))
    plain = jpeg(COLORS, keep_rgb=True, names=b"RGB")
    at = plain.index(b"\xff\xee")
    plain = plain[:at] + plain[at + 16:]
    color("rgb_without_markers", baseline(plain, "RGB"))
    # pydicom does not look at Adobe's marker.
    stream = jpeg(COLORS, strip=True, adobe=1)
    color("adobe_ybr_called_rgb", baseline(stream, "RGB"), opened(stream))
    stream = jpeg(COLORS, keep_rgb=True, names=b"RGB")
    color("adobe_rgb_called_ybr", baseline(stream, "YBR_FULL_422"), opened(stream))
    stream = jpeg(SMOOTH, subsampling=2)
    color("sampled_called_rgb", baseline(stream, "RGB"))
    stream = jpeg(SMOOTH, subsampling=1, strip=True)
    color("sampled_called_rgb_without_markers", baseline(stream, "RGB"), opened(stream))
    stream = imagecodecs.jpeg8_encode(COLORS, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")
    color("lossless_rgb", data_set(COLORS, 8, photometric="RGB", syntax=JPEGLosslessSV1, encoded=[stream]))

    rgb = COLORS.repeat(2, 0).repeat(2, 1)
    for name, photometric, syntax, options in [
        ("j2k_rct", "YBR_RCT", JPEG2000Lossless, {}),
        ("j2k_ict", "YBR_ICT", JPEG2000, {"irreversible": True}),
        ("j2k_rgb_with_transform", "RGB", JPEG2000Lossless, {}),
        ("j2k_rgb_without_transform", "RGB", JPEG2000Lossless, {"mct": 0}),
        ("j2k_ybr_without_transform", "YBR_FULL", JPEG2000Lossless, {"mct": 0}),
    ]:
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "jpeg2000", no_jp2=True, **options)
        encoded = [stream.getvalue()]
        color(name, data_set(rgb, 8, photometric=photometric, syntax=syntax, encoded=encoded))

    # Runs of all colors at once, and of some of them.
    runs = COLORS.copy()
    runs[4:7, 3:15], runs[10], runs[12, :, 1] = runs[4, 3], 7, 9
    for order, name in enumerate(["plane", "line", "sample"]):
        for near in (0, 3):
            stream = jpeg_ls(runs, near=near, order=order)
            syntax = JPEGLSNearLossless if near else JPEGLSLossless
            color(f"jpeg_ls_rgb_by_{name}{'_near' if near else ''}",
                  data_set(runs, 8, photometric="RGB", syntax=syntax, encoded=[stream]))
    color("jpeg_ls_ybr", data_set(COLORS, 8, photometric="YBR_FULL", syntax=JPEGLSLossless,
                                  encoded=[jpeg_ls(COLORS, order=2)]))
    ds = data_set(COLORS, 8, photometric="YBR_FULL")
    ds.compress(RLELossless, generate_instance_uid=False)
    color("rle_ybr", ds)
    planes = np.moveaxis(COLORS, -1, 0).reshape(COLORS.shape)
    color("ybr_planes", data_set(planes, 8, photometric="YBR_FULL", PlanarConfiguration=1))
    # pydicom does not convert video levels.
    ybr = np.stack([soft(107, (6, 8), 16, 235), soft(108, (6, 8), 60, 190), soft(109, (6, 8), 60, 190)], axis=-1)
    ybr[:, 1::2, 1:] = ybr[:, ::2, 1:]
    pairs = np.concatenate([ybr[:, ::2, :1], ybr[:, 1::2, :1], ybr[:, ::2, 1:]], axis=-1).astype(np.uint8)
    ds = data_set(ybr, 8, photometric="YBR_PARTIAL_422", PixelData=pairs.tobytes())
    ds["PixelData"].VR = "OB"
    y, cb, cr = (ybr - [16, 128, 128]).transpose(2, 0, 1)
    video = [1.1644 * y + 1.596 * cr, 1.1644 * y - 0.3917 * cb - 0.8129 * cr, 1.1644 * y + 2.0173 * cb]
    color("ybr_partial_422", ds, np.stack(video, axis=-1))


def jpeg_ls(pixels, bits=8, near=0, order=0):
    """JPEG-LS by CharLS. Colors are in order 0 (by plane), 1 (by line) or 2 (by sample)."""
    colors = 1 if pixels.ndim == 2 else pixels.shape[2]
    arranged = pixels if pixels.ndim == 2 else pixels.transpose({0: (2, 0, 1), 1: (0, 2, 1), 2: (0, 1, 2)}[order])
    data = np.ascontiguousarray(arranged).tobytes()
    return bytes(charls.encode_buffer(data, *pixels.shape[:2], colors, bits, near, order if colors > 1 else None))


def codec_cases():
    def compressed(name, pixels, bits, syntax, stream, formula=full_range, **more):
        gray(name, data_set(pixels, bits, syntax=syntax, encoded=[stream], **more), formula)

    for bits in (2, 8, 12, 16):
        pixels = soft(110 + bits, (17, 19), 0, (1 << bits) - 1).astype(np.uint8 if bits <= 8 else np.uint16)
        # Runs, and a line that is nothing else.
        pixels[3:6, 4:] = pixels[3, 4]
        pixels[9] = 0
        compressed(f"jpeg_ls_{bits}", pixels, bits, JPEGLSLossless, jpeg_ls(pixels, bits))
    eight, twelve = EIGHT.astype(np.uint8), GRAY.astype(np.uint16)
    compressed("jpeg_ls_near", eight, 8, JPEGLSNearLossless, jpeg_ls(eight, near=3))
    compressed("jpeg_ls_near_16", twelve, 16, JPEGLSNearLossless, jpeg_ls(twelve, 16, near=5))
    signed = (SIGNED & 0xFFFF).astype(np.uint16)
    compressed("jpeg_ls_signed", signed, 16, JPEGLSLossless, jpeg_ls(signed, 16), signed=True)
    stream = imagecodecs.jpeg8_encode(twelve, level=95, bitspersample=12)
    compressed("jpeg_12", twelve, 12, JPEGExtended12Bit, stream)
    stream = imagecodecs.jpeg8_encode(eight, level=95)
    compressed("jpeg_8_as_extended", eight, 8, JPEGExtended12Bit, stream, lambda x: x)
    for predictor in range(1, 8):
        stream = imagecodecs.jpeg8_encode(twelve, lossless=True, predictor=predictor, bitspersample=12)
        compressed(f"lossless_predictor_{predictor}", twelve, 12, JPEGLossless, stream)
    for bits in (2, 5, 8, 10, 16):
        pixels = soft(130 + bits, (14, 13), 0, (1 << bits) - 1).astype(np.uint8 if bits <= 8 else np.uint16)
        stream = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)
        compressed(f"lossless_bits_{bits}", pixels, bits, JPEGLosslessSV1, stream)
    for rows, transform in [(1, 0), (3, 0), (0, 2), (2, 1)]:
        stream = jpeg_lossless(GRAY, 12, rows, transform)
        # pylibjpeg does not undo the point transform; libjpeg-turbo does.
        coarse = (GRAY >> transform) << transform
        assert (imagecodecs.jpeg8_decode(stream) == coarse).all()
        name = f"lossless_restart_{rows}_transform_{transform}"
        path = write(name, data_set(GRAY, 12, syntax=JPEGLossless, encoded=[stream]))
        case(name, path.name, full_range(coarse))
    signed = (SIGNED & 0xFFF).astype(np.uint16)
    stream = imagecodecs.jpeg8_encode(signed, lossless=True, predictor=1, bitspersample=12)
    compressed("lossless_signed", signed, 12, JPEGLosslessSV1, stream, signed=True)
    # In a compressed frame values occupy the lowest bits, whatever HighBit says.
    stream = imagecodecs.jpeg8_encode(twelve, lossless=True, predictor=1, bitspersample=12)
    compressed("lossless_high_bit", twelve, 12, JPEGLosslessSV1, stream, HighBit=15)
    larger = soft(140, (34, 33), 0, 4000).astype(np.uint16)
    stream = imagecodecs.jpeg2k_encode(larger, codecformat="jp2", reversible=True, bitspersample=12)
    compressed("jp2_boxes", larger, 12, JPEG2000Lossless, stream)
    # A stream that is unsigned, in a file that is not.
    stream = imagecodecs.jpeg2k_encode(larger, codecformat="j2k", reversible=True, bitspersample=12)
    compressed("j2k_unsigned_called_signed", larger, 12, JPEG2000Lossless, stream, signed=True)


def jpeg_xl_cases():
    """pydicom 3.0 does not know JPEG XL: pixels are those before compression, or those of libjxl."""
    lossless, recompressed, any_kind = (f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112))
    for syntax in (lossless, recompressed, any_kind):
        UID_dictionary[syntax] = ("JPEG XL", "Transfer Syntax", "", "", "JPEGXL")
    decoded = imagecodecs.jpegxl_decode

    def write_case(name, pixels, bits, stream, levels, syntax=lossless, **more):
        path = write(f"jpeg_xl_{name}", data_set(pixels, bits, syntax=syntax, encoded=[stream], **more))
        case(f"jpeg_xl_{name}", path.name, levels)

    def encoded(pixels, **options):
        return imagecodecs.jpegxl_encode(pixels, **{"lossless": True, **options})

    eight, twelve, sixteen = EIGHT.astype(np.uint8), GRAY.astype(np.uint16), (GRAY * 16).astype(np.uint16)
    write_case("8", eight, 8, encoded(eight), full_range(eight))
    write_case("12", twelve, 12, encoded(twelve, bitspersample=12), full_range(twelve))
    write_case("12_as_16", twelve, 12, encoded(twelve), full_range(twelve))
    write_case("16", sixteen, 16, encoded(sixteen), full_range(sixteen))
    bits = (SIGNED & 0xFFF).astype(np.uint16)
    write_case("signed", bits, 12, encoded(bits), full_range(SIGNED), signed=True)
    bits = (SIGNED & 0xFFFF).astype(np.uint16)
    write_case("signed_16", bits, 16, encoded(bits), full_range(SIGNED), signed=True)
    write_case("container", eight, 8, encoded(eight, usecontainer=True), full_range(eight))
    write_case("rgb", COLORS, 8, encoded(COLORS), COLORS, photometric="RGB")
    deep = COLORS.astype(np.uint16) * 257
    write_case("rgb_16", deep, 16, encoded(deep), COLORS, photometric="RGB")
    # Stored as YCbCr without a transform of JPEG XL's own.
    ybr = np.asarray(Image.fromarray(COLORS).convert("YCbCr"))
    write_case("ybr", ybr, 8, encoded(ybr), Image.fromarray(ybr, "YCbCr").convert("RGB"), photometric="YBR_FULL")

    # With losses.
    stream = encoded(eight, lossless=False, distance=0.5)
    write_case("lossy", eight, 8, stream, full_range(decoded(stream)), any_kind)
    stream = encoded(twelve, lossless=False, distance=0.5)
    write_case("lossy_12_as_16", twelve, 12, stream, full_range(decoded(stream).astype(int)), any_kind)
    stream = encoded(COLORS, lossless=False, distance=0.5)
    for photometric in ("XYB", "RGB"):
        write_case(f"lossy_{photometric.lower()}", COLORS, 8, stream, decoded(stream), any_kind, photometric=photometric)
    # JPEG files compressed again.
    for name, photometric, options in [("422", "YBR_FULL_422", {"subsampling": 1}), ("444", "YBR_FULL", {}),
                                       ("called_rgb", "RGB", {}), ("rgb", "RGB", {"keep_rgb": True})]:
        stream = imagecodecs.jpegxl_encode_jpeg(jpeg(SMOOTH, **options))
        write_case(f"of_jpeg_{name}", SMOOTH, 8, stream, decoded(stream), recompressed, photometric=photometric)
    stream = imagecodecs.jpegxl_encode_jpeg(jpeg(eight))
    write_case("of_jpeg_gray", eight, 8, stream, full_range(decoded(stream)), recompressed)

    frames = soft(190, (3, 12, 14), 0, 4000).astype(np.uint16)
    ds = data_set(frames, frames=3, syntax=lossless, encoded=[encoded(frame) for frame in frames])
    path = write("jpeg_xl_frames", ds)
    case("jpeg_xl_frames", path.name, full_range(frames[2]), frame=2)
    # A stream in two fragments, in a file that names no syntax.
    stream = encoded(twelve)
    stream += b"\0" * (len(stream) % 2)
    half = len(stream) // 4 * 2
    ds = data_set(twelve, syntax=lossless, encoded=encapsulate([stream[:half], stream[half:]], has_bot=False))
    path = write("jpeg_xl_unnamed", ds)
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\x08\0\x05\0CS"):])
    case("jpeg_xl_unnamed", path.name, full_range(twelve))


def padded(values, is_padding, formula):
    """The levels of values, with padding out of the range and black."""
    inside = values[~is_padding].astype(float)
    low, high = {
        "range": lambda: (inside.min(), inside.max()),
        "percentiles": lambda: tuple(np.percentile(inside, [0.5, 99.5])),
    }[formula]() if len(inside) else (0, 0)
    levels = np.clip((values - low) / max(high - low, 1e-9) * 255, 0, 255)
    return np.where(is_padding, 0, levels)


def padding_cases():
    ring = np.hypot(*np.meshgrid(np.linspace(-1, 1, 18), np.linspace(-1, 1, 16))) > 0.9
    signed = np.where(ring, -2000, SIGNED)
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    path = write("padding", data_set(signed, 16, signed=True, PixelPaddingValue=-2000, **rescaled))
    case("padding", path.name, padded(signed, ring, "range"))
    case("padding_percentiles", path.name, padded(signed, ring, "percentiles"), window="percentiles")
    levels = np.where(ring, 0, linear(signed * 2.0 - 100, -5000, 9000))
    case("padding_window", path.name, levels, window=[-5000, 9000])
    limited = np.where(ring, soft(150, ring.shape, -3000, -2900), SIGNED)
    path = write("padding_range", data_set(limited, 16, signed=True, PixelPaddingValue=-3000,
                                           PixelPaddingRangeLimit=-2900))
    case("padding_range", path.name, padded(limited, ring, "range"))
    path = write("padding_range_swapped", data_set(limited, 16, signed=True, PixelPaddingValue=-2900,
                                                   PixelPaddingRangeLimit=-3000))
    case("padding_range_swapped", path.name, padded(limited, ring, "range"))
    unsigned = np.where(ring, 65535, GRAY)
    for syntax, name in [(ExplicitVRLittleEndian, "padding_unsigned"), (ImplicitVRLittleEndian, "padding_implicit")]:
        path = write(name, data_set(unsigned, 16, syntax=syntax, PixelPaddingValue=65535))
        case(name, path.name, padded(unsigned, ring, "range"))
    path = write("padding_inverted", data_set(unsigned, 16, photometric="MONOCHROME1", PixelPaddingValue=65535))
    case("padding_inverted", path.name, np.where(ring, 0, 255 - np.floor(full_range_of(GRAY, ring) + 0.5)))
    path = write("padding_in_window", data_set(unsigned, 16, PixelPaddingValue=65535, WindowCenter="2000",
                                               WindowWidth="1000"))
    case("padding_in_window", path.name, np.where(ring, 0, linear(GRAY, 2000, 1000)))
    path = write("padding_alone", data_set(np.full((4, 4), -2000), 16, signed=True, PixelPaddingValue=-2000))
    case("padding_alone", path.name, np.zeros((4, 4)))


def full_range_of(values, is_padding):
    inside = values[~is_padding]
    return np.clip((values - inside.min()) / (inside.max() - inside.min()) * 255, 0, 255)


def palette_cases():
    def palette(name, index, descriptor, tables, signed=False, segmented=False, **more):
        keys = {}
        for channel, data in zip(["Red", "Green", "Blue"], tables):
            keys[f"{channel}PaletteColorLookupTableDescriptor"] = descriptor
            start = "Segmented" if segmented else ""
            keys[f"{start}{channel}PaletteColorLookupTableData"] = data + b"\0" * (len(data) % 2)
        ds = data_set(index, 8, signed=signed, photometric="PALETTE COLOR", **keys, **more)
        path = write(name, ds)
        read, array = stored(path)
        colors = apply_color_lut(array, read)
        case(name, path.name, colors / (255 if colors.dtype == np.uint8 else 65535) * 255)

    index = soft(160, (9, 11), 0, 255)
    bytes_of = [soft(161 + c, (256,), 0, 255).astype(np.uint8).tobytes() for c in range(3)]
    words_of = [soft(161 + c, (256,), 0, 65535).astype("<u2").tobytes() for c in range(3)]
    palette("palette_bytes_called_words", index, [256, 0, 16], bytes_of)
    palette("palette_bytes", index, [256, 0, 8], bytes_of)
    palette("palette_words", index, [256, 0, 16], words_of)
    index = soft(165, (9, 11), -100, 100)
    words_of = [soft(166 + c, (60,), 0, 65535).astype("<u2").tobytes() for c in range(3)]
    palette("palette_signed", index, [60, -20, 16], words_of, signed=True)
    # Two discrete entries, a line, a copy of both, a line.
    words = [[0, 2, 100 * c, 5000, 1, 10, 60000, 2, 2, 0, 0, 1, 8, 300] for c in (1, 2, 3)]
    index = soft(169, (9, 11), 0, 31)
    palette("palette_segmented", index, [32, 0, 16], [np.array(w, "<u2").tobytes() for w in words], segmented=True)
    parts = [[0, 2, 10 * c, 200, 1, 10, 20, 2, 2, 0, 0, 0, 0, 1, 8, 250] for c in (1, 2, 3)]
    palette("palette_segmented_bytes", index, [32, 0, 8], [bytes(p) for p in parts], segmented=True)
    # Words that hold bytes, which pydicom takes for black.
    tables = [soft(170 + c, (256,), 0, 255) for c in range(3)]
    keys = {}
    for channel, data in zip(["Red", "Green", "Blue"], tables):
        keys[f"{channel}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        keys[f"{channel}PaletteColorLookupTableData"] = data.astype("<u2").tobytes()
    index = soft(173, (9, 11), 0, 255)
    path = write("palette_bytes_in_words", data_set(index, 8, photometric="PALETTE COLOR", **keys))
    case("palette_bytes_in_words", path.name, np.stack(tables, axis=-1)[index])
    # A supplemental palette colors only some values of a gray image.
    path = write("palette_supplemental", data_set(index, 8, PixelPresentation="MIXED", **keys))
    case("palette_supplemental", path.name, full_range(index))


def file_cases():
    ds = data_set(GRAY)
    path = write("source", ds)
    whole = path.read_bytes()
    meta_end = whole.index(b"\x08\0\x05\0CS")
    implicit_path = write("source_implicit", data_set(GRAY, syntax=ImplicitVRLittleEndian))
    implicit = implicit_path.read_bytes()
    implicit_end = implicit.index(b"\x08\0\x05\0\x0a\0\0\0ISO_IR 192")
    big = write("source_big", data_set(GRAY, syntax=ExplicitVRBigEndian)).read_bytes()
    big_end = big.index(b"\0\x08\0\x05CS")
    for source in ("source", "source_implicit", "source_big"):
        (OUT / f"{source}.dcm").unlink()
    files = {
        "bare_explicit": whole[meta_end:],
        "bare_implicit": implicit[implicit_end:],
        "bare_big_endian": big[big_end:],
        "without_preamble": whole[132:],
        "without_meta": whole[:132] + whole[meta_end:],
        "implicit_called_explicit": whole[:meta_end] + implicit[implicit_end:],
        "explicit_called_implicit": implicit[:implicit_end] + whole[meta_end:],
        "trailing_garbage": whole + b"\0" * 37 + b"garbage",
    }
    for name, data in files.items():
        (OUT / f"{name}.dcm").write_bytes(data)
        array = stored(OUT / f"{name}.dcm")[1]
        assert (array == GRAY).all(), name
        case(name, f"{name}.dcm", full_range(GRAY))
    gray("big_endian", data_set(SIGNED, 16, signed=True, syntax=ExplicitVRBigEndian), save={})
    # Bytes in words, in frames of an odd number of them.
    odd = soft(180, (3, 5, 7), 0, 255)
    data = odd.astype(np.uint8).tobytes() + b"\0"
    swapped = np.frombuffer(data, "<u2").byteswap().tobytes()
    for frame in range(3):
        ds = data_set(odd, 8, syntax=ExplicitVRBigEndian, frames=3)
        ds.PixelData = swapped
        ds["PixelData"].VR = "OW"
        if frame == 0:
            gray("big_endian_bytes_in_words", ds, frame=0)
        else:
            case(f"big_endian_bytes_in_words_{frame}", "big_endian_bytes_in_words.dcm",
                 full_range(stored(OUT / "big_endian_bytes_in_words.dcm", frame)[1]), frame=frame)
    gray("deflated", data_set(GRAY, syntax=DeflatedExplicitVRLittleEndian))
    raw = GRAY.astype("<u2").tobytes()
    ds = data_set(GRAY, syntax="1.2.840.10008.1.2.1.98", encoded=[raw])
    path = write("encapsulated_uncompressed", ds)
    case("encapsulated_uncompressed", path.name, full_range(GRAY))

    ds = data_set(GRAY)
    del ds.HighBit
    gray("without_high_bit", ds)
    # Values in the lowest bits, as pydicom takes them whatever HighBit says.
    gray("wrong_high_bit", data_set(GRAY, HighBit=15))
    path = write("left_aligned", data_set(GRAY * 16, HighBit=15))
    case("left_aligned", path.name, full_range(GRAY))
    ds = data_set(GRAY)
    del ds.PixelRepresentation
    case("without_representation", write("without_representation", ds).name, full_range(GRAY))
    ds = data_set(GRAY, RescaleSlope="2", WindowCenter="3000", WindowWidth="2000")
    case("without_intercept", write("without_intercept", ds).name, linear(GRAY * 2.0, 3000, 2000))
    for name, frames in [("frames_empty", ""), ("frames_0", "0")]:
        gray(name, data_set(GRAY, NumberOfFrames=frames))
    for name, center, width in [
        ("window_0", "100", "0"), ("window_below_1", "100", "0.5"), ("window_no_number", "100", "wide"),
        ("window_negative", "100", "-5"),
    ]:
        ds = data_set(GRAY, WindowCenter=center)
        ds.WindowWidth = "1.0"
        data = io.BytesIO()
        ds.save_as(data, enforce_file_format=True)
        padded_width = (width + " " * (4 - len(width))).encode()
        at = data.getvalue().index(b"\x28\0\x51\x10DS")
        assert data.getvalue()[at + 6:at + 12] == b"\4\x001.0 ", data.getvalue()[at:at + 12]
        (OUT / f"{name}.dcm").write_bytes(data.getvalue()[:at + 8] + padded_width + data.getvalue()[at + 12:])
        case(name, f"{name}.dcm", full_range(GRAY))
    gray("windows_several", data_set(GRAY, WindowCenter=["1000", "x"[:0] or "2000"], WindowWidth=["500", "0"]),
         lambda x: linear(x, 1000, 500))

    frames = soft(181, (2, 12, 14), 0, 4000).astype(np.uint16)
    streams = [imagecodecs.jpeg8_encode(f, lossless=True, predictor=1, bitspersample=12) for f in frames]
    halves = [s[i:i + len(s) // 4 * 2] if i == 0 else s[i:] for s in streams for i in (0, len(s) // 4 * 2)]
    ds = data_set(frames, frames=2, syntax=JPEGLosslessSV1, encoded=encapsulate(halves, has_bot=False))
    gray("fragments_without_table", ds, frame=1)
    data, offsets, lengths = encapsulate_extended(streams)
    ds = data_set(frames, frames=2, syntax=JPEGLosslessSV1, encoded=data, ExtendedOffsetTable=offsets,
                  ExtendedOffsetTableLengths=lengths)
    gray("extended_offset_table", ds, frame=1)

    bits = soft(182, (5, 7, 9), 0, 1)
    for frame in range(5):
        if frame == 0:
            ds = data_set(bits, 1, frames=5, BitsAllocated=1)
            ds.PixelData = np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little").tobytes()
            ds.PixelData += b"\0" * (len(ds.PixelData) % 2)
            gray("one_bit", ds, frame=0)
        else:
            array = stored(OUT / "one_bit.dcm", frame)[1]
            case(f"one_bit_{frame}", "one_bit.dcm", full_range(array.astype(float)), frame=frame)
    for name, signed, low in [("rle_32", False, 0), ("rle_signed_32", True, -2_000_000_000)]:
        values = soft(186, (8, 9), low, 2_000_000_000)
        planes = values.astype("<u4" if not signed else "<i4").view(np.uint8).reshape(72, 4).T[::-1]
        # pydicom reads such files and does not write them.
        segments = [bytes(_encode_segment(plane.tobytes(), 9)) for plane in planes]
        starts = np.cumsum([64] + [len(segment) for segment in segments[:-1]])
        header = np.array([4, *starts, *[0] * 11], "<u4").tobytes()
        encoded = [header + b"".join(segments)]
        ds = data_set(values, 32, signed=signed, allocated=32, syntax=RLELossless, encoded=encoded)
        gray(name, ds)
    gray("unsigned_32", data_set(soft(183, (8, 9), 0, 4_000_000_000), 32, allocated=32))
    gray("signed_32", data_set(soft(184, (8, 9), -2_000_000_000, 2_000_000_000), 32, signed=True, allocated=32))
    for key, kind in [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]:
        values = (soft(185, (8, 9), -100, 100) / 37).astype(kind)
        ds = data_set(GRAY[:8, :9])
        del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        ds.BitsAllocated = 32 if kind == "<f4" else 64
        setattr(ds, key, values.tobytes())
        gray(key.lower(), ds)
    inner, item = Dataset(), Dataset()
    inner.add_new(0x00091001, "UN", b"abc ")
    inner.is_undefined_length_sequence_item = True
    item.add_new(0x00091002, "SQ", Sequence([inner]))
    item[0x00091002].is_undefined_length = True
    item.is_undefined_length_sequence_item = True
    ds = data_set(GRAY)
    ds.add_new(0x00090010, "LO", "PRIVATE")
    ds.add_new(0x00091010, "SQ", Sequence([item]))
    ds[0x00091010].is_undefined_length = True
    gray("private_sequences", ds)
    gray("private_sequences_implicit", with_syntax(ds, ImplicitVRLittleEndian))


def with_syntax(ds, syntax):
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def volume_cases():
    values = soft(200, (5, 6, 7), -300, 900)

    def save(name, array, kind=nibabel.Nifti1Image, affine=None, end=".nii"):
        image = kind(array, np.diag([-1.0, 1, 1, 1]) if affine is None else affine)
        nibabel.save(image, OUT / f"{name}{end}")
        return f"{name}{end}"

    def changed(name, source, at, data):
        raw = bytearray((OUT / source).read_bytes())
        raw[at:at + len(data)] = data
        (OUT / f"{name}.nii").write_bytes(raw)
        return f"{name}.nii"

    def middle(array):
        return turned(array[::-1], "axial", array.shape[2] // 2)

    source = save("nifti_source", values.astype(np.int16))
    for offset in (0, 100):
        file = changed(f"nifti_offset_{offset}", source, 108, np.float32(offset).tobytes())
        case(f"nifti_offset_{offset}", file, full_range(middle(values)))
    file = changed("nifti_no_display_range", source, 124, np.array([50, 50], "<f4").tobytes())
    case("nifti_no_display_range", file, full_range(middle(values)))
    raw = (OUT / source).read_bytes()
    members = b"".join(gzip.compress(raw[i:i + 200], mtime=0) for i in range(0, len(raw), 200))
    (OUT / "nifti_members.nii.gz").write_bytes(members)
    assert (np.asarray(nibabel.load(OUT / "nifti_members.nii.gz").dataobj) == values).all()
    case("nifti_members", "nifti_members.nii.gz", full_range(middle(values)))
    (OUT / source).unlink()

    holes = values.astype(np.float32)
    holes[0], holes[1, 2], holes[3, 3] = np.nan, np.inf, -np.inf
    file = save("nifti_nan", holes)
    cut = middle(holes)
    finite = np.isfinite(cut)
    inside = cut[finite]
    levels = np.where(finite, (np.where(finite, cut, 0) - inside.min()) / (inside.max() - inside.min()) * 255, 0)
    case("nifti_nan", file, levels)
    low, high = np.percentile(inside.astype(float), [0.5, 99.5])
    levels = np.where(finite, (np.where(finite, cut, 0) - low) / (high - low) * 255, 0)
    case("nifti_nan_percentiles", file, np.clip(levels, 0, 255), window="percentiles")

    colors = np.stack([soft(seed, (5, 6, 3), 0, 255) for seed in (201, 202, 203, 204)], axis=-1).astype(np.uint8)
    for name, names in [("nifti_rgb", "RGB"), ("nifti_rgba", "RGBA")]:
        voxels = np.zeros(colors.shape[:3], dtype=[(c, "u1") for c in names])
        for i, c in enumerate(names):
            voxels[c] = colors[..., i]
        cut = colors[::-1][::-1, ::-1, 1, :3].transpose(1, 0, 2)
        case(name, save(name, voxels), cut)

    for name, kind, array in [
        ("nifti_pair", nibabel.Nifti1Pair, values.astype(np.int16)),
        ("nifti_pair_2", nibabel.Nifti2Pair, values.astype(np.float64)),
        ("analyze", nibabel.AnalyzeImage, values.astype(np.int16)),
        ("spm", nibabel.AnalyzeImage, values.astype(np.int16)),
    ]:
        save(name, array, kind, end=".img")
        if name == "spm":
            # SPM's scaling in an unused field of ANALYZE.
            raw = bytearray((OUT / "spm.hdr").read_bytes())
            raw[112:116] = np.float32(-2.5).tobytes()
            (OUT / "spm.hdr").write_bytes(raw)
        read = np.asarray(nibabel.load(OUT / f"{name}.img").dataobj)
        case(name, f"{name}.img", full_range(middle(read)))
        case(f"{name}_header", f"{name}.hdr", full_range(middle(read)))
    for end in ("hdr", "img"):
        packed = gzip.compress((OUT / f"nifti_pair.{end}").read_bytes(), mtime=0)
        (OUT / f"nifti_pair_packed.{end}.gz").write_bytes(packed)
    case("nifti_pair_packed", "nifti_pair_packed.img.gz", full_range(middle(values)))

    five = soft(205, (5, 6, 3, 2, 3), 0, 900).astype(np.int16)
    file = save("nifti_five", five)
    flat = five.reshape(5, 6, 3, 6, order="F")
    case("nifti_five", file, full_range(middle(flat[..., 3])))
    case("nifti_five_4", file, full_range(middle(flat[..., 4])), frame=4)
    two = soft(206, (5, 6), 0, 900).astype(np.int16)
    case("nifti_two", save("nifti_two", two), full_range(middle(two[..., None])))
    # A slice whose axis across has no direction.
    affine = np.diag([-1.0, 1, 0, 1])
    header = nibabel.Nifti1Header()
    header.set_sform(affine, 1)
    nibabel.save(nibabel.Nifti1Image(two[..., None], None, header), OUT / "nifti_flat.nii")
    case("nifti_flat", "nifti_flat.nii", full_range(middle(two[..., None])))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (color_cases, codec_cases, jpeg_xl_cases, padding_cases, palette_cases, file_cases, volume_cases):
        make()
    from safetensors.numpy import save_file

    save_file(EXPECTED, OUT / "variants.safetensors")
    (OUT / "variants.json").write_text(json.dumps(CASES, indent=1, sort_keys=True) + "\n")
    print(f"{len(CASES)} cases, {sum(f.stat().st_size for f in OUT.rglob('*') if f.is_file()) // 1024} KiB")


if __name__ == "__main__":
    main()
