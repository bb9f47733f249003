/* monitor-host.h: what human commands ask of the program that no QMP command does. */
#ifndef SYSTEM_MONITOR_HOST_H
#define SYSTEM_MONITOR_HOST_H

#include "util/context.h"

/* Before the first human command. */
CTX_CONTROL void monitor_host_init(void);

#endif
