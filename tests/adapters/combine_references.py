"""Every method on dense float64 matrices, written entry by entry from the papers' equations."""

import numpy as np


def keep_largest(matrix, density):
    """All but the largest int(density n) entries become zero."""
    flat = np.abs(matrix).ravel()
    kept = np.argsort(-flat, kind="stable")[: int(density * flat.size)]
    mask = np.zeros(flat.size)
    mask[kept] = 1
    return matrix * mask.reshape(matrix.shape)


def elected_mean(matrices, signs):
    out = np.zeros_like(matrices[0])
    for place in np.ndindex(out.shape):
        values = [m[place] for m in matrices]
        votes = values if signs == "total" else np.sign(values)
        sign = np.sign(sum(votes))
        agreeing = [v for v in values if v and np.sign(v) == sign]
        out[place] = sum(agreeing) / len(agreeing) if agreeing else 0.0
    return out


def linear(matrices, **_):
    return sum(matrices)


def magnitude(matrices, *, density, **_):
    return sum(keep_largest(m, density) for m in matrices)


def ties(matrices, *, density, signs="total", **_):
    return elected_mean([keep_largest(m, density) for m in matrices], signs)


def sce(matrices, *, density, absent=0, **_):
    """Selected by variance, weighed by what is left of each one's squares, minorities erased."""
    everyone = np.stack([*matrices, *[np.zeros_like(matrices[0])] * absent])
    spread = everyone.var(axis=0)
    chosen = keep_largest(spread, density * np.count_nonzero(spread) / spread.size + 1e-12) != 0
    kept = everyone * chosen
    energy = (kept**2).sum(axis=(1, 2))
    weights = energy / energy.sum()
    out = np.zeros_like(matrices[0])
    for place in zip(*np.nonzero(chosen), strict=True):
        values = kept[(slice(None), *place)]
        sign = np.sign(values.sum())
        agreeing = (np.sign(values) == sign) & (values != 0)
        if agreeing.any():
            out[place] = (values * weights)[agreeing].sum() / weights[agreeing].sum()
    return out


def aligned(matrices):
    """U and each matrix's S V_i^T, from the decomposition of all of them side by side."""
    u, s, vt = np.linalg.svd(np.concatenate(matrices, axis=1), full_matrices=False)
    used = s > 1e-9
    parts = np.split(s[used, None] * vt[used], len(matrices), axis=1)
    return u[:, used], parts
