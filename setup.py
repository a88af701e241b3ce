"""Everything is in setup.cfg, which CMake reads too."""

from setuptools import setup

setup()
