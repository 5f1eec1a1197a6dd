"""Writes what Pillow and transformers make of pictures, for tests/data_image.rs.

    python make_image_goldens.py VQA_RAD_DIR OUT_DIR

- image_rule.safetensors: pictures `[H, W, 3]` and their pixel values `[3, S, S]` after
  BlipImageProcessorPil, up- and down-scaled, square and not; and a 16th of the rows and columns of
  one picture that a formula draws, at 384 pixels;
- clip_rule.safetensors: pictures, some of them from VQA-RAD (CC0) and made small, and their pixel
  values after CLIPImageProcessorPil, plainly and padded to a square as LLaVA does;
- processors.safetensors: pictures, preprocessor configs with every filter, crop and way of padding (under
  `configs`, JSON), and the pixel values that transformers' processors make by them;
- image_files/: small pictures in the formats and modes that a medical archive may hold;
- image_files.safetensors: the RGB that transformers' convert_to_rgb makes of each.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from transformers.image_transforms import convert_to_rgb
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

SHAPES = [(60, 80, 24), (24, 31, 48), (97, 33, 32), (32, 32, 32), (5, 90, 17), (1, 1, 8), (130, 7, 9)]


def drawn(height, width):
    """A picture by integer formula, the same in tests/data_image.rs."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * x // 7 + y * (c + 3) + (x * y >> 5) + 31 * c) % 256).astype(np.uint8)


def soft(rng, height, width):
    """Smooth shapes with some noise: more like a scan than white noise is."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    base = 127 + 120 * np.sin(9 * x + 5 * y * y)[..., None] * np.cos(np.array([4, 6, 8]) * y[..., None])
    return np.clip(base + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def pixel_values(picture, size):
    processor = BlipImageProcessorPil(size={"height": size, "width": size})
    return np.ascontiguousarray(processor(Image.fromarray(picture))["pixel_values"][0], dtype=np.float32)


def rule_goldens():
    rng = np.random.default_rng(0)
    tensors = {}
    for n, (height, width, size) in enumerate(SHAPES):
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8) if n % 2 else soft(rng, height, width)
        tensors[f"{n}.picture"] = picture
        tensors[f"{n}.pixel_values"] = pixel_values(picture, size)
    tensors["drawn.pixel_values"] = np.ascontiguousarray(pixel_values(drawn(701, 533), 384)[:, ::16, ::16])
    return tensors


def expand2square(picture, color):
    """LLaVA's: the picture in the middle of a square."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), color)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def clip_goldens(vqa_rad):
    rng = np.random.default_rng(2)
    pictures = [Image.fromarray(soft(rng, *shape)) for shape in [(60, 80), (81, 34), (20, 97), (33, 33), (9, 14), (1, 5)]]
    pictures += [pictures[0].convert("L"), pictures[1].quantize(16)]
    for path in sorted(vqa_rad.glob("*.jpg"))[:3]:
        picture = Image.open(path)
        picture.thumbnail((60, 60))
        pictures.append(picture)
    tensors = {}
    for n, picture in enumerate(pictures):
        size = (12, 16, 9)[n % 3]
        sizes = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
        clip, llava = CLIPImageProcessorPil(**sizes), LlavaImageProcessorPil(do_pad=True, **sizes)
        values = lambda processor, picture: np.ascontiguousarray(processor(picture)["pixel_values"][0], np.float32)
        picture = picture.convert("RGB")
        square = expand2square(picture, tuple(int(x * 255) for x in clip.image_mean))
        padded = values(clip, square)
        assert np.array_equal(padded, values(llava, picture))
        tensors |= {f"{n}.picture": np.array(picture), f"{n}.crop": values(clip, picture), f"{n}.pad": padded}
    return tensors


