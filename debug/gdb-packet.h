/* gdb-packet.h: packets of GDB's remote serial protocol (GDB manual, appendix E.1), from and to bytes. */
#ifndef DEBUG_GDB_PACKET_H
#define DEBUG_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/context.h"

#define GDB_PACKET_MAX 16384           /* bytes of a packet's data, unescaped */

typedef enum GdbInput {
    GDB_MORE,                  /* nothing complete yet */
    GDB_PACKET,                /* a packet with the right checksum is in @data */
    GDB_BAD,                   /* one with a wrong checksum, or in pieces, ended */
    GDB_LONG,                  /* one longer than GDB_PACKET_MAX ended; its data is lost */
    GDB_INTERRUPT,             /* Ctrl-C between packets */
    GDB_RESEND,                /* '-': our last packet did not arrive */
} GdbInput;

typedef struct GdbReader {
    enum { GDB_IDLE, GDB_DATA, GDB_ESCAPE, GDB_SUM1, GDB_SUM2 } state;
    uint8_t data[GDB_PACKET_MAX + 1];      /* ends with a 0 beyond @len */
    size_t len;
    uint8_t sum;
    int said;                  /* first digit of the checksum read; -1: not a digit */
    bool too_long;
} GdbReader;

CTX_ANY void gdb_reader_reset(GdbReader *r);
/* Takes one byte. */
CTX_ANY GdbInput gdb_reader_put(GdbReader *r, uint8_t byte);
/* Appends a packet with @n bytes of @data, escaped, to @out. */
CTX_ANY void gdb_packet_write(GByteArray *out, const void *data, size_t n);

/* Hexadecimal, as the protocol has it.  The reading ones move *@p behind what they took. */
CTX_ANY int gdb_digit(char c);                                         /* -1: none */
CTX_ANY bool gdb_number(const char **p, uint64_t *v);                  /* 1 to 16 digits */
CTX_ANY bool gdb_bytes_read(const char **p, uint8_t *out, size_t n);   /* exactly @n bytes */
CTX_ANY void gdb_bytes_write(GString *out, const void *data, size_t n);

#endif
