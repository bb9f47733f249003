/* hmp-disas.c: disassembly by libcapstone, which is loaded with the first human monitor.
 *
 * 1. A program without a human monitor does not load it; without it everything else works.
 * 2. The sandbox lets nothing be loaded later, so that human-monitor-command alone has no disassembler. */
#include "config.h"
#include "monitor/hmp-int.h"

#ifdef CONFIG_CAPSTONE
#include <capstone/capstone.h>
#include <dlfcn.h>

#define LIBRARY "libcapstone.so." G_STRINGIFY(CS_API_MAJOR)

typedef struct Capstone {
    __typeof__(cs_open) *open;
    __typeof__(cs_option) *option;
    __typeof__(cs_disasm) *disasm;
    __typeof__(cs_free) *free;
    csh handle[4];             /* by X86Mode */
} Capstone;

static bool load_functions(Capstone *c, void *lib)
{
    c->open = (__typeof__(c->open))dlsym(lib, "cs_open");
    c->option = (__typeof__(c->option))dlsym(lib, "cs_option");
    c->disasm = (__typeof__(c->disasm))dlsym(lib, "cs_disasm");
    c->free = (__typeof__(c->free))dlsym(lib, "cs_free");
    return c->open != NULL && c->option != NULL && c->disasm != NULL && c->free != NULL;
}

static const Capstone *loaded;

void hmp_disas_load(void)
{
    static const cs_mode modes[] = { CS_MODE_16, CS_MODE_16, CS_MODE_32, CS_MODE_64 };
    static Capstone c;
    static bool tried, ok;

    if (!tried) {
        void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

        tried = true;
        ok = lib != NULL && load_functions(&c, lib);
        for (unsigned i = 0; ok && i < G_N_ELEMENTS(modes); i++) {
            ok = c.open(CS_ARCH_X86, modes[i], &c.handle[i]) == CS_ERR_OK &&
                 c.option(c.handle[i], CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT) == CS_ERR_OK;
        }
    }
    loaded = ok ? &c : NULL;
}

unsigned hmp_disassemble(X86Mode mode, uint64_t pc, const uint8_t *code, size_t n, GString *out,
                         bool *available)
{
    const Capstone *c = loaded;
    unsigned len = 0;
    cs_insn *insn;

    *available = c != NULL;
    if (c != NULL && c->disasm(c->handle[mode], code, n, pc, 1, &insn) == 1) {
        len = insn->size;
        g_string_append_printf(out, "%-8s %s", insn->mnemonic, insn->op_str);
        c->free(insn, 1);
    }
    return len;
}

#else

void hmp_disas_load(void)
{
}

unsigned hmp_disassemble(X86Mode mode, uint64_t pc, const uint8_t *code, size_t n, GString *out,
                         bool *available)
{
    *available = false;
    return 0;
}

#endif
