/* qmp-disk.h: disks and the control plane. */
#ifndef SYSTEM_QMP_DISK_H
#define SYSTEM_QMP_DISK_H

#include "util/context.h"

/* Errors of disks become events; once. */
CTX_CONTROL void qmp_disk_init(void);

#endif
