"""Draw the example pictures that the package carries: `python tools/draw_examples.py`."""
from pathlib import Path

from regionedit.pocket.backgrounds import background_image
from regionedit.pocket.scenes import draw_scene, sprite

OUT = Path(__file__).parent.parent / "regionedit" / "pocket" / "data" / "examples"


def wide():
    "A picture that is not square: 192 x 128."
    image = background_image("on the beach", 11).copy()
    bus = sprite("bus", "fluent-emoji", 62)
    image.paste(bus, (112, 58), bus)
    return image


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    draw_scene(3469, num_objects=1).image.save(OUT / "apple.png")
    draw_scene(7, num_objects=2).image.save(OUT / "two.png")
    wide().save(OUT / "wide.png")
