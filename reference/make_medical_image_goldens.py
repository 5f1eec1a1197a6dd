"""Writes small DICOM and NIfTI files with pydicom and nibabel, and the 8-bit pixels that must come of
them, for tests/medical_images.rs.

    python make_medical_image_goldens.py OUT_DIR

- *.dcm: gray of 8, 12 and 16 bits, signed and not, with windows, rescaling, look-up tables, frames;
  colors; raw, RLE, JPEG (baseline and lossless), JPEG 2000; implicit and explicit. Expected pixels are
  computed here in numpy by the formulas of PS3.3 C.11.1 and C.11.2.1.2;
- *.nii, *.nii.gz: of several types and orientations. Expected pixels are slices of nibabel's
  `as_closest_canonical`, turned as radiologists look at them;
- medical.safetensors: the expected pixels by case, `[H, W]` or `[H, W, 3]`;
- medical.json: of each case the file and how it is looked at;
- pvqa/: PathVQA's layout with rows as Python pickles them.

Needs pydicom, nibabel, numpy, pillow, safetensors, pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg.
"""

import io
import json
import pickle
import sys
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import from_matvec
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)
from safetensors.numpy import save_file

CASES = {}
EXPECTED = {}


def case(name, file, expected, **view):
    """Expected levels are floats: they are rounded here, once."""
    CASES[name] = {"file": file, **view}
    EXPECTED[name] = np.ascontiguousarray(np.floor(np.clip(expected, 0, 255) + 0.5).astype(np.uint8))


# The formulas, with 0 and 255 as the output's ends.


def linear(x, c, w):
    y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    return np.where(x <= c - 0.5 - (w - 1) / 2, 0, np.where(x > c - 0.5 + (w - 1) / 2, 255, y))


def linear_exact(x, c, w):
    y = ((x - c) / w + 0.5) * 255
    return np.where(x <= c - w / 2, 0, np.where(x > c + w / 2, 255, y))


def sigmoid(x, c, w):
    return 255 / (1 + np.exp(-4 * (x - c) / w))


def full_range(x):
    return (x - x.min()) / (x.max() - x.min()) * 255


def percentiles(x):
    low, high = np.percentile(x, [0.5, 99.5])
    return (x - low) / (high - low) * 255


def soft(seed, shape, low, high):
    """Whole numbers from low to high, smooth with some noise, no two of whose corners are alike."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")
    wave = sum(np.sin((3 + 2 * i) * g + i) * (i + 1) for i, g in enumerate(grids)) + rng.normal(0, 0.15, shape)
    wave = (wave - wave.min()) / (wave.max() - wave.min())
    return np.rint(low + wave * (high - low)).astype(np.int64)


def dicom(out, name, pixels, bits, signed=False, photometric="MONOCHROME2", syntax=ExplicitVRLittleEndian,
          allocated=None, frames=None, encoded=None, **more):
    """Writes stored values; frames first if there are several, colors last."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    meta.TransferSyntaxUID = syntax
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.PatientName = "Phantom^Ümläut"
    ds.SpecificCharacterSet = "ISO_IR 192"
    # Sequences in sequences, before the pixels: what is passed over.
    inner = Dataset()
    inner.CodeValue = "T-A0100"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence([inner])
    ds.ReferencedImageSequence = Sequence([item])
    colors = 3 if photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 1
    shape = pixels.shape[1:] if frames else pixels.shape
    ds.Rows, ds.Columns = shape[:2]
    ds.SamplesPerPixel = colors
    ds.PhotometricInterpretation = photometric
    if colors == 3:
        ds.PlanarConfiguration = more.pop("planar", 0)
    if frames:
        ds.NumberOfFrames = frames
    allocated = allocated or (8 if bits <= 8 else 16)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    for key, value in more.items():
        setattr(ds, key, value)
    kind = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    if encoded is not None:
        ds.PixelData = encoded
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    else:
        ds.PixelData = np.ascontiguousarray(pixels.astype(kind)).tobytes()
        ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
        if len(ds.PixelData) % 2:
            ds.PixelData += b"\0"
    # pydicom compresses only what is native.
    if syntax in (RLELossless, JPEG2000Lossless):
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    path = out / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path.name


