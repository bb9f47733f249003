/* qtest-chardev.h: -qtest and -qtest-log: the qtest protocol on a character device. */
#ifndef SYSTEM_QTEST_CHARDEV_H
#define SYSTEM_QTEST_CHARDEV_H

#include "core/machine.h"
#include "system/cmdline.h"

/* Starts the session on the stream that -qtest names; does nothing without -qtest. */
CTX_CONTROL bool qtest_chardev_start(const CmdLine *cmd, Machine *m, Error **errp);
CTX_CONTROL void qtest_chardev_stop(void);

#endif
