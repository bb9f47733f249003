/* qmp-chardev.h: a monitor, QMP or human, on a character device. */
#ifndef SYSTEM_QMP_CHARDEV_H
#define SYSTEM_QMP_CHARDEV_H

#include "monitor/qmp.h"

typedef struct MonitorPort MonitorPort;

/* A QMP monitor on the character device @chardev. */
CTX_CONTROL MonitorPort *qmp_monitor_new(QmpServer *server, const char *chardev, bool pretty,
                                         Error **errp);
/* A human monitor there.  On a mux it is silent until it gets the input. */
CTX_CONTROL MonitorPort *hmp_monitor_new(QmpServer *server, const char *chardev, Error **errp);
/* True when the chardev has taken all the monitor had to say. */
CTX_CONTROL bool monitor_port_drained(const MonitorPort *m);
/* NULL is fine.  What the session still had to say is lost, except what the chardev has taken. */
CTX_CONTROL void monitor_port_free(MonitorPort *m);

#endif
