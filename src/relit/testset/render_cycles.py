"""Renders scene folders with Blender Cycles; runs inside `bpy` (a Python of its own) and knows nothing of relit.

    python render_cycles.py < lines

Each line of the input is a JSON object {"scene": FILE.npz, "picture": FILE.npy, "samples": N, "threads": N}; for each one
line {"picture": ..., "seconds": ...} is printed when the picture (H, W, 4, linear, colour multiplied by coverage) is
written.

Head frame (+Y up, +Z out of the face) becomes Blender's (+Z up): (x, y, z) -> (x, -z, y).
"""

import json
import os
import sys
import time

import bpy
import numpy as np
from mathutils import Matrix

TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
SKIN_IOR, CORNEA_IOR = 1.4, 1.376
LOBES = ((0.85, 1.08), (0.15, 0.62))  # share and factor on the roughness of the two specular lobes of skin
WET = {"mouth": 0.25, "upper_teeth": 0.12, "lower_teeth": 0.12, "tongue": 0.28, "eye_sockets": 0.15}
SCATTER = {"mouth": 1.0, "upper_teeth": 0.8, "lower_teeth": 0.8, "tongue": 1.0, "eye_sockets": 0.6}  # factor on the radius
SCLERA_RADIUS_M = (0.0008, 0.0006, 0.0005)
DENOISE = True


class Nodes:
    """Short hand for a node tree."""

    def __init__(self, tree):
        self.tree = tree
        tree.nodes.clear()

    def add(self, kind, **inputs):
        """A node of a kind, with inputs by name (blanks as underscores): numbers or sockets."""
        node = self.tree.nodes.new(kind)
        for name, value in inputs.items():
            self.set(node, name.replace("_", " "), value)
        return node

    def set(self, node, name, value):
        """Gives an input of a node, by name or number, a value or a socket's."""
        socket = node.inputs[int(name) if name.isdigit() else name]
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation, *values):
        """The socket of an operation on numbers or sockets."""
        node = self.tree.nodes.new("ShaderNodeMath")
        node.operation = operation
        for number, value in enumerate(values):
            self.set(node, str(number), value)
        return node.outputs[0]

    def mix(self, share, first, second):
        """The socket of two shaders mixed; share 1 is the second."""
        node = self.tree.nodes.new("ShaderNodeMixShader")
        for number, value in enumerate((share, first, second)):
            self.set(node, str(number), value)
        return node.outputs[0]

    def texture(self, image, extension="EXTEND"):
        """A texture node of an image."""
        node = self.tree.nodes.new("ShaderNodeTexImage")
        node.image, node.extension, node.interpolation = image, extension, "Linear"
        return node

    def output(self, shader, kind="ShaderNodeOutputMaterial"):
        """Makes a shader what the tree gives."""
        self.tree.links.new(shader, self.tree.nodes.new(kind).inputs["Surface"])


def image_of(name, values):
    """A float image; row 0 of `values` is the top."""
    values = np.asarray(values, np.float32)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, -1)
    if values.shape[-1] == 3:
        values = np.concatenate([values, np.ones_like(values[..., :1])], -1)
    rows, columns = values.shape[:2]
    image = bpy.data.images.new(name, columns, rows, alpha=True, float_buffer=True, is_data=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.ascontiguousarray(values[::-1]).ravel())
    image.update()
    return image


