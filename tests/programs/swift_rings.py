"""The rings of a Swift on one device: `python -m tests.programs.swift_rings <folder> <device> <three ports>`."""

import sys

from swift.common.ring import RingBuilder


def main(folder: str, device: str, *ports: str) -> None:
    """Write `account.ring.gz`, `container.ring.gz` and `object.ring.gz` into the folder."""
    for name, port in zip(("account", "container", "object"), map(int, ports), strict=True):
        ring = RingBuilder(2, 1, 0)
        address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "device": device, "weight": 1.0, "meta": "", **address})
        ring.rebalance()
        ring.get_ring().save(f"{folder}/{name}.ring.gz")


if __name__ == "__main__":
    main(*sys.argv[1:])
