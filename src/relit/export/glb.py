"""The head as one GLB file: glTF 2.0, metres, +Y up, facing +Z, with PBR materials and 52 ARKit morph targets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch

from relit import __version__
from relit.export.images import as_8bit, jpeg, png, resized, to_8bit
from relit.geometry.mesh import vertex_normals, vertex_tangents
from relit.models.head import ARKIT_NAMES, PARTS, HeadModel
from relit.render.cards import ROUGHNESS
from relit.render.lashes import lash_colour, lash_texture, lashes_of
from relit.types import Head, ReflectanceMaps

TEXTURE_PX = 2048
POSITION_STEP_M = 2e-5  # a morph that moves a vertex less is left out
NORMAL_STEP = 4e-3  # a quarter of a degree
# One material, and so one primitive, per group of parts: engines give eyes and teeth shaders of their own.
MATERIALS = {
    "skin": ("skin",),
    "eyes": ("left_eye", "right_eye"),
    "teeth": ("upper_teeth", "lower_teeth"),
    "mouth": ("mouth", "tongue"),
    "eye_sockets": ("eye_sockets",),
}
LASHES = "lashes"  # one more primitive, with a texture of its own
LASH_SCALE = 4  # of the lashes' texture, for close-ups
# Occlusion is baked with the mouth closed; an open one lets light reach the teeth and the tongue.
OCCLUSION = {"teeth": 0.4, "mouth": 0.7}
# Diffuse mean free path 1 / sqrt(3 a (a + s)) of Jensen et al. 2001, table 1, "skin1":
# absorption a = (0.032, 0.17, 0.48) and reduced scattering s = (0.74, 0.88, 1.01) per millimetre.
SCATTERING_MM = (3.67, 1.37, 0.68)


_TEXTURED = ("diffuse_albedo", "occlusion", "roughness", "specular_normal", "specular_albedo")
_CODES = {
    np.dtype(np.float32): gltf.FLOAT,
    np.dtype(np.uint16): gltf.UNSIGNED_SHORT,
    np.dtype(np.uint32): gltf.UNSIGNED_INT,
}


@dataclass(frozen=True)
class _Surface:
    """One primitive with vertices of its own."""

    rows: np.ndarray  # [n] which render vertices of the model
    triangles: np.ndarray  # [t, 3] into `rows`


class _Buffer:
    """Grows the binary chunk and hands out accessor numbers."""

    def __init__(self, document: gltf.GLTF2):
        self.document, self.blob = document, bytearray()

    def view(self, data: bytes, target: int | None = None) -> int:
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = gltf.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(data), target=target)
        self.blob.extend(data)
        self.document.bufferViews.append(view)
        return len(self.document.bufferViews) - 1

    def accessor(self, array: np.ndarray, kind: str, target: int, bounds: bool = False) -> int:
        view = self.view(np.ascontiguousarray(array).tobytes(), target)
        return self._add(gltf.Accessor(bufferView=view, **_shape(array, kind), **(_bounds(array) if bounds else {})))

    def sparse(self, values: np.ndarray, threshold: float, bounds: bool = False) -> int:
        """[n, 3] values, of which only those longer than the threshold are stored; the others read as zero."""
        moved = (values**2).sum(1) > threshold**2
        kept, stored = np.flatnonzero(moved), np.where(moved[:, None], values, np.float32(0))
        accessor = gltf.Accessor(bufferView=None, **_shape(stored, "VEC3"), **(_bounds(stored) if bounds else {}))
        accessor.byteOffset = None  # a sparse accessor without a base view must not have one
        if len(kept):
            index = _smallest_index(kept, len(values))
            accessor.sparse = gltf.Sparse(
                count=len(kept),
                indices=gltf.AccessorSparseIndices(bufferView=self.view(index.tobytes()), componentType=_CODES[index.dtype]),
                values=gltf.AccessorSparseValues(bufferView=self.view(stored[kept].tobytes())),
            )
        return self._add(accessor)

    def _add(self, accessor: gltf.Accessor) -> int:
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1


def write_glb(head: Head, model: HeadModel, path: Path) -> None:
    """Writes the neutral head with its rig and maps as a GLB file.

    Source: glTF 2.0 (ISO/IEC 12113:2022); KHR_materials_specular and KHR_materials_ior, Khronos Group.
    Differs: displacement and diffuse normals stay beside the file as maps; scattering is named in the skin's `extras`,
        because no ratified extension is read by the common tools.
    """
    document = gltf.GLTF2(asset=gltf.Asset(version="2.0", generator=f"relit {__version__}"))
    document.extensionsUsed = ["KHR_materials_ior", "KHR_materials_specular"]
    buffer = _Buffer(document)
    _add_textures(document, buffer, head.maps)
    document.materials = [*(_material(name, head.maps) for name in MATERIALS), _lash_material()]
    primitives = [*_primitives(head, model, buffer), _lash_primitive(head, model, buffer)]
    mesh = gltf.Mesh(name="head", primitives=primitives, weights=[0.0] * len(ARKIT_NAMES))
    mesh.extras = {"targetNames": list(ARKIT_NAMES)}
    document.meshes = [mesh]
    document.nodes = [gltf.Node(name="head", mesh=0)]
    document.scenes = [gltf.Scene(name="head", nodes=[0])]
    document.scene = 0
    document.buffers = [gltf.Buffer(byteLength=len(buffer.blob))]
    document.set_binary_blob(bytes(buffer.blob))
    path.write_bytes(b"".join(document.save_to_bytes()))


def _surfaces(model: HeadModel) -> list[_Surface]:
    """The primitives of the model in the order of MATERIALS."""
    part, triangles = model.part.numpy(), model.render_triangles.numpy()
    result = []
    for parts in MATERIALS.values():
        chosen = triangles[np.isin(part, [PARTS.index(name) for name in parts])]
        rows, local = np.unique(chosen, return_inverse=True)
        result.append(_Surface(rows, _smallest_index(local.reshape(-1, 3), len(rows))))
    return result


def _primitives(head: Head, model: HeadModel, buffer: _Buffer) -> list[gltf.Primitive]:
    """The primitives with normals, tangents and morph targets."""
    neutral, morphs, weld = head.vertices.detach(), head.morphs.detach(), model.render_vertex
    normals = vertex_normals(neutral, model.triangles)
    turns = torch.stack([vertex_normals(neutral + morph, model.triangles) for morph in morphs]) - normals
    tangents = vertex_tangents(neutral[weld], model.uv, model.render_triangles, normals[weld]).numpy()
    neutral, normals, morphs, turns, weld = (x.numpy() for x in (neutral, normals, morphs, turns, weld))
    primitives = []
    for material, surface in enumerate(_surfaces(model)):
        rows, welded = surface.rows, weld[surface.rows]
        targets = [
            {
                "POSITION": buffer.sparse(morph[welded], POSITION_STEP_M, bounds=True),
                "NORMAL": buffer.sparse(turn[welded], NORMAL_STEP),
            }
            for morph, turn in zip(morphs, turns, strict=True)
        ]
        attributes = gltf.Attributes(
            POSITION=buffer.accessor(neutral[welded], "VEC3", gltf.ARRAY_BUFFER, bounds=True),
            NORMAL=buffer.accessor(normals[welded], "VEC3", gltf.ARRAY_BUFFER),
            TANGENT=buffer.accessor(tangents[rows], "VEC4", gltf.ARRAY_BUFFER),
            TEXCOORD_0=buffer.accessor(model.uv.numpy()[rows], "VEC2", gltf.ARRAY_BUFFER),
        )
        indices = buffer.accessor(surface.triangles.reshape(-1), "SCALAR", gltf.ELEMENT_ARRAY_BUFFER)
        primitives.append(gltf.Primitive(attributes=attributes, indices=indices, material=material, targets=targets))
    return primitives


def _lash_primitive(head: Head, model: HeadModel, buffer: _Buffer) -> gltf.Primitive:
    """The lashes as cards that go with the lids in every morph target."""
    cards, placed = lashes_of(model, head.vertices.detach())
    triangles = torch.from_numpy(cards.triangles)
    moved = [lashes_of(model, (head.vertices + morph).detach())[1] - placed for morph in head.morphs]
    attributes = gltf.Attributes(
        POSITION=buffer.accessor(placed.numpy(), "VEC3", gltf.ARRAY_BUFFER, bounds=True),
        NORMAL=buffer.accessor(vertex_normals(placed, triangles).numpy(), "VEC3", gltf.ARRAY_BUFFER),
        TEXCOORD_0=buffer.accessor(cards.uv, "VEC2", gltf.ARRAY_BUFFER),
    )
    index = _smallest_index(cards.triangles.reshape(-1), len(placed))
    return gltf.Primitive(
        attributes=attributes,
        indices=buffer.accessor(index, "SCALAR", gltf.ELEMENT_ARRAY_BUFFER),
        material=len(MATERIALS),
        targets=[{"POSITION": buffer.sparse(morph.numpy(), POSITION_STEP_M, bounds=True)} for morph in moved],
    )


def lash_picture(maps: ReflectanceMaps) -> np.ndarray:
    """[H, W, 4] 8-bit sRGB and coverage: the texture of the lashes."""
    cover = torch.from_numpy(lash_texture(LASH_SCALE))[..., None]
    return to_8bit(torch.cat([lash_colour(maps).expand(*cover.shape[:2], 3), cover], -1))


def _add_textures(document: gltf.GLTF2, buffer: _Buffer, maps: ReflectanceMaps) -> None:
    """Four textures of the head, colour and reflectance with the sRGB curve, full-chroma JPEG; and that of the lashes."""
    small = {name: resized(getattr(maps, name), TEXTURE_PX, TEXTURE_PX) for name in _TEXTURED}
    packed = torch.stack([small["occlusion"], small["roughness"], torch.zeros_like(small["roughness"])], -1)
    tint = (small["specular_albedo"] / _peak_reflectance(maps)).clamp(0, 1)[..., None].expand(-1, -1, 3)
    pictures = {
        "diffuse_albedo": to_8bit(small["diffuse_albedo"]),
        "occlusion_roughness_metallic": as_8bit(packed),
        "specular_normal": as_8bit(0.5 + 0.5 * torch.nn.functional.normalize(small["specular_normal"], dim=-1)),
        "specular_albedo": to_8bit(tint),
    }
    edge = gltf.CLAMP_TO_EDGE
    document.samplers = [
        gltf.Sampler(magFilter=gltf.LINEAR, minFilter=gltf.LINEAR_MIPMAP_LINEAR, wrapS=edge, wrapT=edge)
    ]
    for index, (name, picture) in enumerate(pictures.items()):
        view = buffer.view(jpeg(picture, quality=94, full_chroma=True))
        document.images.append(gltf.Image(name=name, mimeType="image/jpeg", bufferView=view))
        document.textures.append(gltf.Texture(name=name, source=index, sampler=0))
    view = buffer.view(png(lash_picture(maps)))
    document.images.append(gltf.Image(name=LASHES, mimeType="image/png", bufferView=view))
    document.textures.append(gltf.Texture(name=LASHES, source=len(pictures), sampler=0))


def _material(name: str, maps: ReflectanceMaps) -> gltf.Material:
    """A dielectric that reads the four textures."""
    root = _peak_reflectance(maps) ** 0.5
    material = gltf.Material(
        name=name,
        doubleSided=name == "skin",  # the neck is open
        pbrMetallicRoughness=gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=0),
            metallicRoughnessTexture=gltf.TextureInfo(index=1),
            metallicFactor=0.0,
        ),
        occlusionTexture=gltf.OcclusionTextureInfo(index=1, strength=OCCLUSION.get(name, 1.0)),
        normalTexture=gltf.NormalMaterialTexture(index=2),
    )
    material.extensions = {
        "KHR_materials_ior": {"ior": (1 + root) / (1 - root)},
        "KHR_materials_specular": {"specularColorTexture": {"index": 3}},
    }
    if name == "skin":
        material.extras = {
            "subsurface": {
                "radius_mm": list(SCATTERING_MM),
                "source": "Jensen et al. 2001, table 1, skin1: diffuse mean free path",
                "diffuse_normal": "maps/diffuse_normal.png",
            },
            "displacement": {"file": "maps/displacement.exr", "unit": "mm"},
        }
    return material


def _lash_material() -> gltf.Material:
    """Strands with gaps between them."""
    return gltf.Material(
        name=LASHES,
        doubleSided=True,
        alphaMode=gltf.BLEND,
        pbrMetallicRoughness=gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=len(_TEXTURED) - 1), metallicFactor=0.0, roughnessFactor=ROUGHNESS
        ),
    )


def _peak_reflectance(maps: ReflectanceMaps) -> float:
    """The reflectance at normal incidence that a white texel stands for; 0.04 is glTF's default."""
    return max(0.04, float(maps.specular_albedo.max()))


def _smallest_index(index: np.ndarray, count: int) -> np.ndarray:
    return index.astype(np.uint16 if count <= 65535 else np.uint32)


def _shape(array: np.ndarray, kind: str) -> dict:
    return {"componentType": _CODES[array.dtype], "count": len(array), "type": kind}


def _bounds(array: np.ndarray) -> dict:
    return {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
