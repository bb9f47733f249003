/* config-roms.c: -option-rom: ROMs that firmware starts, with a place in the boot order. */
#include <string.h>
#include "qapi/types.h"
#include "system/config-int.h"

static int by_index(const void *a, const void *b)
{
    const OptionRom *x = a, *y = b;

    return (x->bootindex > y->bootindex) - (x->bootindex < y->bootindex);
}

bool config_read_roms(Config *c, const CmdLine *cmd, Error **errp)
{
    unsigned n = cmdline_count(cmd, OPT_OPTION_ROM);
    GArray *roms;

    if (n == 0) {
        return true;
    }
    c->board.option_roms = roms = g_array_new(false, false, sizeof(OptionRom));
    for (unsigned i = 0; i < n; i++) {
        const char *text = cmdline_nth(cmd, OPT_OPTION_ROM, i);
        g_autoptr(OptionRomConfig) o = NULL;

        if (!qapi_opt_option_rom(text, &o, errp)) {
            return error_context(errp, "-option-rom %s", text);
        }
        if (o == NULL) {
            continue;                          /* help was asked for */
        }
        if (o->romfile == NULL || *o->romfile == 0) {
            return error_set(errp, "-option-rom %s: Option ROM file is not specified", text);
        }
        if (o->bootindex < -1) {
            return error_set(errp, "-option-rom %s: bootindex %d is not -1 or more", text, o->bootindex);
        }
        OptionRom rom = { g_strdup(o->romfile), o->bootindex };
        g_array_append_val(roms, rom);
    }
    qsort(roms->data, roms->len, sizeof(OptionRom), by_index);
    for (unsigned i = 1; i < roms->len; i++) {
        int index = g_array_index(roms, OptionRom, i).bootindex;
        if (index >= 0 && index == g_array_index(roms, OptionRom, i - 1).bootindex) {
            return error_set(errp, "-option-rom: The bootindex %d has already been used", index);
        }
    }
    return true;
}
