/* qmp-graph.h: the nodes that commands mean, and those that devices use. */
#ifndef SYSTEM_QMP_GRAPH_H
#define SYSTEM_QMP_GRAPH_H

#include "block/front.h"
#include "qapi/command.h"

/* The node on top of -drive @device, or the one called @node_name; both may be NULL. */
CTX_CONTROL BlkNode *qmp_find_node(const char *device, const char *node_name, Error **errp);
/* Makes the device of @f use the node called @name; answers later. */
CTX_CONTROL bool qmp_set_drive(const BlkFront *f, const char *name, QmpPending *pending, Error **errp);

#endif
