/* fault.h: makes the n-th host call fail, so that tests can walk every error path.
 *
 *   int fd = FAULT("file-open") ? (errno = EIO, -1) : open(...);
 *
 * One test program arms one pattern at a time; unarmed, a fault point is a load and a branch. */
#ifndef UTIL_FAULT_H
#define UTIL_FAULT_H

#include <stdbool.h>
#include "util/context.h"

extern bool fault_armed;

#define FAULT(name) \
    (__builtin_expect(__atomic_load_n(&fault_armed, __ATOMIC_RELAXED), 0) && fault_hit(name))

/* Makes the @nth (from 1) fault point whose name matches the glob @pattern fail, once. */
CTX_ANY void fault_arm(const char *pattern, unsigned nth);
/* The same for @count of them in a row. */
CTX_ANY void fault_arm_run(const char *pattern, unsigned nth, unsigned count);
/* Disarms; returns true if the armed failure was delivered. */
CTX_ANY bool fault_disarm(void);
CTX_ANY bool fault_hit(const char *name);

#endif
