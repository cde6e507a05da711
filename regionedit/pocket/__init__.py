"A small world that the package draws itself, and the models trained on it."
from regionedit.pocket.scenes import CONCEPTS, STYLES, Scene, draw_scene
from regionedit.models.bundled import example, weights_folder

__all__ = ['CONCEPTS', 'STYLES', 'Scene', 'draw_scene', 'example', 'weights_folder']
