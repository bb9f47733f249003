/* ram.h: blocks of guest RAM (and of ROM, and of device memory that the guest maps). */
#ifndef CORE_RAM_H
#define CORE_RAM_H

#include "core/types.h"
#include "util/epoch.h"

typedef enum RamSource { RAM_ANON, RAM_MEMFD, RAM_FILE } RamSource;
enum { RAM_POLICY_DEFAULT, RAM_POLICY_PREFERRED, RAM_POLICY_BIND, RAM_POLICY_INTERLEAVE };

/* How to get the memory: the properties of -object memory-backend-{ram,memfd,file}. */
typedef struct RamConfig {
    RamSource source;
    uint64_t size;             /* bytes, rounded up to the page size */
    const char *path;          /* RAM_FILE: a file, or a folder in which an unnamed one is made */
    uint64_t hugetlb_size;     /* RAM_MEMFD with hugetlb; 0: default huge page size */
    bool hugetlb, share, merge, dump, prealloc, readonly, discard_data, seal;
    bool reserve;              /* the host must have swap space, or huge pages, for all of it */
    unsigned prealloc_threads; /* 0 counts as 1 */
    uint64_t align;            /* 0: by size */
    int policy;
    const uint16_t *host_nodes;
    unsigned host_node_count;
} RamConfig;

struct RamBlock {
    char *id;                  /* unique and stable: names the block in a saved machine */
    uint8_t *host;
    uint64_t size;
    size_t page_size;
    int fd;                    /* -1 for anonymous memory */
    bool readonly, share;
    unsigned pins;             /* atomic: transfers in flight */
    bool logging;              /* atomic: user-space writes are recorded in @dirty */
    unsigned long *dirty;      /* one bit a 4 KiB page; NULL until logging */
    RamBlock *next;
    EpochItem epoch;
    bool discard_data;
    bool in_use;               /* control: the machine's RAM or a device's; nobody else may take it */
    RamBlock *dying_next;      /* after ram_free(), while pinned */
};

CTX_CONTROL RamBlock *ram_new(const char *id, const RamConfig *c, Error **errp);
/* Anonymous memory with the defaults (merge, dump, THP hint). */
CTX_CONTROL RamBlock *ram_new_anon(const char *id, uint64_t size, Error **errp);
/* Freed after a grace period and after the last pin is gone. */
CTX_CONTROL void ram_free(RamBlock *b);
/* At the program's end, when nobody uses RAM any more: empties the blocks with @discard_data. */
CTX_CONTROL void ram_exit(void);
CTX_CONTROL RamBlock *ram_find(const char *id);
/* First of all blocks; follow ->next.  Control thread, or inside an epoch section. */
CTX_ANY RamBlock *ram_first(void);
/* The block that holds host address @p, inside an epoch section; NULL: none. */
CTX_ANY RamBlock *ram_by_host(const void *p);
/* Gives the memory of [@host, @host + @n), all in @b and of whole 4 KiB pages, back to the host; it reads
 * as zeroes, or as its file, afterwards.  False: not possible with this block. */
CTX_ANY bool ram_discard(RamBlock *b, uint8_t *host, uint64_t n);
/* Gets the host's memory for [@host, @host + @n), whole pages of @b, now rather than when they are touched;
 * false: the host has none. */
CTX_ANY bool ram_populate(RamBlock *b, uint8_t *host, uint64_t n);
CTX_ANY void ram_pin(RamBlock *b);
CTX_ANY void ram_unpin(RamBlock *b);
/* Begins (all pages clean) or ends the recording of user-space writes in @dirty. */
CTX_CONTROL void ram_log(RamBlock *b, bool on);
/* True while any block records. */
CTX_ANY bool ram_any_logging(void);
/* Records that user space wrote [@off, @off + @len) of the block. */
CTX_ANY void ram_wrote(RamBlock *b, uint64_t off, uint64_t len);

#endif
