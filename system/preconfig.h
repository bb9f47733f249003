/* preconfig.h: -preconfig: clients complete the description of the machine before it is built. */
#ifndef SYSTEM_PRECONFIG_H
#define SYSTEM_PRECONFIG_H

#include "system/config.h"

/* Opens the monitors and serves them until x-exit-preconfig; then *@c and the machine's configuration are
 * complete.  False: it cannot be (@errp), or the program was ended meanwhile (runstate_ended()). */
CTX_CONTROL bool preconfig(const CmdLine *cmd, Config *c, Error **errp);
/* The machine is built: answers x-exit-preconfig. */
CTX_CONTROL void preconfig_over(void);

#endif
