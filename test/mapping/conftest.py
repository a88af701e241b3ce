import pytest

from spann3r_ros.compiler import COMPILES
from spann3r_ros.mapping import voxel_grid, voxel_table, voxel_view, voxels


def use(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    """Let voxels be handled by compiled code, or by NumPy."""
    if compiled and not COMPILES:
        pytest.skip("numba is not installed")
    for module in (voxel_grid, voxel_table, voxel_view, voxels):
        monkeypatch.setattr(module, "COMPILES", compiled)


@pytest.fixture(params=[True, False], ids=["compiled", "numpy"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, request.param)


@pytest.fixture
def compiled_way(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, True)
