"""What a node needs before it starts: the home, the CA, a policy folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from douane.edge.ca import ensure_ca
from douane.edge.config import NodeConfig
from douane.edge.home import Home, HomeError, shipped_policy_dir


def make_config(
    home_path: Path,
    policy_dir: Path | None,
    listen: tuple[str, int],
    connect_to: tuple[tuple[str, int, str, int], ...] = (),
    upstream_ca: Path | None = None,
    console: tuple[str, int] | None = None,
    heartbeat_fd: int | None = None,
) -> NodeConfig:
    """Prepare the home and say how to start; raises `HomeError`."""
    home = Home.prepare(home_path)
    ensure_ca(home)
    return NodeConfig(
        home=home,
        policy_dir=policy_dir.absolute() if policy_dir is not None else ensure_policy(home),
        listen_host=listen[0],
        listen_port=listen[1],
        connect_to=connect_to,
        upstream_ca=upstream_ca,
        heartbeat_fd=heartbeat_fd,
        console=console,
    )


def ensure_policy(home: Home) -> Path:
    """The home's own policy folder, made from the shipped one at the first start."""
    folder = home.root / "policy"
    if not (folder / "policy.yaml").exists():
        shipped = shipped_policy_dir()
        try:
            folder.mkdir(exist_ok=True)
            shutil.copytree(shipped / "cases", folder / "cases", dirs_exist_ok=True)
            for name in ("catalog", "prices"):
                (folder / name).mkdir(exist_ok=True)
            shutil.copyfile(shipped / "policy.yaml", folder / "policy.yaml")
        except OSError as error:
            raise HomeError(f"cannot write {folder}: {error.strerror}") from error
    return folder
