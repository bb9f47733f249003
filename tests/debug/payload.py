"""The kernel that is debugged and dumped, and machines that run it."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "qmp"))

from qmp import Machine                                # pylint: disable=wrong-import-position

KERNEL = NAMES = None


def build(folder):
    """Compiles it; KERNEL is the file, NAMES its symbols."""
    global KERNEL, NAMES                               # pylint: disable=global-statement
    KERNEL = folder + "/payload"
    subprocess.run(["gcc", "-m32", "-g", "-O1", "-ffreestanding", "-fno-pic", "-fno-inline", "-no-pie",
                    "-fno-stack-protector", "-nostdlib", "-static",
                    "-Wl,--section-start=.header=0x101000,-Ttext=0x102000,--build-id=none", "-o", KERNEL,
                    HERE + "/payload-start.S", HERE + "/payload.c"], check=True)
    NAMES = subprocess.run(["nm", KERNEL], check=True, capture_output=True, text=True).stdout


def machine(*args, stopped=True, **options):
    """A machine with it: before its first instruction, or when it has begun to work."""
    m = Machine(*(["-S"] if stopped else []), "-kernel", KERNEL, *args, serial=not stopped, **options)
    at = m.command.index("-bios")
    del m.command[at:at + 2]
    return m
