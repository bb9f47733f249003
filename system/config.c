/* config.c: from texts to BoardConfig: -machine, -accel, -smp, -m, -boot, -rtc, -name, -action and so on.
 * -numa is in config-numa.c, -smbios in config-smbios.c. */
#include "system/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "system/config-int.h"
#include "util/bytes.h"

char *config_joined(const CmdLine *cmd, Option o, const char *implied)
{
    GString *all = g_string_new(NULL);

    for (unsigned i = 0; i < cmdline_count(cmd, o); i++) {
        const char *text = cmdline_nth(cmd, o, i);
        bool has_key = text[strcspn(text, ",=")] == '=' || strcmp(text, "help") == 0;

        if (i > 0 && !has_key && implied != NULL) {           /* only the very first word may leave it out */
            g_string_append_printf(all, ",%s=%s", implied, text);
        } else {
            g_string_append_printf(all, "%s%s", i > 0 ? "," : "", text);
        }
    }
    return g_string_free(all, false);
}

static void print_machines(void)
{
    const MachineType *const *t = machine_types();

    printf("Supported machines are:\n");
    for (; *t != NULL; t++) {
        if ((*t)->alias != NULL) {
            printf("%-20s %s (alias of %s)\n", (*t)->alias, (*t)->desc, (*t)->name);
        }
        printf("%-20s %s%s\n", (*t)->name, (*t)->desc, (*t)->is_default ? " (default)" : "");
    }
}

/* The machine that @text, which asks for help, names; NULL: none. */
static const MachineType *asked_machine(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    const MachineType *t = NULL;

    for (unsigned i = 0; parts[i] != NULL; i++) {
        bool named = g_str_has_prefix(parts[i], "type=");

        if (named || (i == 0 && strchr(parts[i], '=') == NULL)) {
            t = machine_type_find(parts[i] + (named ? strlen("type=") : 0));
        }
    }
    return t;
}

static void print_machine_help(const char *text)
{
    const MachineType *t = asked_machine(text);
    g_autoptr(GString) s = g_string_new(NULL);

    if (t == NULL) {
        print_machines();
        return;
    }
    g_autofree char *name = g_strdup_printf("%s-machine", t->name);
    qapi_option_help_members(QAPI_OPT_MACHINE, name, s);
    fputs(s->str, stdout);
}

static const MachineType *default_machine(void)
{
    const MachineType *const *t = machine_types();

    while (*t != NULL && !(*t)->is_default) {
        t++;
    }
    return *t;
}

static bool unknown_machine(const char *name, Error **errp)
{
    const char *names[256] = { NULL };
    unsigned n = 0;

    for (const MachineType *const *t = machine_types(); *t != NULL && n < ARRAY_LEN(names) - 2; t++) {
        names[n++] = (*t)->name;
        if ((*t)->alias != NULL) {
            names[n++] = (*t)->alias;
        }
    }
    error_set(errp, "-machine: unsupported machine type '%s'", name);
    error_suggest(errp, name, names);
    return errp == NULL || error_advice(*errp) != NULL
               ? false : error_hint(errp, "use -machine help to list supported machines");
}

/* What is asked for and not there is refused, rather than left out in silence. */
static bool check_machine_options(const MachineConfig *m, Error **errp)
{
    if (m->usb) {
        return error_set(errp, "-machine: usb=on is not supported: there is no USB controller");
    }
    if (m->nvdimm) {
        return error_set(errp, "-machine: nvdimm=on is not supported");
    }
    if (m->vmport == ON_OFF_AUTO_ON && !m->i8042) {
        return error_set(errp, "-machine: vmport=on needs i8042=on");
    }
    if (m->has_kernel_irqchip && m->kernel_irqchip == ON_OFF_SPLIT_OFF) {
        return error_set(errp, "-machine: kernel_irqchip=off is not supported, use on or split");
    }
    return true;
}

