"""Classifies image files by the network beside this file: `python predict.py photo.jpg …`.

It needs onnxruntime, numpy and Pillow, and reads images as the service did for training.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).parent
CARD = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))


def pixels(path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """An image file as uint8 `[channels, size, size]`."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith(("I", "F")):
        low, high = CARD["value_range"] or (0, 65535)
        shares = (np.asarray(image, dtype=np.float64) - low) / (high - low)
        image = Image.fromarray(np.rint(255 * shares.clip(0, 1)).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    side = CARD["image_size"]
    image = ImageOps.fit(image.convert("L" if CARD["channels"] == 1 else "RGB"), (side, side))
    return np.asarray(image, dtype=np.uint8).reshape(side, side, -1).transpose(2, 0, 1)


def main() -> None:
    """Prints a line for each file: its name, the class, and the probability that the network gives it."""
    session = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])
    for path in sys.argv[1:]:
        (logits,) = session.run(["logits"], {"images": pixels(path)[None]})
        shares = np.exp(logits[0] - logits[0].max())
        best = int(shares.argmax())
        print(f"{path}\t{CARD['classes'][best]}\t{shares[best] / shares.sum():.4f}")


if __name__ == "__main__":
    main()
