"""PNG files of maps, written several times faster than by libpng: one filter, one block, runs instead of a search."""

import struct
import zlib

import numpy as np
from numba import njit

_SYMBOLS, _END, _DEEPEST = 286, 256, 15  # of deflate: literals, end of block and lengths; bits of a code
_WORD, _MOST = 8, 32  # zeros are left out by the word of 8 bytes, at most 32 words at once


def _runs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(_MOST + 1,) of each count of words: symbol of its length, count of the bits that follow, and their value."""
    symbol, bits, rest = (np.zeros(_MOST + 1, np.int64) for _ in range(3))
    first = 3
    for code in range(257, 285):
        extra = max(0, (code - 261) // 4)
        for length in range(first, first + (1 << extra)):
            if length % _WORD == 0:
                # the last bit is that of the only distance, 1
                symbol[length // _WORD], bits[length // _WORD], rest[length // _WORD] = code, extra + 1, length - first
        first += 1 << extra
    return symbol, bits, rest


_RUN_SYMBOL, _RUN_BITS, _RUN_REST = _runs()


def encode_png(picture: np.ndarray) -> bytes:
    """The PNG file of a picture, lossless; the same bytes whatever libraries are installed.

    Args:
        picture: (H, W) grey or (H, W, 3) RGB, uint8 or uint16.

    Source: PNG, W3C Recommendation (third edition), filter "Sub"; RFC 1951 (deflate), one block of dynamic codes.
    """
    height, width = picture.shape[:2]
    colour = picture.ndim == 3
    if picture.dtype not in (np.uint8, np.uint16) or (colour and picture.shape[2] != 3):
        raise ValueError(f"a PNG of grey or RGB in 8 or 16 bits is written, not {picture.dtype} {picture.shape}")
    depth = picture.itemsize
    rows = np.ascontiguousarray(picture if depth == 1 else picture.byteswap()).view(np.uint8).reshape(height, -1)
    pixel = (3 if colour else 1) * depth
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 1
    filtered[:, 1 : 1 + pixel] = rows[:, :pixel]
    np.subtract(rows[:, pixel:], rows[:, :-pixel], out=filtered[:, 1 + pixel :])
    flat = filtered.ravel()
    packed = b"\x78\x01" + _deflated(flat) + struct.pack(">I", zlib.adler32(flat))
    header = struct.pack(">IIBBBBB", width, height, 8 * depth, 2 if colour else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _deflated(data: np.ndarray) -> bytes:
    """A deflate stream of bytes (N,)."""
    words = data[: len(data) // _WORD * _WORD].view(np.uint64)
    counts = np.zeros((_WORD, _SYMBOLS), np.int64)
    _count(data, words, _RUN_SYMBOL, counts)
    counts = counts.sum(0)
    lengths = _code_lengths(counts)
    while lengths.max() > _DEEPEST:  # flatter counts make shallower trees
        counts = np.where(counts > 0, counts // 4 + 1, 0)
        lengths = _code_lengths(counts)
    codes = _canonical(lengths)
    literals = np.stack([codes, lengths]).astype(np.uint64)
    size = lengths[_RUN_SYMBOL]
    runs = np.stack([codes[_RUN_SYMBOL] | _RUN_REST << size, size + _RUN_BITS]).astype(np.uint64)
    out = np.empty((_SYMBOLS * 4 + len(data) * int(lengths[:_END].max())) // 32 + 64, np.uint32)
    return out.view(np.uint8)[: _write(data, words, literals, runs, lengths, out)].tobytes()


@njit(cache=True)
def _zeros(data, words, at):
    """How many words from here on repeat a zero before them."""
    if words[at] != 0 or at == 0 or data[_WORD * at - 1] != 0:
        return 0
    stop = at + 1
    while stop < min(len(words), at + _MOST) and words[stop] == 0:
        stop += 1
    return stop - at


@njit(cache=True)
def _count(data, words, run_symbol, counts):
    """Counts the symbols that `_write` will write, by place in a word: counts of equal bytes must not wait in line."""
    at = 0
    while at < len(words):
        run = _zeros(data, words, at)
        if run:
            counts[0, run_symbol[run]] += 1
            at += run
        else:
            for k in range(_WORD):
                counts[k, data[_WORD * at + k]] += 1
            at += 1
    for k in range(_WORD * len(words), len(data)):
        counts[0, data[k]] += 1
    counts[0, _END] += 1


@njit(cache=True)
def _code_lengths(counts):
    """(S,) depth of each symbol in Huffman's tree, 0 where it does not occur; two queues of growing weight."""
    leaves = np.argsort(counts, kind="mergesort")
    leaves = leaves[counts[leaves] > 0]
    count = len(leaves)
    weight, parent = np.empty(2 * count - 1, np.int64), np.zeros(2 * count - 1, np.int64)
    weight[:count] = counts[leaves]
    leaf, inner = 0, count
    for made in range(count, 2 * count - 1):
        weight[made] = 0
        for _ in range(2):
            if leaf < count and (inner >= made or weight[leaf] <= weight[inner]):
                taken, leaf = leaf, leaf + 1
            else:
                taken, inner = inner, inner + 1
            weight[made] += weight[taken]
            parent[taken] = made
    depth = np.zeros(2 * count - 1, np.int64)
    for node in range(2 * count - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    lengths = np.zeros(len(counts), np.int64)
    lengths[leaves] = depth[:count]
    return lengths


@njit(cache=True)
def _canonical(lengths):
    """(S,) the codes that go with their lengths, first bit lowest."""
    codes = np.zeros(len(lengths), np.int64)
    code = 0
    for length in range(1, _DEEPEST + 1):
        code <<= 1
        for symbol in range(len(lengths)):
            if lengths[symbol] == length:
                for k in range(length):
                    codes[symbol] |= ((code >> k) & 1) << (length - 1 - k)
                code += 1
    return codes


@njit(cache=True)
def _put(out, state, value, size):
    """`state`, of the bits not yet written, their count and the count of words, after `size` more bits."""
    held, filled, end = state
    held |= value << filled
    filled += size
    # written each time, to stay when it is full: no branch
    out[end] = held & np.uint64(0xFFFFFFFF)
    full = filled >> np.uint64(5)
    return held >> (full << np.uint64(5)), filled & np.uint64(31), end + np.int64(full)


@njit(cache=True)
def _write(data, words, literals, runs, lengths, out):
    """Fills `out` with one final block of dynamic codes; returns the count of its bytes."""
    state = _put(out, (np.uint64(0), np.uint64(0), 0), np.uint64(0b101 | (_SYMBOLS - 257) << 3 | 15 << 13), np.uint64(17))
    # lengths 0 to 15 take 4 bits each, in this order: repeats, which are not used, then the lengths
    for k in range(19):
        state = _put(out, state, np.uint64(4 if k >= 3 else 0), np.uint64(3))
    for k in range(len(lengths) + 1):
        length = lengths[k] if k < len(lengths) else 1  # of the one distance
        for bit in range(3, -1, -1):
            state = _put(out, state, np.uint64((length >> bit) & 1), np.uint64(1))
    code, size = literals
    at = 0
    while at < len(words):
        run = _zeros(data, words, at)
        if run:
            state = _put(out, state, runs[0, run], runs[1, run])
            at += run
        else:
            for k in range(_WORD * at, _WORD * (at + 1), 2):
                a, b = data[k], data[k + 1]
                state = _put(out, state, code[a] | code[b] << size[a], size[a] + size[b])
            at += 1
    for k in range(_WORD * len(words), len(data)):
        state = _put(out, state, code[data[k]], size[data[k]])
    held, filled, end = _put(out, state, code[_END], size[_END])
    out[end] = held
    return 4 * end + np.int64((filled + np.uint64(7)) >> np.uint64(3))
