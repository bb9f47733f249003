/* qmp-change.h: changes of the graph of block nodes that are made as a whole or not at all.
 *
 * 1. A change is one or more steps: all are prepared first, then, with nothing in flight, done in order; one
 *    that fails undoes those before it, the last one first. */
#ifndef SYSTEM_QMP_CHANGE_H
#define SYSTEM_QMP_CHANGE_H

#include "block/bitmap.h"
#include "block/job.h"
#include "qapi/commands.h"

typedef struct Step Step;
struct Step {
    bool (*act)(Step *s, Error **errp);
    void (*undo)(Step *s);     /* NULL: nothing to undo */
    void (*settle)(Step *s);   /* all steps are done and nothing is held any more; NULL: nothing to do */
    BlkNode *node, *other;     /* @node: NULL for a step without one */
    BlkNode *old;              /* what was behind @node; kept until all is done */
    bool made;                 /* @other was opened for this */
    BlkNode *file, *old_file;  /* what is to be below, and was; NULL: that does not change */
    bool read_only, change_backing;
    char *text, *format;

    /* Of transactions. */
    TransactionAction *action; /* a copy, owned */
    GPtrArray *more;           /* further nodes to hold, or NULL */
    JobGroup *group;           /* borrowed from the change */
    Job *job;
    BlkBitmap *bitmap;
    BlkBitmapBits *bits;       /* what it was */
    bool on;
};

typedef struct Change {
    QmpPending *pending;
    GPtrArray *steps;
    JobGroup *group;           /* of the jobs it starts, or NULL */
} Change;

CTX_CONTROL Change *change_new(QmpPending *pending);
CTX_CONTROL Step *change_step(Change *c, bool (*act)(Step *s, Error **errp), BlkNode *node, BlkNode *other);
/* Does it, and answers later. */
CTX_CONTROL bool change_go(Change *c);
/* The same if all was prepared (@ok); else nothing came of it. */
CTX_CONTROL bool change_prepared(Change *c, bool ok);

/* qmp-graph.c: steps of a transaction. */
CTX_CONTROL bool change_add_snapshot(Change *c, const BlockdevSnapshot *args, Error **errp);
CTX_CONTROL bool change_add_snapshot_sync(Change *c, const BlockdevSnapshotSync *args, Error **errp);

#endif