def material(name):
    """A new material, and its empty node tree."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    return made, Nodes(made.node_tree)


def mesh_of(name, vertices, faces, uv=None):
    """A mesh object.

    Args:
        vertices: (V, 3) head frame.
        faces: (F, 3 or 4).
        uv: (F, 3 or 4, 2) origin at the top left.
    """
    mesh = bpy.data.meshes.new(name)
    corners = faces.shape[1]
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", (vertices @ TO_BLENDER.T).astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, corners, dtype=np.int32))
    if uv is not None:
        layer = mesh.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", (uv * [1, -1] + [0, 1]).astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    mesh.validate()
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    return made


def principled(nodes, **given):
    """A principled shader that scatters by random walk, its inputs as given."""
    node = nodes.add("ShaderNodeBsdfPrincipled", **given)
    node.subsurface_method = "RANDOM_WALK"
    return node


def skin_material(name, images, radius, lobes=LOBES, wet=None, normal=True):
    """Random-walk scattering below two specular lobes."""
    made, nodes = material(name)
    colour = nodes.texture(images["albedo"]).outputs["Color"]
    f0 = nodes.texture(images["f0"]).outputs["Color"]
    plain = ((SKIN_IOR - 1) / (SKIN_IOR + 1)) ** 2
    level = nodes.math("MULTIPLY", f0, 0.5 / plain)
    rough = nodes.texture(images["roughness"]).outputs["Color"]
    bent = None
    if normal:
        bent = nodes.add("ShaderNodeNormalMap", Color=nodes.texture(images["normal"]).outputs["Color"])
        bent.uv_map = "uv"
        bent = bent.outputs["Normal"]
    shaders = []
    for _, factor in lobes:
        roughness = nodes.math("MINIMUM", nodes.math("MULTIPLY", rough, factor), 1.0 if wet is None else wet * factor)
        node = principled(
            nodes,
            Base_Color=colour,
            Roughness=roughness,
            IOR=SKIN_IOR,
            Specular_IOR_Level=level,
            Subsurface_Weight=1.0,
            Subsurface_Radius=[r / max(radius) for r in radius],
            Subsurface_Scale=max(radius),
            Subsurface_Anisotropy=0.0,
        )
        if bent is not None:
            nodes.set(node, "Normal", bent)
        shaders.append(node.outputs[0])
    nodes.output(nodes.mix(lobes[1][0], *shaders) if len(shaders) == 2 else shaders[0])
    return made


def eye_material(images):
    """The eyeball's surface: wet white outside the limbus, clear cornea inside."""
    made, nodes = material("eye")
    colour = nodes.texture(images["albedo"]).outputs["Color"]
    white = principled(
        nodes,
        Base_Color=colour,
        Roughness=0.08,
        IOR=CORNEA_IOR,
        Subsurface_Weight=0.7,
        Subsurface_Radius=[r / SCLERA_RADIUS_M[0] for r in SCLERA_RADIUS_M],
        Subsurface_Scale=SCLERA_RADIUS_M[0],
    ).outputs[0]
    glass = nodes.add("ShaderNodeBsdfGlass", Color=(1, 1, 1, 1), Roughness=0.0, IOR=CORNEA_IOR).outputs[0]
    clear = nodes.add("ShaderNodeBsdfTransparent").outputs[0]
    path = nodes.add("ShaderNodeLightPath")
    seen = nodes.math("MAXIMUM", path.outputs["Is Camera Ray"], path.outputs["Is Singular Ray"])
    cornea = nodes.mix(seen, clear, glass)
    share = nodes.add("ShaderNodeAttribute")
    share.attribute_name = "cornea"
    nodes.output(nodes.mix(share.outputs["Fac"], white, cornea))
    return made


def iris_material(images):
    """The dull iris below the cornea."""
    made, nodes = material("iris")
    colour = nodes.texture(images["albedo"]).outputs["Color"]
    nodes.output(principled(nodes, Base_Color=colour, Roughness=0.6, Specular_IOR_Level=0.1).outputs[0])
    return made


def hair_material(texture, colour):
    """What lies below the strands: a dull layer, transparent where the cards are."""
    made, nodes = material("hair")
    cover = nodes.texture(image_of("cover", np.dstack([texture[..., 1:].repeat(3, -1)]))).outputs["Color"]
    body = principled(nodes, Base_Color=(*(0.4 * float(c) for c in colour), 1.0), Roughness=0.9, Specular_IOR_Level=0.1)
    clear = nodes.add("ShaderNodeBsdfTransparent").outputs[0]
    nodes.output(nodes.mix(cover, clear, body.outputs[0]))
    return made


