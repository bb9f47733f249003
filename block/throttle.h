/* throttle.h: limits on what is read and written in a second, shared by the members of a group.
 *
 *   request --throttle_pass--> true: it goes on
 *                          \-> false: it waits in its member's queue; member->go() follows on its loop
 *
 * 1. Groups have names and are made, changed and left on control; they live as long as they have members, or
 *    (those of objects) until throttle_group_drop().
 * 2. One lock guards all groups: what is limited is in no hurry.  Nobody without limits takes it. */
#ifndef BLOCK_THROTTLE_H
#define BLOCK_THROTTLE_H

#include "block/block.h"

enum {
    THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_READ, THROTTLE_IOPS_WRITE,
    THROTTLE_KINDS,
};

/* Bytes or requests a second: @avg for ever (0: no limit), @max (0: none) for @length seconds. */
typedef struct ThrottleRate { int64_t avg, max, length; } ThrottleRate;

typedef struct ThrottleRates {
    ThrottleRate at[THROTTLE_KINDS];
    int64_t op_size;           /* a request counts once for each so many bytes; 0: once */
} ThrottleRates;

#define THROTTLE_RATE_MAX INT64_C(1000000000000000)

/* No limits; the lengths are 1. */
CTX_ANY ThrottleRates throttle_rates_none(void);
CTX_ANY bool throttle_rates_any(const ThrottleRates *t);
/* False: they contradict one another. */
CTX_ANY bool throttle_rates_check(const ThrottleRates *t, Error **errp);

/* --- groups --- */

/* Makes a group that stays until it is dropped; @t is sound. */
CTX_CONTROL bool throttle_group_make(const char *name, const ThrottleRates *t, Error **errp);
/* False: it has members. */
CTX_CONTROL bool throttle_group_drop(const char *name);
/* False: there is no such group. */
CTX_CONTROL bool throttle_group_set(const char *name, const ThrottleRates *t);
CTX_CONTROL bool throttle_group_get(const char *name, ThrottleRates *out);

/* --- members --- */

typedef struct ThrottleMember ThrottleMember;

/* Joins group @name; one that does not exist is made, without limits, if @make, else NULL.
 * go(r), on r->loop: a request that waited may go on. */
CTX_CONTROL ThrottleMember *throttle_join(const char *name, bool make, void (*go)(BlkReq *r), Error **errp);
/* Leaves it; no request waits. */
CTX_CONTROL void throttle_leave(ThrottleMember *m);
/* Changes to group @name, made if need be, with what waits; @t: the limits that it is to have, or
 * NULL. */
CTX_CONTROL void throttle_change(ThrottleMember *m, const char *name, const ThrottleRates *t);
CTX_CONTROL const char *throttle_name(const ThrottleMember *m);
/* False: @r waits; r->engine and r->next belong to the member until go(). */
CTX_LOOP bool throttle_pass(ThrottleMember *m, BlkReq *r);

/* While @on (calls nest) nothing waits, though all is counted: whoever is to come to rest does so soon. */
CTX_CONTROL void throttle_hurry(bool on);

/* --- nodes --- */

/* The group of a throttle node; NULL: it is none. */
CTX_CONTROL const char *blk_throttle_group(const BlkNode *n);
/* Puts a throttle node into another group. */
CTX_CONTROL bool blk_throttle_regroup(BlkNode *n, const char *name, Error **errp);

/* --- devices --- */

struct BlkFront;

/* Limits the requests of a device, which is open, in group @name (NULL: the one it is in, or one of its own);
 * with no limits it leaves. */
CTX_CONTROL void throttle_front_set(struct BlkFront *f, const char *name, const ThrottleRates *t);

#endif
