"""The report of a fit: one page that needs no other file and reads well on a phone."""

from html import escape
from pathlib import Path

import numpy as np

from relit.export.images import as_8bit, jpeg_uri, resized, to_8bit
from relit.export.preview import Pictures
from relit.types import Head, ReflectanceMaps

MAP_PX = 640
STYLE = """
:root{--ground:#f6f5f3;--card:#fff;--ink:#1c1b1a;--soft:#6d6a66;--line:#e2dfda;--accent:#a4502d;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ground:#131211;--card:#1d1b1a;--ink:#ece9e5;--soft:#9b9690;--line:#302d2a;--accent:#e08a5f}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 16px 56px}
h1{font-size:clamp(26px,5vw,38px);line-height:1.15;letter-spacing:-.02em;margin:12px 0 4px}
h2{font-size:20px;letter-spacing:-.01em;margin:44px 0 4px}
p{margin:4px 0 14px;color:var(--soft);max-width:68ch}
a{color:var(--accent)}
.row{display:grid;gap:10px;grid-template-columns:repeat(auto-fit,minmax(min(100%,210px),1fr))}
.row.maps{grid-template-columns:repeat(auto-fill,minmax(min(100%,160px),1fr))}
figure{margin:0;background:var(--card);border-radius:12px;overflow:hidden;border:1px solid var(--line)}
figure img{display:block;width:100%;height:auto}
figcaption{padding:7px 12px 9px;font-size:14px;color:var(--soft);overflow-wrap:anywhere}
.note{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--accent);border-radius:8px;padding:10px 14px;margin:14px 0}
.note ul{margin:4px 0;padding-left:20px}
.compare{position:relative}
.compare .top{position:absolute;inset:0;clip-path:inset(0 0 0 var(--cut,50%))}
.compare input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize}
.compare i{position:absolute;top:0;bottom:0;left:var(--cut,50%);width:2px;background:#fff;box-shadow:0 0 6px #0009;pointer-events:none}
.compare input:focus-visible~i{width:4px;background:var(--accent)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:15px;font-variant-numeric:tabular-nums}
td,th{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;font-weight:400}
th{color:var(--soft);white-space:nowrap}td.n{text-align:right;width:5.5em}
.bar{height:8px;border-radius:4px;background:var(--accent);min-width:2px}
.pair{display:grid;gap:0 40px;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr))}
code{font:14px ui-monospace,Menlo,Consolas,monospace}
"""
CAPTIONS = {
    "diffuse_albedo": "Diffuse albedo: the colour of the skin without light",
    "specular_albedo": "Specular albedo (F0), shown times 16",
    "roughness": "Roughness",
    "diffuse_normal": "Diffuse normal: softened by light inside the skin",
    "specular_normal": "Specular normal: every pore",
    "displacement_mm": "Displacement, grey is 0, white is +0.3 mm",
    "occlusion": "Ambient occlusion",
    "confidence": "Confidence: white is from the photo, black is completed",
}
FILES = {
    "head.glb": "mesh, materials and 52 ARKit expressions for any engine or viewer",
    "head.obj": "mesh in quads, with head.mtl",
    "maps/": "the maps at full size",
    "preview.png": "the row at the top of this page",
    "avatar.json": "camera, pose, identity, expression, light and every figure",
}