def strand_material(colour):
    """Fibres (Chiang et al. 2016), each a little lighter or darker."""
    made, nodes = material("strands")
    fibre = nodes.tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    fibre.model, fibre.parametrization = "CHIANG", "COLOR"
    for name, value in (
        ("Color", (*map(float, colour), 1.0)), ("Roughness", 0.32), ("Radial Roughness", 0.4), ("IOR", 1.55),
        ("Random Roughness", 0.3),
    ):  # fmt: skip
        nodes.set(fibre, name, value)
    nodes.output(fibre.outputs[0])
    return made


def add_strands(points, radius, colour):
    """Hair (N, steps, 3), head frame, thinner towards its ends; radius in metres."""
    count, steps = points.shape[:2]
    curves = bpy.data.hair_curves.new("strands")
    curves.add_curves([steps] * count)
    curves.attributes["position"].data.foreach_set("vector", (points @ TO_BLENDER.T).astype(np.float32).ravel())
    taper = np.broadcast_to(1 - 0.6 * np.abs(np.linspace(-1, 1, steps)) ** 3, (count, steps)) * radius
    attribute = curves.attributes.new("radius", "FLOAT", "POINT")
    attribute.data.foreach_set("value", taper.astype(np.float32).ravel())
    made = bpy.data.objects.new("strands", curves)
    bpy.context.scene.collection.objects.link(made)
    curves.materials.append(strand_material(colour))


def plain_material(name, colour, roughness, metallic=False, opacity=1.0):
    """Cloth, plastic, metal; what is not opaque is tinted glass without thickness."""
    made, nodes = material(name)
    colour = (*map(float, colour), 1.0)
    body = principled(nodes, Base_Color=colour, Roughness=float(roughness), Metallic=float(metallic)).outputs[0]
    if opacity < 1:
        clear = nodes.add("ShaderNodeBsdfTransparent", Color=colour).outputs[0]
        mirror = nodes.add("ShaderNodeBsdfAnisotropic", Roughness=float(roughness)).outputs[0]
        fresnel = nodes.add("ShaderNodeFresnel", IOR=1.5).outputs[0]
        body = nodes.mix(fresnel, nodes.mix(float(opacity), clear, body), mirror)
    nodes.output(body)
    return made


def add_head(data):
    """Skin, mouth, eyeballs and irises."""
    images = {name: image_of(name, data[name]) for name in ("albedo", "f0", "roughness", "normal")}
    names = [str(name) for name in data["part_names"]]
    head = mesh_of("head", data["vertices"], data["quads"], data["quad_uv"])
    radius = [float(r) for r in data["radius_m"]]
    eye = eye_material(images)
    for name in names:
        if name.endswith("_eye"):
            head.data.materials.append(eye)
        elif name in WET:
            scaled = [r * SCATTER[name] for r in radius]
            head.data.materials.append(skin_material(name, images, scaled, ((1.0, 1.0),), WET[name], False))
        else:
            head.data.materials.append(skin_material(name, images, radius))
    head.data.polygons.foreach_set("material_index", data["quad_part"].astype(np.int32))
    attribute = head.data.attributes.new("cornea", "FLOAT", "POINT")
    attribute.data.foreach_set("value", data["cornea"].astype(np.float32))
    iris = mesh_of("iris", data["iris_vertices"], data["iris_quads"], data["iris_uv"])
    iris.data.materials.append(iris_material(images))


def add_extras(data):
    """Hair, lashes and what is worn."""
    if "hair_vertices" in data:
        triangles = data["hair_triangles"]
        hair = mesh_of("hair", data["hair_vertices"], triangles, data["hair_uv"][triangles])
        hair.data.materials.append(hair_material(data["hair_texture"], data["hair_colour"]))
        add_strands(data["strands"], float(data["strand_radius"]), data["hair_colour"])
    if "lash_vertices" in data:
        lashes = mesh_of("lashes", data["lash_vertices"], data["lash_triangles"])
        lashes.data.materials.append(plain_material("lashes", data["lash_colour"], 0.5))
    for k in range(int(data["props"])):
        get = lambda name, k=k: data[f"prop{k}_{name}"]  # noqa: E731
        colour, roughness, opacity, metallic = get("colour"), get("roughness"), float(get("opacity")), bool(get("metallic"))
        prop = mesh_of(f"prop{k}", get("vertices"), get("triangles"))
        prop.data.materials.append(plain_material(f"prop{k}", colour, roughness, metallic, opacity))