static bool read_machine(Config *c, const CmdLine *cmd, bool *help, Error **errp)
{
    g_autofree char *text = config_joined(cmd, OPT_MACHINE, "type");
    g_autoptr(MachineConfig) m = NULL;
    const MachineConfig *set;
    BoardConfig *b = &c->board;

    c->type = default_machine();
    if (!qapi_opt_machine(text, &m, errp)) {
        return error_context(errp, "-machine %s", text);
    }
    if (m == NULL) {
        print_machine_help(text);
        *help = true;
        return true;
    }
    if (m->type != NULL) {
        c->type = machine_type_find(m->type);
        if (c->type == NULL) {
            return unknown_machine(m->type, errp);
        }
    }
    if (!check_machine_options(m, errp)) {
        return false;
    }
    set = c->machine = g_steal_pointer(&m);
    c->accel = g_strdup(set->accel);
    c->one_domain = set->domains == DOMAINS_MODE_ONE;
    c->smbios_entry64 = set->smbios_entry_point_type == SMBIOS_ENTRY_POINT_TYPE_64;
    b->kernel_irqchip = !set->has_kernel_irqchip || set->kernel_irqchip == ON_OFF_SPLIT_ON ? 1 : 2;
    b->memory_backend = g_strdup(set->memory_backend);
    b->kernel = g_strdup(set->kernel);
    b->initrd = g_strdup(set->initrd);
    b->append = g_strdup(set->append);
    b->firmware = g_strdup(set->firmware);
    b->pflash[0] = g_strdup(set->pflash0);
    b->pflash[1] = g_strdup(set->pflash1);
    b->usb = set->usb;
    b->graphics = set->graphics;
    b->dump_guest_core = set->dump_guest_core;
    b->mem_merge = set->mem_merge;
    b->acpi = set->acpi != ON_OFF_AUTO_OFF && !cmdline_has(cmd, OPT_NO_ACPI);
    b->hpet = (!set->has_hpet || set->hpet) && !cmdline_has(cmd, OPT_NO_HPET);
    b->smm = set->smm == ON_OFF_AUTO_ON ? ONOFF_ON : set->smm == ON_OFF_AUTO_OFF ? ONOFF_OFF : ONOFF_AUTO;
    b->i8042 = set->i8042;
    b->vmport = set->i8042 && set->vmport != ON_OFF_AUTO_OFF;
    c->machine->has_hpet = true;
    c->machine->hpet = b->hpet;
    b->max_ram_below_4g = set->has_max_ram_below_4g ? set->max_ram_below_4g : 0;
    return true;
}

static bool read_accel(Config *c, const CmdLine *cmd, bool *help, Error **errp)
{
    g_autoptr(AccelConfig) a = NULL;
    const char *text = cmdline_last(cmd, OPT_ACCEL);

    if (text != NULL) {
        if (!qapi_opt_accel(text, &a, errp)) {
            return error_context(errp, "-accel %s", text);
        }
        if (a == NULL) {
            printf("Accelerators supported in QEMU binary:\nkvm\nqtest\n");
            *help = true;
            return true;
        }
        g_free(c->accel);
        c->accel = g_strdup(a->accel);
        if (a->has_kernel_irqchip) {
            if (a->kernel_irqchip == ON_OFF_SPLIT_OFF) {
                return error_set(errp, "-accel: kernel-irqchip=off is not supported, use on or split");
            }
            c->board.kernel_irqchip = a->kernel_irqchip == ON_OFF_SPLIT_ON ? 1 : 2;
        }
    }
    if (c->accel == NULL || cmdline_has(cmd, OPT_ENABLE_KVM)) {
        g_free(c->accel);
        c->accel = g_strdup(cmdline_has(cmd, OPT_QTEST) ? "qtest" : "kvm");
    }
    return true;
}

static bool bad_topology(const SmpConfig *s, unsigned max, Error **errp)
{
    return error_set(errp, "-smp: Invalid CPU topology: product of the hierarchy must match maxcpus: "
                     "sockets (%u) * dies (%u) * cores (%u) * threads (%u) != maxcpus (%u)",
                     s->sockets, s->dies, s->cores, s->threads, max);
}