def write_report(record: dict, head: Head, pictures: Pictures, path: Path) -> None:
    """Writes the page for the content of `avatar.json` and the pictures of the head."""
    names = list(pictures.photo)
    body = [
        "<h1>A head that takes new light</h1>",
        f"<p>{escape(', '.join(names))} · method {escape(record['method'])} · maps {_size(record)} "
        f"· {sum(record['seconds'].values()):.0f} s · relit {escape(record['relit_version'])}</p>",
        _warnings(record["warnings"]),
        '<div class="row">',
        *(_comparison(name, pictures.photo[name], pictures.overlay[name]) for name in names),
        *(_figure(pixels, f"Relit, {name}") for name, pixels in pictures.relit.items()),
        "</div>",
        _section("New light", "The neutral head under lights that the photo never saw.", pictures.lights),
        _section("New views", "What the photo hid is completed: judge the sides with that in mind.", pictures.views),
        _section("Expressions", "Three of many that the 52 ARKit shapes make; the same names are in the GLB.", pictures.expressions),
        _section("What was seen", "478 landmarks found in the photo.", pictures.landmarks),
        "<h2>Maps</h2><p>In the layout of the head; every map is in <code>maps/</code> at full size.</p>",
        '<div class="row maps">',
        *(_figure(pixels, CAPTIONS[name]) for name, pixels in _map_pictures(head.maps).items()),
        '</div><div class="pair">',
        f"<div><h2>Time</h2>{_timings(record['seconds'])}</div>",
        f"<div><h2>Camera and pose</h2>{''.join(_photo_table(photo) for photo in record['photos'])}</div>",
        "</div><h2>Files</h2>",
        _table((f"<code>{name}</code>", escape(text)) for name, text in FILES.items()),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>relit: {escape(names[0])}</title><style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _comparison(name: str, photo: np.ndarray, overlay: np.ndarray) -> str:
    """Photo and overlay under one slider."""
    return (
        f'<figure><div class="compare"><img src="{jpeg_uri(photo)}" alt="photo">'
        f'<img class="top" src="{jpeg_uri(overlay)}" alt="the fitted head over the photo">'
        '<input type="range" value="50" aria-label="from photo to fit" '
        "oninput=\"this.parentNode.style.setProperty('--cut',this.value+'%')\"><i></i></div>"
        f"<figcaption>{escape(name)}: photo | fitted head. Slide.</figcaption></figure>"
    )


def _figure(pixels: np.ndarray, caption: str) -> str:
    return (
        f'<figure><img loading="lazy" src="{jpeg_uri(pixels)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption[:1].upper() + caption[1:])}</figcaption></figure>"
    )


def _section(title: str, text: str, pictures: dict[str, np.ndarray]) -> str:
    figures = "".join(_figure(pixels, name) for name, pixels in pictures.items())
    return f'<h2>{escape(title)}</h2><p>{escape(text)}</p><div class="row">{figures}</div>'


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    return f'<div class="note"><b>Worth knowing</b><ul>{"".join(f"<li>{escape(one)}</li>" for one in warnings)}</ul></div>'


def _map_pictures(maps: ReflectanceMaps) -> dict[str, np.ndarray]:
    """The maps as small 8-bit pictures in the aspect of the layout, 2 wide by 3 high."""
    shown = {
        "specular_albedo": maps.specular_albedo * 16,
        "diffuse_normal": 0.5 + 0.5 * maps.diffuse_normal,
        "specular_normal": 0.5 + 0.5 * maps.specular_normal,
        "displacement_mm": 0.5 + maps.displacement_mm / 0.6,
    }
    pictures = {}
    for name in CAPTIONS:
        small = resized(shown.get(name, getattr(maps, name)), MAP_PX, MAP_PX * 2 // 3)
        pixels = to_8bit(small) if name == "diffuse_albedo" else as_8bit(small)
        pictures[name] = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)
    return pictures


def _timings(seconds: dict[str, float]) -> str:
    longest = max(seconds.values(), default=1.0) or 1.0
    rows = (
        (escape(name), f'<div class="bar" style="width:{100 * value / longest:.1f}%"></div>', f"{value:.1f} s")
        for name, value in seconds.items()
    )
    return _table(rows)


def _photo_table(photo: dict) -> str:
    camera, pose = photo["camera"], photo["pose"]
    width, height = camera["size_px"]
    strong = sorted(photo["expression"].items(), key=lambda pair: -pair[1])[:4]
    return _table(
        [
            ("Photo", escape(photo["name"])),
            ("Size", f"{photo['original_size_px'][0]} × {photo['original_size_px'][1]} px"),
            ("Focal length", f"{camera['focal_px']:.0f} px for {width} × {height}"),
            ("Distance", f"{pose['distance_m']:.2f} m"),
            ("Turned to its left", f"{pose['yaw_deg']:.1f}°"),
            ("Tipped up", f"{pose['pitch_deg']:.1f}°"),
            ("Tilted", f"{pose['roll_deg']:.1f}°"),
            ("Expression", ", ".join(f"{escape(name)} {value:.2f}" for name, value in strong if value >= 0.05) or "neutral"),
        ]
    )


def _table(rows) -> str:
    lines = []
    for first, *rest in rows:
        cells = "".join(f'<td class="n">{c}</td>' if index == 1 else f"<td>{c}</td>" for index, c in enumerate(rest))
        lines.append(f"<tr><th>{first}</th>{cells}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _size(record: dict) -> str:
    return f"{record['maps']['columns']} × {record['maps']['rows']}"
