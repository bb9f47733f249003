/* merge.h: telling a sink the newest of a set of inputs, from any number of threads, without a lock.
 *
 * A sink may take a lock of rank IRQ, so whoever computes its level from several inputs may not hold
 * one.  Instead each thread first changes its input (an atomic), then:
 *
 *     if (merge_begin(&busy)) {
 *         do {
 *             seen = merge_seen(&busy);
 *             ... read the inputs, tell the sink ...
 *         } while (!merge_end(&busy, seen));
 *     }
 *
 * 1. Only one thread is between begin and end; what it told last is computed from inputs at least as
 *    new as every change whose merge_begin() was counted in @seen.
 * 2. A thread that finds another one there leaves its change to it: the sink hears soon, once. */
#ifndef HW_PCI_MERGE_H
#define HW_PCI_MERGE_H

#include <stdbool.h>
#include "core/irq.h"

/* Pairs with merge_seen(): what was written before is seen by the thread inside. */
static inline bool merge_begin(unsigned *busy)
{
    return __atomic_fetch_add(busy, 1, __ATOMIC_SEQ_CST) == 0;
}

static inline unsigned merge_seen(unsigned *busy)
{
    return __atomic_load_n(busy, __ATOMIC_SEQ_CST);
}

static inline bool merge_end(unsigned *busy, unsigned seen)
{
    return __atomic_fetch_sub(busy, seen, __ATOMIC_SEQ_CST) == seen;
}

/* Tells @s, or whoever taps it. */
static inline void merge_tell(IrqSink *s, unsigned pin, bool level)
{
    (s->tap ? s->tap : s->set)(s, pin, level);
}

/* Atomic words whose order against others the merge gives. */
#define merge_load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define merge_store(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define merge_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
#define merge_bit(p, mask, on) \
    ((on) ? __atomic_or_fetch((p), (mask), __ATOMIC_SEQ_CST) \
          : __atomic_and_fetch((p), ~(mask), __ATOMIC_SEQ_CST))

#endif
