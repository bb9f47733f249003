/* tool-list.c: rhea-nbd's --list, see tool.h. */
#include <inttypes.h>
#include <stdio.h>
#include "block/nbd-link.h"
#include "nbd/tool.h"
#include "util/clock.h"

#define LIST_NS (30 * NS_PER_SEC)

/* By bit: NBD protocol, "Transmission flags". */
static const char *const flag_names[] = {
    NULL, "readonly", "flush", "fua", "rotational", "trim", "zeroes", "df", "multi", "resize", "cache",
    "fast-zero",
};

static void print_export(const NbdListed *e)
{
    printf(" export: '%s'\n", e->name);
    if (e->description && *e->description) {
        printf("  description: %s\n", e->description);
    }
    if (e->known) {
        printf("  size:  %" PRIu64 "\n  flags: 0x%x (", e->size, e->flags);
        for (unsigned i = 1; i < G_N_ELEMENTS(flag_names); i++) {
            if (e->flags >> i & 1) {
                printf(" %s", flag_names[i]);
            }
        }
        printf(" )\n");
    }
    if (e->min_block) {
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", e->min_block, e->preferred_block,
               e->max_block);
    }
    unsigned n = e->contexts ? g_strv_length(e->contexts) : 0;
    if (n) {
        printf("  available meta contexts: %u\n", n);
    }
    for (unsigned i = 0; i < n; i++) {
        printf("   %s\n", e->contexts[i]);
    }
}

bool tool_list(const char *socket, const char *host, const char *port, TlsCreds *tls, Error **errp)
{
    NbdTarget t = { .tls = tls, .tls_hostname = socket ? NULL : (char *)(uintptr_t)host };

    if (!(socket ? socket_peer_unix(&t.peer, socket, errp) : socket_peer_inet(&t.peer, host, port, errp))) {
        return false;
    }
    GArray *list = nbd_list(&t, clock_now(CLOCK_HOST) + LIST_NS, errp);
    if (!list) {
        return false;
    }
    printf("exports available: %u\n", list->len);
    for (unsigned i = 0; i < list->len; i++) {
        print_export(&g_array_index(list, NbdListed, i));
    }
    nbd_list_free(list);
    return true;
}