def add_light(data):
    """The panorama around, and lamps too small for its texels."""
    scene = bpy.context.scene
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    nodes = Nodes(world.node_tree)
    panorama = data["panorama"]
    # Blender's panoramas have -Y (the face's front) at three quarters of their width
    image = image_of("panorama", np.roll(panorama, panorama.shape[1] // 4, axis=1))
    around = nodes.tree.nodes.new("ShaderNodeTexEnvironment")
    around.image = image
    background = nodes.add("ShaderNodeBackground", Color=around.outputs["Color"], Strength=1.0)
    nodes.output(background.outputs[0], "ShaderNodeOutputWorld")
    for k, (direction, radius, power) in enumerate(
        zip(data["lamp_directions"], data["lamp_radii"], data["lamp_irradiances"], strict=True)
    ):
        lamp = bpy.data.lights.new(f"lamp{k}", "SUN")
        strength = float(np.max(power))
        lamp.energy, lamp.color, lamp.angle = strength, [float(p) / strength for p in power], 2 * float(radius)
        made = bpy.data.objects.new(f"lamp{k}", lamp)
        towards = TO_BLENDER @ direction
        side = np.cross([0.0, 0.0, 1.0] if abs(towards[2]) < 0.9 else [1.0, 0, 0], towards)
        side /= np.linalg.norm(side)
        turn = np.stack([side, np.cross(towards, side), towards], 1)  # lamps shine along their -Z
        made.matrix_world = Matrix(turn.tolist()).to_4x4()
        scene.collection.objects.link(made)


def add_camera(data):
    """The pinhole camera of the photo."""
    scene = bpy.context.scene
    width, height = (int(v) for v in data["size_px"])
    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit, camera.sensor_width = "HORIZONTAL", 36.0
    camera.lens = float(data["focal_px"]) / width * 36.0
    camera.shift_x = -(float(data["centre_px"][0]) - width / 2) / width
    camera.shift_y = (float(data["centre_px"][1]) - height / 2) / width
    camera.clip_start = 0.01
    made = bpy.data.objects.new("camera", camera)
    head_from_camera = np.linalg.inv(data["camera_from_head"].astype(float))
    pose = np.eye(4)
    pose[:3, :3] = TO_BLENDER @ head_from_camera[:3, :3] @ np.diag([1.0, -1, -1])
    pose[:3, 3] = TO_BLENDER @ head_from_camera[:3, 3]
    made.matrix_world = Matrix(pose.tolist())
    scene.collection.objects.link(made)
    scene.camera = made
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100


def settings(samples, threads, seed):
    """Cycles on the CPU, few bounces, denoised, linear output."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Raw"
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "32"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, seed
    cycles.use_adaptive_sampling = False
    cycles.use_denoising, cycles.denoiser = DENOISE, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 5, 3, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 5, 12
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 8.0
    cycles.filter_width = 1.5
    cycles.use_auto_tile = False
    scene.cycles_curves.shape = "RIBBONS"


def render(job):
    """Renders one scene file."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with np.load(job["scene"]) as stored:
        data = {name: stored[name] for name in stored.files}
    add_head(data)
    add_extras(data)
    add_light(data)
    add_camera(data)
    settings(job["samples"], job["threads"], int(data["seed"]))
    picture = job["picture"] + ".exr"
    bpy.context.scene.render.filepath = picture
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(picture)
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_get(values)
    os.remove(picture)
    draft = job["picture"] + ".draft.npy"
    np.save(draft, values.reshape(height, width, 4)[::-1].clip(0, 65504).astype(np.float16))
    os.replace(draft, job["picture"])


def main():
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        render(job)
        print(json.dumps({"picture": job["picture"], "seconds": round(time.perf_counter() - start, 2)}), flush=True)


if __name__ == "__main__":
    main()