/* Missing parts follow from the others: cores before sockets, since 6.2; before that sockets first. */
static bool complete_smp(SmpConfig *s, CpuTopology *t, bool sockets_first, Error **errp)
{
    unsigned max = s->has_maxcpus ? s->maxcpus : s->has_cpus ? s->cpus : 0;
    uint64_t product;

    if ((s->has_cpus && s->cpus == 0) || (s->has_maxcpus && s->maxcpus == 0) ||
        (s->has_sockets && s->sockets == 0) || (s->has_dies && s->dies == 0) ||
        (s->has_cores && s->cores == 0) || (s->has_threads && s->threads == 0)) {
        return error_set(errp, "-smp: CPU topology parameters must be greater than zero");
    }
    s->dies = s->has_dies ? s->dies : 1;
    if (sockets_first && !s->has_sockets) {
        s->cores = s->has_cores ? s->cores : 1;
        s->threads = s->has_threads ? s->threads : 1;
        s->has_cores = s->has_threads = true;
    }
    if (max == 0) {
        s->sockets = s->has_sockets ? s->sockets : 1;
        s->cores = s->has_cores ? s->cores : 1;
        s->threads = s->has_threads ? s->threads : 1;
    } else {
        uint64_t known = (uint64_t)s->dies * (s->has_sockets ? s->sockets : 1) *
                         (s->has_threads ? s->threads : 1);
        s->threads = s->has_threads ? s->threads : !s->has_cores || known == 0 ? 1 : 0;
        s->sockets = s->has_sockets ? s->sockets : !s->has_cores ? 1 : 0;
        if (!s->has_cores) {
            s->cores = MAX(max / known, 1);
        } else if (s->sockets == 0) {
            s->threads = s->threads != 0 ? s->threads : 1;
            s->sockets = MAX(max / (s->dies * s->cores * (uint64_t)s->threads), 1);
        } else if (s->threads == 0) {
            s->threads = MAX(max / (s->dies * s->cores * (uint64_t)s->sockets), 1);
        }
    }
    product = (uint64_t)s->sockets * s->dies * s->cores * s->threads;
    max = max != 0 ? max : MIN(product, UINT32_MAX);
    t->cpus = s->has_cpus ? s->cpus : max;
    if (product != max) {
        return bad_topology(s, max, errp);
    }
    *t = (CpuTopology){ t->cpus, max, s->sockets, s->dies, s->cores, s->threads };
    return true;
}

static bool read_smp(Config *c, const CmdLine *cmd, Error **errp)
{
    g_autofree char *text = config_joined(cmd, OPT_SMP, "cpus");
    g_autoptr(SmpConfig) s = NULL;
    CpuTopology *t = &c->board.smp;

    *t = (CpuTopology){ 1, 1, 1, 1, 1, 1 };
    if (text[0] == 0) {
        return true;
    }
    if (!qapi_opt_smp(text, &s, errp)) {
        return error_context(errp, "-smp %s", text);
    }
    if (s != NULL && !complete_smp(s, t, c->type != NULL && c->type->smp_sockets, errp)) {
        return false;
    }
    if (t->cpus > t->max_cpus) {
        return error_set(errp, "-smp: maxcpus must be equal to or greater than smp: maxcpus (%u) < cpus (%u)",
                         t->max_cpus, t->cpus);
    }
    if (c->type != NULL && t->max_cpus > c->type->max_cpus) {
        return error_set(errp, "-smp: Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u",
                         t->max_cpus, c->type->name, c->type->max_cpus);
    }
    return true;
}

