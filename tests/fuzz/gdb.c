/* gdb.c: fuzzes a debugger's session: packets of any content, raw bytes, stops, clients that leave.
 *
 * The input is a list of records: a byte that says what, a length byte, data.  Built with -fsanitize=fuzzer
 * (and -DFUZZ_ENGINE) it is a libFuzzer target; without, a program that runs the files it is given. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "debug/gdb-packet.h"
#include "tests/debug/fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give(const uint8_t *data, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, gdb_space(fake.gdb));

        if (part == 0) {
            fake.room = SIZE_MAX;
            gdb_room(fake.gdb);
            bench_run(fake.b);
            continue;
        }
        gdb_bytes(fake.gdb, data, part);
        data += part;
        n -= part;
    }
}

static void give_packet(const uint8_t *data, size_t n)
{
    g_autoptr(GByteArray) packet = g_byte_array_new();

    gdb_packet_write(packet, data, n);
    give(packet->data, packet->len);
}

static void stop_at(const uint8_t *data, size_t n)
{
    unsigned cpu = n > 0 ? data[0] % FAKE_CPUS : 0;

    if (fake.running && gdb_wants_stop(fake.gdb, cpu)) {
        fake.stop[cpu] = (CpuStop){ n > 1 && data[1] & 1, n > 2 ? data[2] : 0, n > 3 ? data[3] : 0 };
        fake.has_stop[cpu] = true;
        host_stop();
    }
}

static void act(uint8_t what, const uint8_t *data, size_t n)
{
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
        give_packet(data, n);
        break;
    case 3:
        give(data, n);
        break;
    case 4:
        stop_at(data, n);
        break;
    case 5:
        gdb_close(fake.gdb);
        gdb_open(fake.gdb);
        break;
    case 6:
        fake.room = n;
        break;
    default:
        if (n > 0 && !fake.running && data[0] & 1) {
            host_cont(NULL);
        }
        fake.regs[0].cr0 = n > 1 && data[1] & 1 ? X86_CR0_PE | X86_CR0_PG : 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_new();
    gdb_open(fake.gdb);
    bench_run(fake.b);
    while (size >= 2) {
        size_t n = MIN(data[1], size - 2);

        act(data[0], data + 2, n);
        if (data[0] & 0x80) {
            bench_run(fake.b);
        }
        data += 2 + n;
        size -= 2 + n;
        g_string_truncate(fake.sent, 0);
    }
    gdb_close(fake.gdb);
    fake_free();
    return 0;
}

#ifndef FUZZ_ENGINE
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        g_autofree char *text = NULL;
        size_t n;

        if (!g_file_get_contents(argv[i], &text, &n, NULL)) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)text, n);
    }
    return 0;
}
#endif
