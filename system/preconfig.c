/* preconfig.c: -preconfig, see preconfig.h.
 *
 *   monitors --> waiting --x-exit-preconfig--> building --> the machine is there: the reply
 *                      \--quit, a signal--> the end
 *
 * 1. Until the machine is there only commands run that the schema marks with "preconfig". */
#include "system/preconfig.h"

#include "hw/board/pc-cpu.h"
#include "qapi/command.h"
#include "qapi/commands.h"
#include "system/process.h"
#include "system/runstate.h"
#include "system/streams.h"
#include "util/loop.h"

static Config *config;                 /* NULL: not waiting */
static QmpPending *leaving;            /* x-exit-preconfig */

bool qmp_set_numa_node(const NumaConfig *args, Error **errp)
{
    if (config == NULL) {
        return error_set(errp, "The command is permitted only before the machine has been created");
    }
    if (!config_add_numa(config, args, errp)) {
        return false;
    }
    machine()->cfg = config->board;
    return true;
}

bool qmp_x_exit_preconfig(QmpPending *pending, Error **errp)
{
    if (config == NULL || leaving != NULL) {
        return error_set(errp, "The command is permitted only before machine initialization");
    }
    leaving = pending;
    return true;
}

bool preconfig(const CmdLine *cmd, Config *c, Error **errp)
{
    qmp_command_set_early(true);
    if (!streams_monitors(cmd, errp)) {
        return false;
    }
    if (!streams_have_monitor()) {
        return error_set(errp, "-preconfig: there is no monitor to leave it by; -qmp or -monitor makes one");
    }
    if (!c->type->empty) {
        pc_cpus_begin(machine());
    }
    if (!process_detach(errp)) {
        return false;
    }
    for (config = c; leaving == NULL && !runstate_ended();) {
        loop_control_iterate(true);
    }
    config = NULL;
    if (runstate_ended() || !config_complete_numa(c, errp)) {
        return false;
    }
    machine()->cfg = c->board;
    return true;
}

void preconfig_over(void)
{
    qmp_command_set_early(false);
    qmp_pending_done(leaving, NULL);
    leaving = NULL;
}
