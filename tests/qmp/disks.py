"""disks.py: a machine without a guest that has a disk, and images to put on top of it."""
import subprocess

from qmp import still

DISK = ["-blockdev", "driver=file,node-name=f,filename=@FOLDER/d",
        "-blockdev", "driver=raw,node-name=r,file=f",
        "-device", "virtio-blk-pci,id=vd0,drive=r"]


class Disks:
    """still() with a disk of 1 MiB and the empty images a, b and c; @added are nodes already."""

    def __init__(self, *args, added=""):
        self.m, self.added = still(*args), added
        folder = self.m.folder.name
        with open(folder + "/d", "wb") as f:
            f.write(b"rhea" * (1 << 18))
        for name in "abc":
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder + "/" + name, "1M"], check=True)

    def __enter__(self):
        m = self.m.__enter__()
        for name in self.added:
            add(m, name)
        return m

    def __exit__(self, *exc):
        self.m.__exit__(*exc)


def add(m, name):
    m.qmp.cmd("blockdev-add", driver="qcow2", backing=None,
              file={"driver": "file", "filename": m.folder.name + "/" + name}, **{"node-name": name})


def disk_node(m):
    return m.qmp.cmd("query-block")[0]["inserted"]["node-name"]
