/* qmp-times.h: how long the requests of disks take: histograms, and times over intervals. */
#ifndef SYSTEM_QMP_TIMES_H
#define SYSTEM_QMP_TIMES_H

#include "block/front.h"
#include "qapi/types.h"
#include "util/bytes.h"

/* Fills in what was counted of @f. */
CTX_CONTROL void qmp_tell_times(const BlkFront *f, BlockDeviceStats *s);
/* Fills in what was counted of a -drive without a device, which is nothing, over each of its intervals. */
CTX_CONTROL void qmp_tell_no_times(const BlkWords *words, BlockDeviceStats *s);

#endif
