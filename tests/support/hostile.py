"""Inputs of an attacker."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

HUSH = "hush-canary"  # part of every secret of the tests; it must be found nowhere else
CANARIES = {
    "MLFLOW_TRACKING_TOKEN": f"{HUSH}-token",
    "AIRFLOW__API__SECRET_KEY": f"{HUSH}-api-secret-that-is-long-enough-to-sign-with",
    "AIRFLOW__API_AUTH__JWT_SECRET": f"{HUSH}-jwt-secret-that-is-long-enough-to-sign-with",
    "AIRFLOW_CONN_SMTP_DEFAULT": f"smtp://post:{HUSH}-smtp@127.0.0.1:1",
}


def model_with_code(path: Path) -> tuple[Path, Path]:
    """A model file whose Lambda layer writes a file `ran` beside it when it is used; returns both paths."""
    import keras

    ran = path.parent / "ran"
    function = eval(f"lambda pixels: (open({str(ran)!r}, 'w').close(), pixels)[1]")
    code = keras.layers.Lambda(function, output_shape=(32, 32, 3))
    pixels = keras.Input((32, 32, 3))
    years = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(code(pixels)))
    keras.Model(pixels, years).save(path)
    return path, ran


def png_with_exploding_text(kind: str, megabytes: int) -> bytes:
    """A small PNG with a text (`zTXt`, `iTXt`) or colour profile (`iCCP`) of this size when decompressed."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    png, head = buffer.getvalue(), {"zTXt": b"c\0\0", "iTXt": b"c\0\1\0\0\0", "iCCP": b"p\0\0"}[kind]
    content = kind.encode() + head + zlib.compress(bytes(megabytes * 1_000_000), 9)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]  # behind the header


def files_with(text: str, folder: Path) -> list[str]:
    """The files below `folder` that hold the text, whatever their kind."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files if text.encode() in path.read_bytes()]
