"""What people who mean harm would hand in."""

from pathlib import Path


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
