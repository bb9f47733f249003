/* qmp-chardev.h: a QMP session on a character device. */
#ifndef SYSTEM_QMP_CHARDEV_H
#define SYSTEM_QMP_CHARDEV_H

#include "monitor/qmp.h"

typedef struct QmpMonitor QmpMonitor;

/* A QMP monitor on the character device @chardev. */
CTX_CONTROL QmpMonitor *qmp_monitor_new(QmpServer *server, const char *chardev, bool pretty,
                                        Error **errp);
/* NULL is fine.  What the session still had to say is lost, except what the chardev has taken. */
CTX_CONTROL void qmp_monitor_free(QmpMonitor *m);

#endif