def table(first, entries, bits):
    item = Dataset()
    item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
    item.add_new(0x00283004, "LO", "HU")
    return Sequence([item])


def gray_cases(out):
    ct = soft(1, (21, 26), -1000, 1800)
    stored = ct + 1024
    file = dicom(out, "ct", stored, 12, RescaleSlope="1", RescaleIntercept="-1024",
                 WindowCenter=["40", "500"], WindowWidth=["400", "2000"])
    case("ct", file, linear(ct, 40, 400))
    case("ct_narrow", file, linear(ct, 50, 8), window=[50, 8])
    case("ct_wide", file, linear(ct, 300.5, 2500.5), window=[300.5, 2500.5])
    case("ct_range", file, full_range(ct), window="range")
    case("ct_percentiles", file, percentiles(ct), window="percentiles")

    half = soft(2, (9, 14), -700, 900)
    values = half * 2.5 - 10
    file = dicom(out, "slope", half, 16, signed=True, syntax=ImplicitVRLittleEndian, RescaleSlope="2.5",
                 RescaleIntercept="-10", WindowCenter="100.5", WindowWidth="300")
    case("slope", file, linear(values, 100.5, 300))
    for function, formula in [("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)]:
        name = function.lower()
        file = dicom(out, name, half, 16, signed=True, WindowCenter="-20", WindowWidth="17",
                     VOILUTFunction=function)
        case(name, file, formula(half, -20, 17))

    # 12 bits with a sign, and an overlay in the four above, which counts for nothing.
    twelve = soft(3, (12, 11), -2048, 2047)
    overlaid = ((twelve & 0xFFF) | 0xA000).astype(np.uint16).view(np.int16)
    file = dicom(out, "overlaid", overlaid, 12, signed=True, WindowCenter="0", WindowWidth="1000")
    case("overlaid", file, linear(twelve, 0, 1000))

    eight = soft(4, (13, 15), 3, 250)
    file = dicom(out, "eight", eight, 8, WindowCenter="128", WindowWidth="100")
    case("eight", file, linear(eight, 128, 100))
    file = dicom(out, "no_window", eight, 8)
    case("no_window", file, full_range(eight))
    file = dicom(out, "inverted", eight, 8, photometric="MONOCHROME1", WindowCenter="100", WindowWidth="120")
    case("inverted", file, 255 - np.floor(linear(eight, 100, 120) + 0.5))
    file = dicom(out, "threshold", eight, 8, WindowCenter="100", WindowWidth="1")
    case("threshold", file, np.where(eight <= 99.5, 0, 255))
    file = dicom(out, "flat", np.full((4, 4), 7), 8)
    case("flat", file, np.zeros((4, 4)))

    sixteen = soft(5, (10, 12), 0, 65535)
    file = dicom(out, "sixteen", sixteen, 16, WindowCenter="30000", WindowWidth="20000")
    case("sixteen", file, linear(sixteen, 30000, 20000))

    entries = (np.arange(300) ** 2 * 4095 // 299**2).astype(int)
    ten = soft(6, (9, 9), 0, 1023)
    file = dicom(out, "voi_lut", ten, 10, VOILUTSequence=table(400, entries, 12))
    case("voi_lut", file, entries[np.clip(ten - 400, 0, 299)] / 4095 * 255)
    file = dicom(out, "modality_lut", ten, 10, ModalityLUTSequence=table(400, entries, 12), WindowCenter="2000",
                 WindowWidth="1000")
    case("modality_lut", file, linear(entries[np.clip(ten - 400, 0, 299)], 2000, 1000))


def frame_cases(out):
    frames = soft(7, (5, 8, 6), 0, 4000)
    file = dicom(out, "frames", frames, 12, frames=5, WindowCenter="2000", WindowWidth="3000")
    case("frames", file, linear(frames[2], 2000, 3000))
    case("frames_4", file, linear(frames[4], 2000, 3000), frame=4)
    # OpenJPEG halves the sides five times, and needs so many pixels.
    larger = soft(17, (2, 33, 35), 0, 4000)
    for name, syntax, frames_ in [("frames_rle", RLELossless, frames), ("frames_j2k", JPEG2000Lossless, larger)]:
        n = len(frames_)
        file = dicom(out, name, frames_, 12, frames=n, syntax=syntax, WindowCenter="2000", WindowWidth="3000")
        case(name, file, linear(frames_[1], 2000, 3000), frame=1)
    # Fragments that are not frames, and a table that says where frames begin.
    streams = [jpeg_lossless(frame, 12) for frame in frames]
    file = dicom(out, "fragments", frames, 12, frames=5, syntax=JPEGLosslessSV1,
                 encoded=encapsulate(streams, fragments_per_frame=2), WindowCenter="2000", WindowWidth="3000")
    case("fragments", file, linear(frames[1], 2000, 3000), frame=1)

    # Enhanced: what is said of each frame, and of all of them.
    def group(frame, slope, intercept, center):
        transformation = Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = str(slope), str(intercept)
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = str(center), "900"
        ds = Dataset()
        if frame is not None:
            ds.FrameVOILUTSequence = Sequence([voi])
        else:
            ds.PixelValueTransformationSequence = Sequence([transformation])
        return ds

    per_frame = Sequence([group(i, 1, 0, 100 * i) for i in range(5)])
    shared = Sequence([group(None, 0.5, -500, 0)])
    for undefined in (False, True):
        for item in (*per_frame, *shared):
            item.is_undefined_length_sequence_item = undefined
        per_frame.is_undefined_length = shared.is_undefined_length = undefined
        name = "enhanced_undefined" if undefined else "enhanced"
        file = dicom(out, name, frames, 12, frames=5, PerFrameFunctionalGroupsSequence=per_frame,
                     SharedFunctionalGroupsSequence=shared)
        case(name, file, linear(frames[3] * 0.5 - 500, 300, 900), frame=3)


def jpeg_lossless(pixels, precision, restart_rows=0, point_transform=0):
    """ITU T.81 process 14 with predictor 1, with one Huffman code of 17 equally long words of 5 bits. Restart markers
    stand between so many rows."""
    pixels = pixels >> point_transform
    rows, columns = pixels.shape
    scan, bits = b"", []

    def coded():
        text = "".join(bits)
        text += "1" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    for y in range(rows):
        is_first = y == 0 or restart_rows and y % restart_rows == 0
        if y and is_first:
            scan += coded() + bytes([0xFF, 0xD0 + (y // restart_rows - 1) % 8])
            bits = []
        for x in range(columns):
            if x:
                guess = pixels[y, x - 1]
            elif not is_first:
                guess = pixels[y - 1, 0]
            else:
                guess = 1 << (precision - point_transform - 1)
            difference = int((pixels[y, x] - guess + 32768) % 65536 - 32768)
            size = abs(difference).bit_length()
            bits.append(f"{size:05b}")
            if 0 < size < 16:
                bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    scan += coded()

    def segment(marker, body):
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    frame = bytes([precision]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + bytes([1, 1, 0x11, 0])
    code = bytes([0]) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    head = segment(0xC3, frame) + segment(0xC4, code)
    if restart_rows:
        head += segment(0xDD, (restart_rows * columns).to_bytes(2, "big"))
    head += segment(0xDA, bytes([1, 1, 0, 1, 0, point_transform]))
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def compressed_cases(out):
    ct = soft(8, (34, 33), -1000, 1000)
    gray = {"WindowCenter": "0", "WindowWidth": "800", "RescaleSlope": "1", "RescaleIntercept": "0"}
    for name, syntax in [("rle", RLELossless), ("j2k", JPEG2000Lossless)]:
        file = dicom(out, name, ct, 16, signed=True, syntax=syntax, **gray)
        case(name, file, linear(ct, 0, 800))
    unsigned = ct + 1000
    file = dicom(out, "j2k_unsigned", unsigned, 12, syntax=JPEG2000Lossless, WindowCenter="1000", WindowWidth="800")
    case("j2k_unsigned", file, linear(unsigned, 1000, 800))
    for bits in (12, 16):
        stored = soft(9, (16, 18), 0, (1 << bits) - 1)
        file = dicom(out, f"lossless_{bits}", stored, bits, syntax=JPEGLosslessSV1,
                     encoded=encapsulate([jpeg_lossless(stored, bits)]))
        case(f"lossless_{bits}", file, full_range(stored))
    eight = soft(10, (24, 19), 0, 255).astype(np.uint8)
    file = dicom(out, "rle_eight", eight, 8, syntax=RLELossless)
    case("rle_eight", file, full_range(eight.astype(float)))
    stream = io.BytesIO()
    Image.fromarray(eight).save(stream, "jpeg", quality=90)
    file = dicom(out, "baseline", eight, 8, syntax=JPEGBaseline8Bit, encoded=encapsulate([stream.getvalue()]),
                 WindowCenter="128", WindowWidth="256")
    case("baseline", file, linear(np.asarray(Image.open(stream)).astype(float), 128, 256))


def ybr(rgb):
    """C.7.6.3.1.2."""
    m = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(rgb @ m.T + [0, 128, 128]), 0, 255)


def rgb(ybr):
    m = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    return (ybr - [0, 128, 128]) @ m.T


def color_cases(out):
    colors = np.stack([soft(seed, (10, 12), 0, 255) for seed in (11, 12, 13)], axis=-1)
    file = dicom(out, "rgb", colors, 8, photometric="RGB")
    case("rgb", file, colors)
    file = dicom(out, "rgb_planes", np.moveaxis(colors, -1, 0).reshape(colors.shape), 8, photometric="RGB", planar=1)
    case("rgb_planes", file, colors)
    file = dicom(out, "rgb_rle", colors, 8, photometric="RGB", syntax=RLELossless)
    case("rgb_rle", file, colors)
    larger = np.stack([soft(seed, (33, 34), 0, 255) for seed in (31, 32, 33)], axis=-1)
    file = dicom(out, "rgb_j2k", larger, 8, photometric="RGB", syntax=JPEG2000Lossless)
    case("rgb_j2k", file, larger)
    converted = ybr(colors)
    file = dicom(out, "ybr", converted, 8, photometric="YBR_FULL")
    case("ybr", file, rgb(converted))
    halved = converted[:, ::2, 1:]
    pairs = np.concatenate([converted[:, ::2, :1], converted[:, 1::2, :1], halved], axis=-1)
    encoded = pairs.astype(np.uint8).tobytes()
    file = dicom(out, "ybr_422", converted, 8, photometric="YBR_FULL_422", PixelData=encoded)
    ds = dcmread(out / file)
    ds.PixelData = encoded
    ds["PixelData"].VR = "OB"
    ds.save_as(out / file)
    whole = np.concatenate([converted[..., :1], np.repeat(halved, 2, axis=1)], axis=-1)
    case("ybr_422", file, rgb(whole))
    stream = io.BytesIO()
    Image.fromarray(colors.astype(np.uint8)).save(stream, "jpeg", quality=95, subsampling=0)
    file = dicom(out, "ybr_jpeg", colors, 8, photometric="YBR_FULL_422", syntax=JPEGBaseline8Bit,
                 encoded=encapsulate([stream.getvalue()]))
    case("ybr_jpeg", file, np.asarray(Image.open(stream)).astype(float))
    for bits in (8, 16):
        index = soft(14, (7, 9), 0, 70)
        tables = np.stack([soft(15 + c, (50,), 0, (1 << bits) - 1) for c in range(3)])
        more = {}
        for c, color in enumerate(["Red", "Green", "Blue"]):
            more[f"{color}PaletteColorLookupTableDescriptor"] = [50, 10, bits]
            more[f"{color}PaletteColorLookupTableData"] = tables[c].astype(f"<u{bits // 8}").tobytes()
        file = dicom(out, f"palette_{bits}", index, 8, photometric="PALETTE COLOR", **more)
        case(f"palette_{bits}", file, tables.T[np.clip(index - 10, 0, 49)] / ((1 << bits) - 1) * 255)


def turned(volume, axis, n):
    """A slice of a canonical (RAS+) volume: the patient's right or front on the left, front or head on top."""
    return {
        "axial": lambda: volume[::-1, ::-1, n].T,
        "coronal": lambda: volume[::-1, n, ::-1].T,
        "sagittal": lambda: volume[n, ::-1, ::-1].T,
    }[axis]()


def rotation(x, y, z):
    cx, cy, cz, sx, sy, sz = *np.cos([x, y, z]), *np.sin([x, y, z])
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )


def volume_cases(out):
    values = soft(20, (5, 6, 7), -300, 900)
    permuted = np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, 1.0, 0]])
    affines = {
        "ras": np.diag([1.0, 1, 1]),
        "lps": np.diag([-1.0, -1, 1]),
        "psr": permuted,
        "rotated": rotation(0.3, -0.4, 0.5) @ np.diag([-0.8, 1.2, 3.0]),
        "tilted": rotation(1.3, 0.2, 2.6) @ permuted,
        "sheared": np.array([[1, 0.4, 0.1], [0.2, -1, 0.3], [0, 0.2, 2.0]]),
    }

    def save(name, array, affine, code="sform", change=None, kind=nibabel.Nifti1Image, end=".nii"):
        image = kind(array, from_matvec(affine, [3, -7, 11]))
        image.header.set_xyzt_units("mm")
        image.set_sform(image.affine, 1 if code == "sform" else 0)
        if code == "qform":
            image.set_qform(image.affine, 1)
        else:
            image.set_qform(None, 0)
        if change:
            change(image.header)
        nibabel.save(image, out / f"{name}{end}")
        return f"{name}{end}"

    def expect(name, file, axis=None, n=None, window=None, formula=full_range, frame=None):
        image = nibabel.as_closest_canonical(nibabel.load(out / file))
        data = np.asarray(image.dataobj, dtype=np.float64)
        if data.ndim == 4:
            data = data[..., data.shape[3] // 2 if frame is None else frame]
        along = {"axial": 2, "coronal": 1, "sagittal": 0}[axis or "axial"]
        cut = turned(data, axis or "axial", data.shape[along] // 2 if n is None else n)
        view = {"axis": axis, "slice": n, "window": window, "frame": frame}
        case(name, file, formula(cut), **{k: v for k, v in view.items() if v is not None})

    for name, affine in affines.items():
        file = save(name, values.astype(np.int16), affine)
        expect(name, file)
        for axis, n in [("axial", 1), ("coronal", 0), ("sagittal", 1)]:
            expect(f"{name}_{axis}", file, axis, n)
    for name in ("rotated", "lps"):
        file = save(f"{name}_q", values.astype(np.int16), affines[name], "qform")
        expect(f"{name}_q", file, "coronal")
    file = save("reflected_q", values.astype(np.int16), rotation(2.5, 0.1, -0.3) @ np.diag([1, 2, -1.5]), "qform")
    expect("reflected_q", file, "sagittal", 3)
    file = save("no_affine", values.astype(np.int16), affines["ras"], "none")
    expect("no_affine", file)

    def scaled(header):
        header.set_slope_inter(2.5, -100)

    image = nibabel.Nifti1Image(values.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2.5, -100)
    image.set_sform(np.eye(4), 1)
    nibabel.save(image, out / "unscaled.nii")
    # nibabel writes what gives the same values back; the stored ones are to be scaled here.
    raw = bytearray((out / "unscaled.nii").read_bytes())
    raw[112:120] = np.array([2.5, -100], "<f4").tobytes()
    (out / "scaled.nii").write_bytes(raw)
    (out / "unscaled.nii").unlink()
    expect("scaled", "scaled.nii", window=[200, 300], formula=lambda x: linear_exact(x, 200, 300))

    noise = soft(21, (6, 5, 4), 0, 1000) / 1000 * 0.7 - 0.1
    file = save("float", noise.astype(np.float32), affines["rotated"], end=".nii.gz")
    expect("float", file, window="percentiles", formula=percentiles)
    expect("float_window", file, "sagittal", 2, window=[0.25, 0.5], formula=lambda x: linear_exact(x, 0.25, 0.5))
    file = save("display", values.astype(np.int16), affines["lps"],
                change=lambda h: (h.__setitem__("cal_min", -50), h.__setitem__("cal_max", 250)))
    expect("display", file, formula=lambda x: (x + 50) / 300 * 255)
    expect("display_range", file, window="range")
    for kind in ("uint8", "int8", "uint16", "int32", "uint32", "float64"):
        array = soft(22, (4, 3, 5), 0, 100).astype(kind)
        expect(kind, save(kind, array, affines["psr"], end=".nii.gz"), "coronal")
    four = soft(23, (4, 5, 3, 6), -10, 50).astype(np.int16)
    file = save("four", four, affines["psr"], end=".nii.gz")
    expect("four", file)
    expect("four_0", file, "coronal", frame=0)
    flat = soft(24, (6, 5), 0, 99).astype(np.int16)[..., None]
    expect("one_slice", save("one_slice", flat, affines["lps"]))
    file = save("second", values.astype(np.float32), affines["tilted"], kind=nibabel.Nifti2Image, end=".nii.gz")
    expect("second", file, "sagittal")
    image = nibabel.load(out / "rotated.nii")
    header = image.header.as_byteswapped(">")
    swapped = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(">i2"), image.affine, header)
    nibabel.save(swapped, out / "swapped.nii")
    expect("swapped", "swapped.nii", "coronal", 4)


def path_vqa(out):
    rows = {
        "train": [
            ("train_0000", "Where are liver stem cells (oval cells) located?", "in the canals of hering"),
            ("train_0000", "Is it normal?", "yes"),
            ("train_0001", "What is présent?", "n°5 — naïve"),
        ],
        "val": [("val_0261", "What have lost their nuclei?", "neutrophils"), ("val_0261", "Is it normal?", "no")],
        "test": [("test_0003", "Is it normal?", "Yes"), ("test_0003", "How many?", "")],
    }
    for split, protocol in [("train", 4), ("val", 3), ("test", 2)]:
        folder = out / "qas" / split
        folder.mkdir(parents=True, exist_ok=True)
        dicts = [{"image": image, "question": question, "answer": answer} for image, question, answer in rows[split]]
        (folder / f"{split}_qa.pkl").write_bytes(pickle.dumps(dicts, protocol=protocol))
    return rows


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for make in (gray_cases, frame_cases, compressed_cases, color_cases, volume_cases):
        make(out)
    path_vqa(out / "pvqa")
    # What pydicom makes of the files is what they were made of.
    for name in ("lossless_12", "lossless_16"):
        array = dcmread(out / f"{name}.dcm").pixel_array
        assert (array == soft(9, (16, 18), 0, (1 << int(name[-2:])) - 1)).all(), name
    save_file(EXPECTED, out / "medical.safetensors")
    (out / "medical.json").write_text(json.dumps(CASES, indent=1, sort_keys=True) + "\n")
    print(f"{len(CASES)} cases, {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) // 1024} KiB")


if __name__ == "__main__":
    main()
