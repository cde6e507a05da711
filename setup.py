"""Installs regionedit; every fact comes from settings.ini, nbdev's configuration."""
from configparser import ConfigParser
from pathlib import Path
from shutil import copy, rmtree

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
extras = {n: cfg[f"{n}_requirements"].split() for n in ("cluster", "lora", "offload")}


class BuildWithCourse(build_py):
    "Copies the course into the package; a clone and an editable install read nbs/course itself."
    def run(self):
        super().run()
        if getattr(self, "editable_mode", False): return
        target = Path(self.build_lib) / "regionedit" / "course_data"
        rmtree(target, ignore_errors=True)      # a build folder may hold lessons of another name
        target.mkdir(parents=True)
        for page in sorted((here / "nbs" / "course").glob("[0-9]*.ipynb")): copy(page, target)

setup(
    cmdclass={"build_py": BuildWithCourse},
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    project_urls={
        "Documentation": cfg["doc_host"] + cfg["doc_baseurl"],
        "Changelog": f"{cfg['git_url']}/blob/{cfg['branch']}/CHANGELOG.md",
        "Issues": f"{cfg['git_url']}/issues",
        "Paper": "https://arxiv.org/abs/2311.16432",
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Jupyter",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 14)),
        "Topic :: Multimedia :: Graphics :: Editors",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    license="Apache-2.0",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["regionedit", "regionedit.*"]),
    package_data={"regionedit": ["py.typed", "pocket/data/**", "pocket/models/**",
                                 "explorer/*.js", "explorer/*.css"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={
        **extras, "dev": [*cfg["dev_requirements"].split(), *sum(extras.values(), [])],
    },
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_name']}=regionedit._modidx:d"],
    },
)
