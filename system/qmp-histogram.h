/* qmp-histogram.h: how long the requests of disks take. */
#ifndef SYSTEM_QMP_HISTOGRAM_H
#define SYSTEM_QMP_HISTOGRAM_H

#include "block/front.h"
#include "qapi/types.h"
#include "util/bytes.h"

/* Fills in what was counted of @f. */
CTX_CONTROL void qmp_tell_histograms(const BlkFront *f, BlockDeviceStats *s);

#endif
