/* gdb-packet.c: framing of GDB's remote serial protocol, see gdb-packet.h.
 *
 *   IDLE --$--> DATA --#--> SUM1 --> SUM2 --> IDLE
 *                | ^ '}'
 *                v |
 *              ESCAPE
 *
 * 1. A '$' inside a packet begins a new one: the sender gave the old one up. */
#include "debug/gdb-packet.h"

#include <string.h>

int gdb_digit(char c)
{
    return g_ascii_xdigit_value(c);
}

void gdb_reader_reset(GdbReader *r)
{
    r->state = GDB_IDLE;
    r->len = 0;
}

static void begin(GdbReader *r)
{
    r->state = GDB_DATA;
    r->len = 0;
    r->sum = 0;
    r->too_long = false;
}

static void add(GdbReader *r, uint8_t byte)
{
    if (r->len == GDB_PACKET_MAX) {
        r->too_long = true;
    } else {
        r->data[r->len++] = byte;
    }
}

static GdbInput put_idle(GdbReader *r, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin(r);
        return GDB_MORE;
    case 3:
        return GDB_INTERRUPT;
    case '-':
        return GDB_RESEND;
    default:
        return GDB_MORE;
    }
}

static GdbInput put_sum(GdbReader *r, uint8_t byte)
{
    int digit = gdb_digit(byte);

    if (r->state == GDB_SUM1) {
        r->said = digit;
        r->state = GDB_SUM2;
        return GDB_MORE;
    }
    r->state = GDB_IDLE;
    r->data[r->len] = 0;
    if (digit < 0 || r->said < 0 || (r->said << 4 | digit) != r->sum) {
        return GDB_BAD;
    }
    return r->too_long ? GDB_LONG : GDB_PACKET;
}

GdbInput gdb_reader_put(GdbReader *r, uint8_t byte)
{
    if (r->state == GDB_IDLE) {
        return put_idle(r, byte);
    }
    if (byte == '$') {
        begin(r);
        return GDB_MORE;
    }
    if (r->state == GDB_SUM1 || r->state == GDB_SUM2) {
        return put_sum(r, byte);
    }
    if (byte == '#') {
        r->state = GDB_SUM1;
        return GDB_MORE;
    }
    r->sum += byte;
    if (r->state == GDB_ESCAPE) {
        add(r, byte ^ 0x20);
        r->state = GDB_DATA;
    } else if (byte == '}') {
        r->state = GDB_ESCAPE;
    } else {
        add(r, byte);
    }
    return GDB_MORE;
}

static void write_byte(GByteArray *out, uint8_t byte, uint8_t *sum)
{
    g_byte_array_append(out, &byte, 1);
    *sum += byte;
}

void gdb_packet_write(GByteArray *out, const void *data, size_t n)
{
    const uint8_t *from = data;
    uint8_t sum = 0;
    char tail[4];

    g_byte_array_append(out, (const uint8_t *)"$", 1);
    for (size_t i = 0; i < n; i++) {
        bool escape = strchr("$#}*", from[i]) && from[i] != 0;

        if (escape) {
            write_byte(out, '}', &sum);
        }
        write_byte(out, escape ? from[i] ^ 0x20 : from[i], &sum);
    }
    g_snprintf(tail, sizeof(tail), "#%02x", sum);
    g_byte_array_append(out, (const uint8_t *)tail, 3);
}

bool gdb_number(const char **p, uint64_t *v)
{
    unsigned n = 0;

    for (*v = 0; gdb_digit(**p) >= 0; (*p)++) {
        if (++n > 16) {
            return false;
        }
        *v = *v << 4 | (unsigned)gdb_digit(**p);
    }
    return n > 0;
}

bool gdb_bytes_read(const char **p, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, *p += 2) {
        int high = gdb_digit((*p)[0]), low = high < 0 ? -1 : gdb_digit((*p)[1]);

        if (low < 0) {
            return false;
        }
        out[i] = high << 4 | low;
    }
    return true;
}

void gdb_bytes_write(GString *out, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;

    for (size_t i = 0; i < n; i++) {
        g_string_append_c(out, digits[from[i] >> 4]);
        g_string_append_c(out, digits[from[i] & 15]);
    }
}
