"""Render the emoji of the pocket world into the three atlases that the package carries.

Run once, when the list of concepts changes (needs npm and `pip install resvg-py`):

    npm install --prefix /tmp/icons @iconify-json/fluent-emoji @iconify-json/fluent-emoji-flat @iconify-json/noto
    python tools/render_sprites.py /tmp/icons/node_modules/@iconify-json

Each atlas is one RGBA picture of 96 px cells, eight to a row, in the order of `concepts.json`.
"""
import io, json, sys
from pathlib import Path

from PIL import Image

CELL, COLUMNS = 96, 8
SETS = ("fluent-emoji", "fluent-emoji-flat", "noto")
OUT = Path(__file__).parent.parent / "regionedit" / "pocket" / "data"


def svg(pack: dict, icon: str) -> str:
    "The icon as a complete SVG document."
    body = pack["icons"][icon]
    w, h = (body.get(k, pack.get(k, 16)) for k in ("width", "height"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{CELL}"'
        f' height="{CELL}">{body["body"]}</svg>'
    )


def render(pack: dict, icon: str) -> Image.Image:
    "One icon, cropped to what is drawn and scaled so that its longer side fills the cell."
    import resvg_py
    big = Image.open(
        io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg(pack, icon), width=2 * CELL,
                                               height=2 * CELL))))
    drawn = big.convert("RGBA").crop(big.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
    scale = CELL / max(drawn.size)
    return drawn.resize([max(1, round(s * scale)) for s in drawn.size], Image.LANCZOS)


def main(icons: Path):
    concepts = json.loads((OUT / "concepts.json").read_text())
    for name in SETS:
        pack = json.loads((icons / name / "icons.json").read_text())
        rows = -(-len(concepts) // COLUMNS)
        atlas = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
        for i, concept in enumerate(concepts):
            atlas.paste(render(pack, concept["icon"]), (i % COLUMNS * CELL, i // COLUMNS * CELL))
        atlas.save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
