/* file-int.h: the state of a file or host_device node; private to block/file*.c. */
#ifndef BLOCK_FILE_INT_H
#define BLOCK_FILE_INT_H

#include "block/block-int.h"
#include "block/gate.h"

typedef struct File {
    bool is_device;            /* a block device: ioctls instead of fallocate */
    uint32_t align, mem_align; /* of O_DIRECT; 1 without it */
    BlkLocking locking;
    unsigned locked;           /* the FILE_LOCK bytes now held, see file-lock.c */
    bool no_punch, no_zero_range;      /* atomic: the host said it cannot */
    int flush_error;           /* atomic: see file_flush() */
    BlkDiscards discards;      /* atomic */

    Gate gate;                 /* of direct writes, see file-io.c */
    Lock data_lock;            /* guards the two below */
    uint64_t data_from, data_to;       /* no hole is there: see file-status.c */
} File;

/* file-status.c: the driver's status(), and forgetting what it knows: there may be a hole now. */
int file_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s);
void file_status_forget(File *f);

/* file-lock.c: takes and gives up byte locks for the rights; one line naming the file on
 * conflict. */
bool file_rights(BlkNode *n, unsigned need, unsigned share, Error **errp);
/* Takes the locks held now for @fd, another descriptor of the same file, too. */
int file_lock_copy(BlkNode *n, int fd);

/* file-io.c */
void file_submit(BlkLane *l, BlkReq *r);
/* The whole of a request in the caller's thread, beside requests in flight. */
int file_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                  unsigned niov, uint64_t len);

#endif
