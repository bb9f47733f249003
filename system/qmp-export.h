/* qmp-export.h: the NBD server that QMP starts. */
#ifndef SYSTEM_QMP_EXPORT_H
#define SYSTEM_QMP_EXPORT_H

#include "util/context.h"

/* Before block nodes are closed: ends the server and waits for its connections. */
CTX_CONTROL void exports_stop(void);

#endif
