"""The table of docs/mapping.md: what a world of many submaps must hold, case by case.

A case is a small frozen dataclass: its fields are what the suite file may set, ``measure`` is what is done. Whatever a
parameter can switch is switched by its name, through the library that everyone uses.
"""