static bool read_memory(Config *c, const CmdLine *cmd, Error **errp)
{
    g_autofree char *text = config_joined(cmd, OPT_MEMORY, "size");
    g_autoptr(MemoryConfig) m = NULL;
    BoardConfig *b = &c->board;

    b->ram_size = c->type->empty ? 0 : 128 * MiB;
    if (text[0] != 0) {
        if (!qapi_opt_m(text, &m, errp)) {
            return error_context(errp, "-m %s", text);
        }
        if (m != NULL) {
            b->ram_size = ALIGN_UP(m->size, 8192);
            b->ram_max = m->has_maxmem ? m->maxmem : 0;
            b->ram_slots = m->has_slots ? m->slots : 0;
        }
    }
    if (c->type->empty && b->ram_size != 0) {
        return error_set(errp, "-m: machine 'none' has no RAM");
    }
    if (b->ram_size < 1 * MiB && !c->type->empty) {
        return error_set(errp, "-m: %" PRIu64 " bytes of RAM are too few, 1 MiB is the least", b->ram_size);
    }
    if (b->ram_size > UINT64_C(1) << 42) {
        return error_set(errp, "-m: %" PRIu64 " bytes of RAM are more than the supported 4 TiB", b->ram_size);
    }
    if (b->ram_slots > 0 && b->ram_max == 0) {
        return error_set(errp, "-m: slots specified but no max-size");
    }
    if (b->ram_slots > 256) {
        return error_set(errp, "-m: unsupported amount of memory slots: %u", b->ram_slots);
    }
    if (b->ram_max > UINT64_C(1) << 42) {
        return error_set(errp, "-m: maxmem of %" PRIu64 " bytes is more than the supported 4 TiB",
                         b->ram_max);
    }
    if (b->ram_slots > 0 && b->ram_max == b->ram_size) {
        return error_set(errp, "-m: invalid value of maxmem: memory slots were specified but maximum memory "
                         "size (0x%" PRIx64 ") is equal to the initial memory size (0x%" PRIx64 ")",
                         b->ram_max, b->ram_size);
    }
    if (b->ram_max != 0 && b->ram_max < b->ram_size) {
        return error_set(errp, "-m: invalid value of maxmem: maximum memory size (0x%" PRIx64 ") must be at "
                         "least the initial memory size (0x%" PRIx64 ")", b->ram_max, b->ram_size);
    }
    return true;
}

bool config_check_boot_order(const char *order, Error **errp)
{
    for (const char *p = order; *p != 0; p++) {
        if (*p < 'a' || *p > 'p') {
            return error_set(errp, "Invalid boot device '%c'", *p);
        }
        if (strchr(order, *p) != p) {
            return error_set(errp, "Boot device '%c' was given twice", *p);
        }
    }
    return true;
}

static bool read_boot(Config *c, const CmdLine *cmd, Error **errp)
{
    g_autofree char *text = config_joined(cmd, OPT_BOOT, "order");
    g_autoptr(BootConfig) o = NULL;
    BoardConfig *b = &c->board;

    b->boot_splash_time_ms = -1;
    b->boot_reboot_timeout_ms = -1;
    if (text[0] == 0) {
        return true;
    }
    if (!qapi_opt_boot(text, &o, errp)) {
        return error_context(errp, "-boot %s", text);
    }
    if (o == NULL) {
        return true;
    }
    if ((o->order != NULL && !config_check_boot_order(o->order, errp)) ||
        (o->once != NULL && !config_check_boot_order(o->once, errp))) {
        return error_context(errp, "-boot");
    }
    b->boot_order = g_strdup(o->order);
    b->boot_once = g_strdup(o->once);
    b->boot_menu_set = o->has_menu;
    b->boot_menu = o->has_menu && o->menu;
    b->boot_strict = o->strict;
    b->boot_splash = g_strdup(o->splash);
    b->boot_splash_time_ms = o->has_splash_time ? (int)o->splash_time : -1;
    b->boot_reboot_timeout_ms = o->has_reboot_timeout ? (int)o->reboot_timeout : -1;
    return true;
}

/* "2006-06-17T16:01:21" or "2006-06-17", UTC. */
static bool parse_date(const char *text, int64_t *unix_s)
{
    struct tm tm = { 0 };
    char *end = strptime(text, "%Y-%m-%d", &tm);

    if (end != NULL && *end == 'T') {
        end = strptime(end + 1, "%H:%M:%S", &tm);
    }
    if (end == NULL || *end != 0) {
        return false;
    }
    *unix_s = timegm(&tm);
    return true;
}

