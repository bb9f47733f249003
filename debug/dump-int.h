/* dump-int.h: between dump.c (what is dumped), dump-notes.c and the formats dump-elf.c and dump-kdump.c. */
#ifndef DEBUG_DUMP_INT_H
#define DEBUG_DUMP_INT_H

#include <glib.h>
#include "core/machine.h"
#include "core/ram.h"
#include "core/x86.h"
#include "debug/dump.h"

#define DUMP_PAGE 4096u

/* Guest memory that lies together, on both sides. */
typedef struct DumpRange {
    Gpa at;
    uint64_t size;
    const uint8_t *host;
    RamBlock *ram;             /* pinned */
    uint64_t ram_at;
} DumpRange;

/* A run of linear addresses. */
typedef struct DumpMap {
    uint64_t linear;
    Gpa gpa;
    uint64_t size;
} DumpMap;

typedef struct Dump {
    DumpRequest req;
    GArray *ranges;            /* DumpRange, ascending */
    X86Regs *cpus;
    unsigned cpu_count;
    bool wide;                 /* x86-64 by the mode of the first vCPU */
    GByteArray *notes;
    uint64_t vmcoreinfo_at, vmcoreinfo_size;       /* the text in @notes; size 0: none */
    uint64_t phys_base;        /* from there: where the kernel's image begins */
    uint64_t total, completed; /* @completed: atomic */
    uint64_t written;          /* bytes in the file so far */
    bool sparse;               /* the file can have holes */
    void (*done)(void *arg, const Error *err);
    void *arg;
    Error *err;
} Dump;

/* --- dump.c: for the formats, on the dump's thread --- */
bool dump_write(Dump *d, const void *buf, size_t n, Error **errp);
/* Writes @n zeroes, or leaves a hole. */
bool dump_write_zeroes(Dump *d, uint64_t n, Error **errp);
/* How many bytes from @off of @r on, at most @max, are all in a hole of the memory's file (*@hole), or
 * all not.  Memory in holes is zero and must not be touched: that would fill them. */
uint64_t dump_stretch(const DumpRange *r, uint64_t off, uint64_t max, bool *hole);
bool dump_is_zero(const uint8_t *page);
void dump_advance(Dump *d, uint64_t n);

/* --- dump-notes.c --- */
/* Fills @notes and what comes from VMCOREINFO. */
void dump_make_notes(Dump *d);

/* --- dump-elf.c, dump-kdump.c --- */
bool dump_elf(Dump *d, Error **errp);
bool dump_kdump(Dump *d, Error **errp);

/* --- dump-compress.c --- */
/* A page, compressed into @out of DUMP_PAGE bytes: its size, or 0: it does not get smaller. */
typedef size_t DumpCompress(const uint8_t *page, uint8_t *out);
/* NULL: the library is not installed. */
DumpCompress *dump_compressor(DumpFormat f);

#endif
