/* devices.h: -device, device_add, device_del, and the devices a machine has without being asked. */
#ifndef SYSTEM_DEVICES_H
#define SYSTEM_DEVICES_H

#include "core/machine.h"
#include "qapi/types.h"
#include "system/config.h"

/* -global of @m's processor model: goes into the text of its -cpu, before what that says itself. */
CTX_CONTROL bool devices_cpu_globals(const CmdLine *cmd, Machine *m, Error **errp);
/* Reads -global into m->globals, before any device is made. */
CTX_CONTROL bool devices_read_globals(const CmdLine *cmd, Machine *m, Error **errp);
/* Warns of those whose type there is not, or which the board alone could have used and did not. */
CTX_CONTROL void devices_warn_globals(const Machine *m);
/* Makes one device below machine()->peripheral.  @hotplug: the guest runs, its bus must take it. */
CTX_CONTROL Device *devices_add(const DeviceConfig *c, bool hotplug, Error **errp);
/* Everything -device says, in order. */
CTX_CONTROL bool devices_add_all(const CmdLine *cmd, Error **errp);
/* True if a -device makes one of type @driver. */
CTX_CONTROL bool devices_named(const CmdLine *cmd, const char *driver);
/* True if -device asks for a listing, which is printed. */
CTX_CONTROL bool devices_print_help(const CmdLine *cmd, Error **errp);
/* Asks for a device to be unplugged; DEVICE_DELETED follows when it is gone. */
CTX_CONTROL bool devices_del(const char *id, Error **errp);
/* The bus called @name anywhere in the machine. */
CTX_CONTROL Bus *devices_find_bus(const char *name, Error **errp);
/* Number of the first free place over the buses ide.0, ide.1, ... of @per_bus places each. */
CTX_CONTROL unsigned devices_ide_free(unsigned per_bus);
/* Is @place, counted like that, there and free? */
CTX_CONTROL bool devices_ide_is_free(unsigned per_bus, unsigned place);

#endif
