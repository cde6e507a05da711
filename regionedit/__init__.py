"""Text-driven image editing via learnable regions: find the box, learn it, edit inside it."""
__version__ = "0.1.0"

_WHERE = {"RegionEditor": "method.editor", "EditResult": "method.editor", "Config": "method.config",
          "ModelNotAvailable": "method.core", "Note": "method.core"}
# modules above `method` that add methods to its classes
_JOINED = ("models.pretrained", "results.saved", "explorer.bundle", "explorer.widget")
__all__ = list(_WHERE)


def __getattr__(name):
    "Import a public name when it is first used, so that `import regionedit` costs nothing."
    if name not in _WHERE: raise AttributeError(f"module 'regionedit' has no attribute {name!r}")
    from importlib import import_module
    if name in ("RegionEditor", "EditResult"):
        for room in _JOINED: import_module(f"regionedit.{room}")
    return getattr(import_module(f"regionedit.{_WHERE[name]}"), name)
