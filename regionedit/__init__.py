"""Text-driven image editing via learnable regions: find the box, learn it, edit inside it."""
__version__ = "0.1.0"

_WHERE = {"RegionEditor": "editor", "EditResult": "result", "Config": "config", "ModelNotAvailable": "core"}
__all__ = list(_WHERE)


def __getattr__(name):
    "Import a public name when it is first used, so that `import regionedit` costs nothing."
    if name not in _WHERE: raise AttributeError(f"module 'regionedit' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"regionedit.{_WHERE[name]}"), name)
