/* qmp-graph.h: finding the node that a command means. */
#ifndef SYSTEM_QMP_GRAPH_H
#define SYSTEM_QMP_GRAPH_H

#include "block/block.h"

/* The node on top of -drive @device, or the one called @node_name; both may be NULL. */
CTX_CONTROL BlkNode *qmp_find_node(const char *device, const char *node_name, Error **errp);

#endif
