"""The report of a fit: one page that needs no other file and reads well on a phone."""

from html import escape
from pathlib import Path

import numpy as np

from relit.export.images import as_8bit, jpeg_uri, resized, to_8bit
from relit.export.preview import Pictures
from relit.types import Head, ReflectanceMaps

MAP_PX = 640
CAPTIONS = {
    "diffuse_albedo": "Diffuse albedo: the colour of the skin without light",
    "specular_albedo": "Specular albedo (F0), shown times 16",
    "roughness": "Roughness",
    "diffuse_normal": "Diffuse normal: softened by light inside the skin",
    "specular_normal": "Specular normal: every pore",
    "displacement_mm": "Displacement, grey is 0, white is +0.3 mm",
    "occlusion": "Ambient occlusion",
    "confidence": "Confidence: white is from the photo, black is completed",
    "folds": "Folds that come back with the photo's expression",
}
FILES = {
    "head.glb": "mesh, materials and 52 ARKit expressions for any engine or viewer",
    "head.obj": "mesh in quads, with head.mtl",
    "maps/": "the maps at full size",
    "preview.png": "the row at the top of this page",
    "head.safetensors": "vertices, morphs and offsets, for relit.load_avatar",
    "avatar.json": "camera, pose, identity, expression, light and every figure",
}


def write_report(record: dict, head: Head, pictures: Pictures, path: Path) -> None:
    """Writes the page for the content of `avatar.json` and the pictures of the head."""
    names = list(pictures.photo)
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
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
        _section("Expressions", "Three of many that the 52 ARKit shapes of the GLB make.", pictures.expressions),
        _section("What was seen", "478 landmarks found in the photo.", pictures.landmarks, "row small"),
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
        f"<title>relit: {escape(names[0])}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
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
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _section(title: str, text: str, pictures: dict[str, np.ndarray], grid: str = "row") -> str:
    figures = "".join(_figure(pixels, name) for name, pixels in pictures.items())
    return f'<h2>{escape(title)}</h2><p>{escape(text)}</p><div class="{grid}">{figures}</div>'


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(one)}</li>" for one in warnings)
    return f'<div class="note"><b>Worth knowing</b><ul>{items}</ul></div>'


def _map_pictures(maps: ReflectanceMaps) -> dict[str, np.ndarray]:
    """The maps as small 8-bit pictures in the aspect of the layout, 2 wide by 3 high."""
    shown = {
        "specular_albedo": maps.specular_albedo * 16,
        "diffuse_normal": 0.5 + 0.5 * maps.diffuse_normal,
        "specular_normal": 0.5 + 0.5 * maps.specular_normal,
        "displacement_mm": 0.5 + maps.displacement_mm / 0.6,
        "folds": 0.5 + 0.5 * (0 * maps.roughness if maps.folds is None else maps.folds),
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
    by_weight = sorted(photo["expression"].items(), key=lambda pair: -pair[1])
    strong = [f"{escape(name)} {weight:.2f}" for name, weight in by_weight[:4] if weight >= 0.05]
    return _table(
        [
            ("Photo", escape(photo["name"])),
            ("Size", f"{photo['original_size_px'][0]} × {photo['original_size_px'][1]} px"),
            ("Focal length", f"{camera['focal_px']:.0f} px for {width} × {height}"),
            ("Distance", f"{pose['distance_m']:.2f} m"),
            ("Turned to its left", f"{pose['yaw_deg']:.1f}°"),
            ("Tipped up", f"{pose['pitch_deg']:.1f}°"),
            ("Tilted", f"{pose['roll_deg']:.1f}°"),
            ("Expression", ", ".join(strong) or "neutral"),
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
