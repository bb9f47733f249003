/* dump.h: guest memory and registers as a file for crash, gdb and makedumpfile.
 *
 *   NONE --dump_start--> ACTIVE --> COMPLETED or FAILED --dump_start--> ACTIVE
 *
 * 1. The machine is quiesced from dump_start() until done() is called.
 * 2. Reading RAM and writing the file happen on a thread of their own; what it reads is pinned.
 * 3. Files are written in order and need not be seekable: a pipe will do. */
#ifndef DEBUG_DUMP_H
#define DEBUG_DUMP_H

#include "core/types.h"
#include "util/context.h"

typedef enum DumpFormat { DUMP_ELF, DUMP_ZLIB, DUMP_LZO, DUMP_SNAPPY, DUMP_FORMATS } DumpFormat;
typedef enum DumpState { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED } DumpState;

typedef struct DumpRequest {
    int fd;                    /* taken when dump_start() succeeds */
    DumpFormat format;
    bool paging;               /* ELF: addresses are the guest's linear ones where it has mapped memory */
    bool has_range;            /* ELF: only [@begin, @begin + @length) of guest-physical memory */
    Gpa begin;
    uint64_t length;
} DumpRequest;

typedef struct DumpProgress {
    DumpState state;
    uint64_t completed, total; /* bytes of guest memory */
} DumpProgress;

/* False: the library that a kdump format needs is not installed. */
CTX_CONTROL bool dump_has_format(DumpFormat f);
/* Begins; done(arg, error or NULL) follows on control, with dump_progress() up to date; @err is borrowed. */
CTX_CONTROL bool dump_start(const DumpRequest *r, void (*done)(void *arg, const Error *err), void *arg,
                            Error **errp);
CTX_CONTROL DumpProgress dump_progress(void);

#endif
