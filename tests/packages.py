"""Packages that offer something by entry points, as pip would have installed them."""

from __future__ import annotations

from pathlib import Path


def installed(directory: Path, package: str, points: dict[str, dict[str, str]], **modules: str) -> Path:
    """A package with its entry points by group, and the modules behind them, for ``PYTHONPATH`` or ``sys.path``."""
    info = directory / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offers.items())
            for group, offers in points.items()
        )
    )
    for name, source in modules.items():
        (directory / f"{name}.py").write_text(source)
    return directory
