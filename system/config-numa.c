/* config-numa.c: -numa node, dist and cpu, and set-numa-node, into BoardConfig.
 * A mistake changes nothing. */
#include "system/config-int.h"

#include <string.h>

static bool read_node(BoardConfig *b, const NumaNodeConfig *n, Error **errp)
{
    unsigned id = n->has_nodeid ? n->nodeid : b->numa_nodes;
    MachineNode *node;

    if (id >= NUMA_NODES_MAX) {
        return error_set(errp, "Max number of NUMA nodes reached: %u", id);
    }
    if (id != b->numa_nodes) {
        return error_set(errp, "node ids must be given in order: %u was expected, not %u",
                         b->numa_nodes, id);
    }
    if (n->has_mem && n->memdev != NULL) {
        return error_set(errp, "cannot specify both mem= and memdev=");
    }
    for (size_t i = 0; n->has_cpus && i < n->cpus.n; i++) {
        if (n->cpus.at[i] >= b->smp.max_cpus) {
            return error_set(errp, "CPU index (%u) should be smaller than maxcpus (%u)", n->cpus.at[i],
                             b->smp.max_cpus);
        }
    }
    node = &b->numa[b->numa_nodes++];
    node->mem = n->has_mem ? n->mem : 0;
    node->memdev = g_strdup(n->memdev);
    node->has_cpu = n->has_cpus && n->cpus.n > 0;
    for (size_t i = 0; n->has_cpus && i < n->cpus.n; i++) {
        b->cpu_node[n->cpus.at[i]] = id;
    }
    return true;
}

static bool read_dist(BoardConfig *b, const NumaDistConfig *d, Error **errp)
{
    if (d->src >= b->numa_nodes || d->dst >= b->numa_nodes) {
        return error_set(errp, "Invalid node %u in dist", d->src >= b->numa_nodes ? d->src : d->dst);
    }
    if (d->val < 10 || (d->src == d->dst && d->val != 10)) {
        return error_set(errp, "NUMA distance (%u) is invalid, %s", d->val,
                         d->src == d->dst ? "the local distance is 10" : "it shouldn't be less than 10");
    }
    b->numa[d->src].distance[d->dst] = d->val;
    return true;
}

/* The vCPUs that match the topology ids belong to the node. */
static bool read_cpu(BoardConfig *b, const NumaCpuConfig *c, Error **errp)
{
    const CpuTopology *t = &b->smp;
    unsigned matched = 0;

    if (!c->has_node_id || c->node_id < 0 || c->node_id >= b->numa_nodes) {
        return error_set(errp, "cpu needs the node-id of a node given before");
    }
    for (unsigned i = 0; i < t->max_cpus; i++) {
        unsigned thread = i % t->threads, core = i / t->threads % t->cores;
        unsigned die = i / (t->threads * t->cores) % t->dies, socket = i / (t->threads * t->cores * t->dies);
        if ((!c->has_thread_id || c->thread_id == thread) && (!c->has_core_id || c->core_id == core) &&
            (!c->has_die_id || c->die_id == die) && (!c->has_socket_id || c->socket_id == socket)) {
            b->cpu_node[i] = c->node_id;
            matched++;
        }
    }
    b->numa[c->node_id].has_cpu |= matched > 0;
    return matched > 0 || error_set(errp, "no CPU matches the ids of cpu,node-id=%" PRIi64,
                                    c->node_id);
}

/* Fills what was left out: equal shares of RAM, both directions of a distance. */
static bool complete(BoardConfig *b, Error **errp)
{
    uint64_t sum = 0;
    unsigned given = 0, by_backend = 0;

    for (unsigned i = 0; i < b->numa_nodes; i++) {
        sum += b->numa[i].mem;
        given += b->numa[i].mem != 0;
        by_backend += b->numa[i].memdev != NULL;
        for (unsigned j = 0; j < i; j++) {
            uint8_t *a = &b->numa[i].distance[j], *z = &b->numa[j].distance[i];
            *a = *a != 0 ? *a : *z;
            *z = *z != 0 ? *z : *a;
        }
    }
    if (by_backend > 0) {
        return by_backend == b->numa_nodes ||
               error_set(errp, "memdev= must be given for all nodes or for none");
    }
    if (given == 0) {
        uint64_t share = b->ram_size / b->numa_nodes / (8 << 20) * (8 << 20);
        for (unsigned i = 0; i < b->numa_nodes; i++) {
            b->numa[i].mem = i + 1 < b->numa_nodes ? share : b->ram_size - share * i;
        }
    } else if (sum != b->ram_size) {
        return error_set(errp, "total memory for NUMA nodes (0x%" PRIx64 ") should equal RAM size "
                         "(0x%" PRIx64 ")", sum, b->ram_size);
    }
    return true;
}

static void make_room(BoardConfig *b)
{
    if (b->numa == NULL) {
        b->numa = g_new0(MachineNode, NUMA_NODES_MAX);
        b->cpu_node = g_new0(uint16_t, b->smp.max_cpus);
    }
}

bool config_add_numa(Config *c, const NumaConfig *n, Error **errp)
{
    BoardConfig *b = &c->board;

    make_room(b);
    return n->type == NUMA_CONFIG_TYPE_NODE   ? read_node(b, &n->u.node, errp)
           : n->type == NUMA_CONFIG_TYPE_DIST ? read_dist(b, &n->u.dist, errp)
                                              : read_cpu(b, &n->u.cpu, errp);
}

bool config_complete_numa(Config *c, Error **errp)
{
    BoardConfig *b = &c->board;

    if (b->numa == NULL && (b->ram_slots > 0 || b->ram_max > b->ram_size)) {
        make_room(b);                       /* plugged memory needs a node to be in: one for all */
        b->numa_nodes = 1;
        b->numa[0].has_cpu = true;
    }
    if (b->numa == NULL) {
        return true;
    }
    return (b->numa_nodes > 0 ? complete(b, errp) : error_set(errp, "no node was given")) ||
           error_context(errp, "-numa");
}

bool config_read_numa(Config *c, const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_NUMA); i++) {
        const char *text = cmdline_nth(cmd, OPT_NUMA, i);
        g_autoptr(NumaConfig) n = NULL;

        if (!qapi_opt_numa(text, &n, errp)) {
            return error_context(errp, "-numa %s", text);
        }
        if (n != NULL && !config_add_numa(c, n, errp)) {
            return error_context(errp, "-numa");
        }
    }
    return cmdline_has(cmd, OPT_PRECONFIG) || config_complete_numa(c, errp);
}
