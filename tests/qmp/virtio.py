"""virtio.py: a driver for a virtio-blk-pci function, run by the guest of the live tests.

It uses the legacy interface (Virtio 1.2, section 4.1.4.10), whose registers are ports, and MSI-X.  Everything
is below 1 MiB; memory is all zeroes when the guest has started.
"""
from qmp import check, same

PORTS, TABLE = 0xc000, 0xfe000000      # where the BARs go
QUEUE, DATA = 0x10000, 0x20000
QUEUE_PFN, QUEUE_SIZE, QUEUE_SELECT, NOTIFY, STATUS, CONFIG_VECTOR, QUEUE_VECTOR = 8, 12, 14, 16, 18, 20, 22
IN, OUT, FLUSH, DISCARD, WRITE_ZEROES = 0, 1, 4, 11, 13
FLUSH_F, DISCARD_F, WRITE_ZEROES_F = 9, 13, 14
NEXT, WRITE = 1, 2


class Blk:
    """The function at @slot, ready for requests, with an interrupt vector of its own for each queue."""

    def __init__(self, m, slot, masked=True):
        self.m, self.bdf, self.sent = m, slot << 3, 0
        m.pci_write(self.bdf, 0x10, PORTS)
        m.pci_write(self.bdf, 0x14, TABLE)
        m.pci_write(self.bdf, 4, 7)
        self.msix = m.pci_capability(self.bdf, 0x11)
        m.pci_write(self.bdf, self.msix, 0x80000000)
        for vector in (0, 1):
            for at, value in ((0, 0xfee00000), (4, 0), (8, 0x40 + vector), (12, int(masked))):
                m.store(TABLE + vector * 16 + at, value)
        for status in (0, 1, 3):
            m.outb(PORTS + STATUS, status)
        m.outl(PORTS + 4, m.inl(PORTS) & (1 << FLUSH_F | 1 << DISCARD_F | 1 << WRITE_ZEROES_F))
        m.outw(PORTS + CONFIG_VECTOR, 0)
        m.outw(PORTS + QUEUE_SELECT, 0)
        self.size = m.inl(PORTS + QUEUE_SIZE) & 0xffff
        m.outl(PORTS + QUEUE_PFN, QUEUE >> 12)
        m.outw(PORTS + QUEUE_VECTOR, 1)
        self.avail = QUEUE + 16 * self.size
        self.used = self.avail + 4 + 2 * self.size + 2 + 4095 & ~4095
        m.outb(PORTS + STATUS, 7)

    def mask(self, on):
        for vector in (0, 1):
            self.m.store(TABLE + vector * 16 + 12, int(on))

    def describe(self, index, address, length, flags):
        for at, value in ((0, address), (8, length), (12, flags | index + 1 << 16)):
            self.m.store(QUEUE + index * 16 + at, value)

    def request(self, kind, sector=0, length=512, status=0):
        """One request, to its end."""
        self.begin(kind, sector, length)
        self.end(kind, status)

    def begin(self, kind, sector=0, length=512, silent=False):
        """Hands a request over; a discard's or zeroing's data is its range, others' is at DATA.  @silent: the
        machine may stop before the notification's answer comes, which is left to the caller."""
        m = self.m
        for at, value in ((0, kind), (8, sector), (16, 0xffffffff)):
            m.store(DATA - 32 + at, value)
        if kind in (DISCARD, WRITE_ZEROES):
            for at, value in ((0, sector), (8, length // 512), (12, 0)):
                m.store(DATA - 64 + at, value)
            body = (DATA - 64, 16, NEXT)
        else:
            body = (DATA, length, NEXT | (WRITE if kind == IN else 0))
        parts = [(DATA - 32, 16, NEXT), *([] if kind == FLUSH else [body]), (DATA - 16, 1, WRITE)]
        for index, part in enumerate(parts):
            self.describe(index, *part)
        self.sent += 1
        m.store(self.avail + 4 + (self.sent - 1) % self.size // 2 * 4, 0)      # the head is always 0
        m.store(self.avail, self.sent << 16)
        m.outw(PORTS + NOTIFY, 0, silent=silent)

    def ended(self):
        return self.m.load(self.used) >> 16 == self.sent

    def end(self, kind, status=0):
        m = self.m
        while not self.ended():
            check(m.process.poll() is None, "ended with status", m.process.returncode)
        same(m.load(DATA - 16) & 0xff, status, "status of request %d" % kind)
