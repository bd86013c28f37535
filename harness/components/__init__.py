"""The programs of a lab: pinned, found, fetched or built, and packed into images.

- `lock`: what is pinned (`components.lock`): `Lock`, `Component`, `load`.
- `sources`: where a component may come from, one module each behind the `Source` protocol.
- `store`: `Store`, the cache and the resolver; `Resolved`, what it found.
- `tools`: ordinary programs of the machine: `Tools`.
- `images`: container images from those programs, deterministic to the byte.
- `runtime`: a containerd root directory with the images in it, made once and cloned by every node.
- `carry`: `list_components`, `verify`, `export`, `import_`: look at the cache, check it, carry it to another machine.
"""
