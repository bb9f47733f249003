/* drives.h: -blockdev, -drive and its short forms: block nodes, and devices on the board's default buses. */
#ifndef SYSTEM_DRIVES_H
#define SYSTEM_DRIVES_H

#include "block/block.h"
#include "core/machine.h"
#include "qapi/command.h"
#include "system/cmdline.h"

/* Registers the link class "blockdev"; once. */
CTX_CONTROL void drives_init(void);
/* Opens every node of the command line; pflash drives are noted in @board. */
CTX_CONTROL bool drives_open_all(const CmdLine *cmd, BoardConfig *board, bool *help, Error **errp);
/* Opens @file as a medium for the front of -drive @drive ("": of none); @format NULL: as its head says. */
CTX_CONTROL BlkNode *drives_open_medium(const char *file, const char *format, const char *drive,
                                        bool read_only, Error **errp);
/* Makes the devices that drives without if=none ask for; the board is built. */
CTX_CONTROL bool drives_plug_all(Machine *m, Error **errp);
/* As -drive @text, which says if=none, while the guest runs. */
CTX_CONTROL bool drives_hot_add(const char *text, Error **errp);
/* Takes -drive @id from its device, which stays without a medium, and closes its node; or closes the block
 * node of that name, which nothing uses. @pending is told when that is done, unless it fails at once. */
CTX_CONTROL bool drives_hot_del(const char *id, QmpPending *pending, Error **errp);
/* Puts what -drive @id ("all": every disk) holds into the image behind it; @pending is told when that is
 * done, unless it fails at once. */
CTX_CONTROL bool drives_commit(const char *id, QmpPending *pending, Error **errp);
/* Closes every node; all devices are gone. */
CTX_CONTROL void drives_close_all(void);

#endif