def processor_goldens():
    """Every filter of Pillow, and every way to a square of one size."""
    rng = np.random.default_rng(3)
    pictures = [soft(rng, *shape) for shape in [(17, 22), (40, 13)]]
    square, edge = lambda side: {"height": side, "width": side}, lambda side: {"shortest_edge": side}
    blip, clip, llava = "BlipImageProcessor", "CLIPImageProcessor", "LlavaImageProcessor"
    cases = [(blip, {"size": square(12), "resample": number}) for number in range(6)]
    cases += [(clip, {"size": edge(12), "crop_size": square(12), "resample": number}) for number in range(6)]
    cases += [
        (blip, {"size": square(15), "do_center_crop": True, "crop_size": square(12)}),
        (blip, {"size": edge(12), "do_center_crop": True, "crop_size": square(9), "resample": 2}),
        (clip, {"size": edge(13), "crop_size": square(8)}),
        (clip, {"size": square(13), "crop_size": square(8), "resample": 2}),
        (clip, {"size": square(12), "do_center_crop": False, "do_pad": True}),
        (llava, {"size": edge(15), "crop_size": square(12), "do_pad": True, "resample": 1}),
        (llava, {"size": edge(12), "do_center_crop": False, "do_pad": True}),
        (llava, {"size": edge(12), "crop_size": square(12), "do_rescale": False, "do_normalize": False}),
    ]
    classes = {blip: BlipImageProcessorPil, clip: CLIPImageProcessorPil, llava: LlavaImageProcessorPil}
    tensors = {f"picture.{n}": picture for n, picture in enumerate(pictures)}
    for i, (name, keys) in enumerate(cases):
        for n, picture in enumerate(pictures):
            values = classes[name](**keys)(Image.fromarray(picture))["pixel_values"][0]
            tensors[f"{i}.{n}"] = np.ascontiguousarray(values, dtype=np.float32)
    return tensors, {"configs": json.dumps([{"image_processor_type": name, **keys} for name, keys in cases])}


def png16(array):
    out = io.BytesIO()
    Image.fromarray(array.astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


def file_goldens(folder):
    rng = np.random.default_rng(1)
    rgb = soft(rng, 21, 34)
    gray = Image.fromarray(rgb[..., 0])
    alpha = np.concatenate([rgb, rng.integers(0, 256, (21, 34, 1), dtype=np.uint8)], axis=2)
    cmyk = Image.fromarray(rgb).convert("CMYK")
    gray.save(folder / "gray.jpg", quality=95)
    Image.fromarray(rgb).save(folder / "rgb.jpg", quality=95, subsampling=0)
    Image.fromarray(rgb).save(folder / "progressive.jpg", quality=95, subsampling=0, progressive=True)
    cmyk.save(folder / "cmyk.jpg", quality=95)
    gray.save(folder / "gray.png")
    gray.convert("1").save(folder / "bits.png")
    Image.fromarray(rgb).quantize(16).save(folder / "palette.png")
    Image.fromarray(alpha).save(folder / "alpha.png")
    Image.fromarray(alpha).convert("LA").save(folder / "gray_alpha.png")
    Image.fromarray(rgb).save(folder / "rgb.bmp")
    gray.save(folder / "gray.tiff", compression="tiff_lzw")
    Image.fromarray(rgb).save(folder / "a_png_called.jpg", "PNG")
    names = sorted(path.name for path in folder.iterdir())
    tensors = {name: convert_to_rgb(Image.open(folder / name), return_numpy=True) for name in names}
    # Pillow clips 16 bits to 255 instead of scaling them: the expected values are computed here.
    deep = rng.integers(0, 65536, (9, 12), dtype=np.uint16)
    deep[0, :4] = [0, 128, 129, 65535]
    (folder / "deep.png").write_bytes(png16(deep))
    Image.fromarray(deep).save(folder / "deep.tiff")
    scaled = np.floor(deep * 255.0 / 65535.0 + 0.5).astype(np.uint8)[..., None].repeat(3, axis=2)
    tensors["deep.png"] = tensors["deep.tiff"] = scaled
    return tensors


if __name__ == "__main__":
    vqa_rad, out = map(Path, sys.argv[1:])
    (out / "image_files").mkdir(exist_ok=True)
    for old in (out / "image_files").iterdir():
        old.unlink()
    save_file(clip_goldens(vqa_rad / "VQA_RAD Image Folder"), out / "clip_rule.safetensors")
    save_file(rule_goldens(), out / "image_rule.safetensors")
    tensors, metadata = processor_goldens()
    save_file(tensors, out / "processors.safetensors", metadata)
    save_file(file_goldens(out / "image_files"), out / "image_files.safetensors")