static bool read_rtc(Config *c, const CmdLine *cmd, Error **errp)
{
    g_autofree char *text = config_joined(cmd, OPT_RTC, NULL);
    g_autoptr(RtcConfig) r = NULL;
    BoardConfig *b = &c->board;
    time_t now = time(NULL);
    int64_t start;

    b->rtc_utc = true;
    b->rtc_clock = CLOCK_WALL;
    if (text[0] == 0) {
        return true;
    }
    if (!qapi_opt_rtc(text, &r, errp)) {
        return error_context(errp, "-rtc %s", text);
    }
    if (r == NULL) {
        return true;
    }
    b->rtc_clock = r->clock == RTC_CLOCK_HOST ? CLOCK_WALL : r->clock == RTC_CLOCK_RT ? CLOCK_HOST : CLOCK_VM;
    b->rtc_drift_slew = r->driftfix == RTC_DRIFT_FIX_SLEW;
    if (strcmp(r->base, "localtime") == 0) {
        struct tm local;
        b->rtc_utc = false;
        localtime_r(&now, &local);
        b->rtc_offset_s = local.tm_gmtoff;
    } else if (strcmp(r->base, "utc") != 0) {
        if (!parse_date(r->base, &start)) {
            error_set(errp, "-rtc: invalid base '%s'", r->base);
            return error_hint(errp, "valid formats: 'utc', 'localtime', '2006-06-17T16:01:21', '2006-06-17'");
        }
        b->rtc_offset_s = start - now;
    }
    return true;
}

static bool read_name(Config *c, const CmdLine *cmd, Error **errp)
{
    const char *text = cmdline_last(cmd, OPT_NAME);
    g_autoptr(NameConfig) n = NULL;

    c->debug_threads = true;
    if (text == NULL) {
        return true;
    }
    if (!qapi_opt_name(text, &n, errp)) {
        return error_context(errp, "-name %s", text);
    }
    if (n != NULL) {
        c->board.guest_name = g_strdup(n->guest);
        c->process_name = g_strdup(n->process);
        c->debug_threads = n->debug_threads;
    }
    return true;
}

static bool read_policy(Config *c, const CmdLine *cmd, Error **errp)
{
    RunPolicy *p = &c->policy;

    *p = (RunPolicy){ REBOOT_ACTION_RESET, SHUTDOWN_ACTION_POWEROFF, PANIC_ACTION_SHUTDOWN,
                      WATCHDOG_ACTION_RESET };
    if (cmdline_has(cmd, OPT_NO_REBOOT)) {
        p->reboot = REBOOT_ACTION_SHUTDOWN;
    }
    if (cmdline_has(cmd, OPT_NO_SHUTDOWN)) {
        p->shutdown = SHUTDOWN_ACTION_PAUSE;
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_ACTION); i++) {
        g_autoptr(ActionConfig) a = NULL;
        if (!qapi_opt_action(cmdline_nth(cmd, OPT_ACTION, i), &a, errp)) {
            return error_context(errp, "-action %s", cmdline_nth(cmd, OPT_ACTION, i));
        }
        if (a != NULL) {
            run_policy_apply(p, a);
        }
    }
    if (cmdline_has(cmd, OPT_WATCHDOG_ACTION)) {
        const char *word = cmdline_last(cmd, OPT_WATCHDOG_ACTION);
        g_autofree char *text = g_strconcat("watchdog=", word, NULL);
        g_autoptr(ActionConfig) a = NULL;
        if (!qapi_opt_action(text, &a, errp)) {
            return error_context(errp, "-watchdog-action %s", word);
        }
        run_policy_apply(p, a);
    }
    return true;
}

static bool read_uuid(Config *c, const CmdLine *cmd, Error **errp)
{
    const char *text = cmdline_last(cmd, OPT_UUID);

    if (text != NULL && !g_uuid_string_is_valid(text)) {
        return error_set(errp, "-uuid: failed to parse UUID string: %s", text);
    }
    c->board.uuid = g_strdup(text);
    return true;
}

static bool read_lists(Config *c, const CmdLine *cmd)
{
    c->board.fw_cfg = cmd->texts[OPT_FW_CFG];
    return true;
}

/* What is asked of the host. */
static bool read_host(Config *c, const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_OVERCOMMIT); i++) {
        const char *text = cmdline_nth(cmd, OPT_OVERCOMMIT, i);
        g_autoptr(OvercommitConfig) o = NULL;
        if (!qapi_opt_overcommit(text, &o, errp)) {
            return error_context(errp, "-overcommit %s", text);
        }
        if (o != NULL) {
            c->mem_lock = o->mem_lock;
            c->board.cpu_pm = o->cpu_pm;
        }
    }
    c->mem_path = cmdline_last(cmd, OPT_MEM_PATH);
    c->board.mem_prealloc = cmdline_has(cmd, OPT_MEM_PREALLOC);
    if (c->mem_path != NULL && c->board.memory_backend != NULL) {
        return error_set(errp, "-mem-path: cannot be used together with -machine memory-backend=");
    }
    return true;
}

