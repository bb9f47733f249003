/* config-file.h: options that edit other options. */
#ifndef SYSTEM_CONFIG_FILE_H
#define SYSTEM_CONFIG_FILE_H

#include "system/cmdline.h"

/* Carries out -readconfig (as if the file's options were the last of the command line), then -set.  What they
 * add lives as long as the process. */
CTX_CONTROL bool config_edit(CmdLine *c, Error **errp);

#endif
