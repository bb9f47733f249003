#!/usr/bin/env python3
"""scsi-test.py: SCSI adapters and units as clients see them: places, names, hot-plug, changes of the graph.

The first argument is the program; words behind it choose tests by name.
"""
import json
import sys

from disks import Disks
from qmp import check, main, same, still

NULL = ["-blockdev", "null-co,node-name=n0,size=2097152", "-blockdev", "null-co,node-name=n1,read-only=on"]
HBA = [*NULL, "-device", "virtio-scsi-pci,id=s0"]


def drives(q):
    return {b["qdev"]: b for b in q.cmd("query-block")}


def test_places_and_names():
    with still(*HBA, "-device", "scsi-hd,drive=n0,id=d0", "-device", "scsi-cd,drive=n1,scsi-id=0",
               "-device", "scsi-cd,id=c1") as m:
        q = m.qmp
        got = drives(q)
        anon = "/machine/peripheral-anon/device[0]"
        same(set(got), {"d0", "c1", anon})
        same([got[k]["removable"] for k in ("d0", anon, "c1")], [False, True, True])
        check("inserted" not in got["c1"], got["c1"])
        for path, scsi_id, lun in (("/machine/peripheral/d0", 0, 0), (anon, 0, 1),
                                   ("/machine/peripheral/c1", 1, 0)):
            same(q.cmd("qom-get", path=path, property="scsi-id"), scsi_id)
            same(q.cmd("qom-get", path=path, property="lun"), lun)
        same(q.cmd("qom-get", path="/machine/peripheral/c1", property="product"), "QEMU CD-ROM")
        bus = "/machine/peripheral/s0/virtio-backend/s0.0"
        same(q.cmd("qom-get", path=bus, property="type"), "SCSI")
        same([p["type"] for p in q.cmd("qom-list", path=bus) if p["name"].startswith("child[")],
             ["link<scsi-hd>", "link<scsi-cd>", "link<scsi-cd>"])
        types = {t["name"]: t["parent"] for t in q.cmd("qom-list-types", implements="scsi-device")}
        same((types["scsi-hd"], types["scsi-cd"]), ("scsi-disk-base", "scsi-disk-base"))
        pci = next(d for b in q.cmd("query-pci") for d in b["devices"] if d["qdev_id"] == "s0")
        same((pci["id"]["device"], pci["class_info"]["desc"]), (0x1004, "SCSI controller"))


def test_hot_plug():
    with still(*HBA) as m:
        q = m.qmp
        for _ in range(3):
            q.cmd("device_add", **{"driver": "scsi-hd", "id": "d0", "drive": "n0", "bus": "s0.0",
                                   "scsi-id": 7, "lun": 300, "device_id": "x", "write-cache": "on",
                                   "werror": "stop"})
            q.fails("device_add", text="lun already used by 'd0'",
                    **{"driver": "scsi-cd", "bus": "s0.0", "scsi-id": 7, "lun": 300})
            q.fails("blockdev-del", **{"node-name": "n0"})
            q.cmd("device_del", id="d0")
            same(q.event("DEVICE_DELETED")["path"], "/machine/peripheral/d0")
        q.fails("device_add", text="'scsi-block' is not a valid device model name", driver="scsi-block")
        q.fails("device_add", text="'scsi-generic' is not a valid device model name", driver="scsi-generic")
        q.fails("device_add", text="bad scsi device lun: 16384", driver="scsi-cd", lun=16384)


def test_graph_changes_below():
    with Disks("-blockdev", "driver=file,node-name=f,filename=@FOLDER/d", "-blockdev",
               "driver=raw,node-name=r,file=f", "-device", "virtio-scsi-pci", "-device",
               "scsi-hd,drive=r,id=d0", added="a") as m:
        q = m.qmp
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        same(drives(q)["d0"]["inserted"]["node-name"], "a")
        q.cmd("block_resize", **{"node-name": "a", "size": 4 << 20})
        same(drives(q)["d0"]["inserted"]["image"]["virtual-size"], 4 << 20)


def test_io_threads():
    mapping = [{"iothread": "io0", "vqs": [0, 2]}, {"iothread": "io1", "vqs": [1]}]
    device = {"driver": "virtio-scsi-pci", "id": "s1", "num_queues": 3, "iothread-vq-mapping": mapping}
    with still(*NULL, "-device", "pcie-root-port,id=rp", "-object", "iothread,id=io0", "-object",
               "iothread,id=io1", "-device", json.dumps(device), "-device", "scsi-hd,drive=n0") as m:
        q = m.qmp
        same(q.cmd("qom-get", path="/machine/peripheral/s1", property="iothread-vq-mapping"), mapping)
        q.fails("object-del", text="object 'io1' is in use, can not be deleted", id="io1")
        q.fails("device_add", text="iothread-vq-mapping: there is no iothread 'io9'",
                **{"driver": "virtio-blk-pci", "drive": "n1", "bus": "rp",
                   "iothread-vq-mapping": [{"iothread": "io9"}]})


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
