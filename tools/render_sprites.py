"""Render the emoji of the pocket world into the four atlases that the package carries.

Run once, when the list of concepts changes (needs npm and `pip install resvg-py`):

    npm install --prefix /tmp/icons @iconify-json/fluent-emoji @iconify-json/fluent-emoji-flat \
        @iconify-json/noto @iconify-json/noto-v1
    python tools/render_sprites.py /tmp/icons/node_modules/@iconify-json

Each atlas is one RGBA picture of 96 px cells, sixteen to a row: all drawings of the first concept
of `concepts.json`, then all of the next. A drawing that a set lacks leaves its cell empty.
"""
import io, json, sys
from pathlib import Path

from PIL import Image

CELL, COLUMNS = 96, 16
SETS = ("fluent-emoji", "fluent-emoji-flat", "noto", "noto-v1")
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


def atlas(pack: dict, icons: list) -> Image.Image:
    "All drawings of a set."
    whole = Image.new("RGBA", (COLUMNS * CELL, -(-len(icons) // COLUMNS) * CELL))
    for i, icon in enumerate(icons):
        if icon in pack["icons"]:
            whole.paste(render(pack, icon), (i % COLUMNS * CELL, i // COLUMNS * CELL))
    return whole


def main(folder: Path):
    concepts = json.loads((OUT / "concepts.json").read_text(encoding="utf-8"))
    icons = [icon for concept in concepts for icon in concept["icons"]]
    for name in SETS:
        pack = json.loads((folder / name / "icons.json").read_text(encoding="utf-8"))
        atlas(pack, icons).save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
