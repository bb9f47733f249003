"""A debugger by hand: packets of GDB's remote serial protocol over a socket."""
import re

from qmp import Failed, Stream, same


class Rsp(Stream):
    """One session; with acknowledgements until @ack is turned off."""
    ack = True

    def packet(self):
        while True:
            match = re.search(rb"\$([^#]*)#(..)", self.buffer, re.S)
            if match:
                data = match.group(1)
                same(int(match.group(2), 16), sum(data) & 255, "checksum")
                self.buffer = self.buffer[match.end():]
                if self.ack:
                    self.sock.sendall(b"+")
                return data.decode("latin1")
            if not self.more():
                raise Failed("the stub closed; read %r" % self.buffer)

    def put(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.sock.sendall(b"$%s#%02x" % (data, sum(data) & 255))

    def ask(self, text):
        self.put(text)
        return self.packet()
