/* drive-stats.h: stats-intervals.N=SECONDS among the words of a -drive. */
#ifndef SYSTEM_DRIVE_STATS_H
#define SYSTEM_DRIVE_STATS_H

#include <jansson.h>
#include "util/error.h"

/* Moves them from @words, flat words of a -drive (NULL: none), into @out, an array of uint32_t in the order
 * of N.  False: they are not numbered from 0, or one is no whole number of seconds above 0; *errp is set.
 * Any thread. */
bool drive_take_intervals(json_t *words, GArray *out, Error **errp);

#endif