/* Nothing makes a sound yet: the ids are kept for devices that name one. */
static bool read_audiodevs(const CmdLine *cmd, bool *help, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_AUDIODEV); i++) {
        const char *text = cmdline_nth(cmd, OPT_AUDIODEV, i);
        g_autoptr(AudiodevConfig) a = NULL;

        if (strcmp(text, "help") == 0) {
            printf("Available audio drivers:\nnone\n");
            *help = true;
            return true;
        }
        if (!qapi_opt_audiodev(text, &a, errp)) {
            return error_context(errp, "-audiodev %s", text);
        }
    }
    return true;
}

static void take_last(char **to, const CmdLine *cmd, Option o)
{
    if (cmdline_has(cmd, o)) {
        g_free(*to);
        *to = g_strdup(cmdline_last(cmd, o));
    }
}

/* Only "none" is known of what has no back end yet. */
static bool check_absent(const CmdLine *cmd, bool *help, Error **errp)
{
    static const struct { Option o; const char *help; } none_only[] = {
        { OPT_DISPLAY, "Available display backend types:\nnone\n" },
        { OPT_VGA, "none                 no graphic card (default)\n" },
        { OPT_PARALLEL, NULL }, { OPT_NET, NULL }, { OPT_NIC, NULL },
    };

    for (unsigned i = 0; i < ARRAY_LEN(none_only); i++) {
        const char *text = cmdline_last(cmd, none_only[i].o);
        if (text != NULL && none_only[i].help != NULL && strcmp(text, "help") == 0) {
            printf("%s", none_only[i].help);
            *help = true;
            return true;
        }
        if (text != NULL && strcmp(text, "none") != 0) {
            return error_set(errp, "-%s: '%s' is not supported, only 'none' is",
                             cmdline_option_name(none_only[i].o), text);
        }
    }
    return true;
}

bool config_read(Config *c, const CmdLine *cmd, bool *help, Error **errp)
{
    BoardConfig *b = &c->board;

    if (!read_machine(c, cmd, help, errp) || *help || !read_accel(c, cmd, help, errp) || *help) {
        return *help;
    }
    if (!read_audiodevs(cmd, help, errp) || *help) {
        return *help;
    }
    if (!read_smp(c, cmd, errp) || !read_memory(c, cmd, errp) || !config_read_numa(c, cmd, errp) ||
        !read_boot(c, cmd, errp) || !read_rtc(c, cmd, errp) || !read_name(c, cmd, errp) ||
        !read_policy(c, cmd, errp) || !read_uuid(c, cmd, errp) || !read_lists(c, cmd) ||
        !config_read_roms(c, cmd, errp) || !config_read_acpi(c, cmd, errp) ||
        !config_read_smbios(c, cmd, c->smbios_entry64, errp) ||
        !read_host(c, cmd, errp) || !check_absent(cmd, help, errp)) {
        return false;
    }
    c->nodefaults = cmdline_has(cmd, OPT_NODEFAULTS);
    c->nographic = cmdline_has(cmd, OPT_NOGRAPHIC);
    b->nographic = c->nographic;
    b->no_fd_bootchk = cmdline_has(cmd, OPT_NO_FD_BOOTCHK);
    take_last(&b->kernel, cmd, OPT_KERNEL);
    take_last(&b->initrd, cmd, OPT_INITRD);
    take_last(&b->append, cmd, OPT_APPEND);
    take_last(&b->firmware, cmd, OPT_BIOS);
    b->cpu_model = g_strdup(c->type->default_cpu);
    take_last(&b->cpu_model, cmd, OPT_CPU);
    if (b->kernel == NULL && (b->initrd != NULL || b->append != NULL)) {
        return error_set(errp, "%s only allowed with -kernel option",
                         b->initrd != NULL ? "-initrd" : "-append");
    }
    return true;
}
