/* engine.h: how a file's transfers reach the host; private to block/.
 *
 * 1. An engine instance belongs to one loop and serves all its nodes; it is opened and closed on
 *    the loop's thread, and touched by no other.
 * 2. queue() only notes the request; flush() hands all of them to the host at once. */
#ifndef BLOCK_ENGINE_H
#define BLOCK_ENGINE_H

#include "block/block-int.h"

typedef struct BlkEngine {
    const char *name;
    bool does_flush;                         /* queue() takes BLK_FLUSH too */
    int (*probe)(void);                      /* 0 if the host has it, else -errno */
    int (*open)(BlkLoop *bl, void **out);    /* 0 or -errno */
    void (*close)(void *e);                  /* nothing is in flight */
    void (*queue)(void *e, BlkReq *r);       /* READ or WRITE of r->pos, r->left, r->cur */
    void (*flush)(void *e);
} BlkEngine;

extern const BlkEngine blk_engine_threads, blk_engine_aio, blk_engine_uring;

/* The engine for @aio, or NULL when it was not built in. */
const BlkEngine *blk_engine(BlkAio aio);

/* file.c: the host answered; @res is bytes or -errno.  In a blk_loop_enter() frame. */
void file_transferred(BlkReq *r, int64_t res);
/* file.c: runs @r on the pool, where any request succeeds or fails for good. */
void file_to_pool(BlkReq *r);
/* file.c: prepares @r's pool job without adding it. */
struct PoolJob *file_pool_job(BlkReq *r);

#endif
