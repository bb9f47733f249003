/* config-test.c: what -smp, -m, -numa, -boot, -rtc, -smbios and their like become, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "hw/board/smbios.h"
#include "system/config.h"
#include "util/bytes.h"
#include "util/thread.h"

static const MachineType small = { .name = "small-1.0", .alias = "small", .desc = "Small", .is_default = true,
                                   .max_cpus = 255 };
static const MachineType old = { .name = "old-1.0", .desc = "Old", .max_cpus = 255, .smp_sockets = true };
static const MachineType large = { .name = "large-1.0", .alias = "large", .desc = "Large", .max_cpus = 4096 };

/* A configuration and its command line live as long as the process. */
static GPtrArray *kept;

static void *keep(void *p)
{
    g_ptr_array_add(kept, p);
    return p;
}

/* Reads a command line of words parted by blanks. */
static bool read_line(const char *line, Config *c, Error **errp)
{
    g_autofree char *all = g_strconcat("rhea ", line, NULL);
    char **argv = keep(g_strsplit(all, " ", -1));
    CmdLine *cmd = keep(g_new0(CmdLine, 1));
    bool help = false, ok;

    memset(c, 0, sizeof(*c));
    ok = cmdline_parse(cmd, g_strv_length(argv), argv, errp) && config_read(c, cmd, &help, errp);
    assert_false(ok && help);
    return ok;
}

static Config *must_read(const char *line)
{
    Config *c = keep(g_new0(Config, 1));
    Error *e = NULL;

    if (!read_line(line, c, &e)) {
        fail_msg("%s: %s", line, error_text(e));
    }
    return c;
}

static void must_refuse(const char *line, const char *says)
{
    Config *c = keep(g_new0(Config, 1));
    g_autoptr(Error) e = NULL;

    if (read_line(line, c, &e)) {
        fail_msg("%s was taken", line);
    }
    if (strstr(error_text(e), says) == NULL) {
        fail_msg("%s: \"%s\", not \"%s\"", line, error_text(e), says);
    }
}

static void defaults(void **state)
{
    Config *c = must_read("-S");

    assert_ptr_equal(c->type, &small);
    assert_int_equal(c->board.ram_size, 128 * MiB);
    assert_int_equal(c->board.smp.cpus, 1);
    assert_int_equal(c->board.smp.max_cpus, 1);
    assert_string_equal(c->accel, "kvm");
    assert_true(c->board.acpi && c->board.hpet && c->board.rtc_utc && c->board.graphics);
    assert_int_equal(c->board.kernel_irqchip, 1);
    assert_int_equal(c->board.boot_splash_time_ms, -1);
    assert_int_equal(c->board.boot_reboot_timeout_ms, -1);
    assert_int_equal(c->board.rtc_offset_s, 0);
    assert_int_equal(c->board.numa_nodes, 0);
    assert_null(c->board.boot_order);
    assert_false(c->board.smbios->entry64 || c->board.smbios->bios.wanted);
}

static void acpi_tables(void **state)
{
    g_autofree char *path = g_strdup("/tmp/rhea-table-XXXXXX"), *line = NULL;
    int fd = g_mkstemp(path);
    const GByteArray *t;

    assert_int_equal(write(fd, "data", 4), 4);
    close(fd);
    line = g_strdup_printf("-acpitable sig=MINE,rev=3,oem_id=ME,oem_rev=7,data=%s:%s", path, path);
    t = g_ptr_array_index(must_read(line)->board.acpi_tables, 0);
    assert_int_equal(t->len, 44);
    assert_memory_equal(t->data, "MINE", 4);
    assert_int_equal(t->data[8], 3);
    assert_memory_equal(t->data + 10, "ME\0\0\0\0", 6);
    assert_int_equal(ld32(t->data + 24), 7);
    assert_memory_equal(t->data + 36, "datadata", 8);
    g_free(line);
    line = g_strdup_printf("-acpitable file=%s", path);
    must_refuse(line, "too short, available: 4, expected: 36");
    unlink(path);
    must_refuse(line, "can't open file");
    must_refuse("-acpitable sig=MINE", "requires one of 'data' or 'file'");
    must_refuse("-acpitable sig=MINE,data=a,file=b", "requires one of 'data' or 'file'");
    must_refuse("-acpitable rev=300,data=a", "rev");
}

static void topology(void **state)
{
    static const struct { const char *text; CpuTopology is; } rows[] = {
        { "4", { 4, 4, 1, 1, 4, 1 } },
        { "cpus=4", { 4, 4, 1, 1, 4, 1 } },
        { "4,maxcpus=8", { 4, 8, 1, 1, 8, 1 } },
        { "4,sockets=2", { 4, 4, 2, 1, 2, 1 } },
        { "8,threads=2", { 8, 8, 1, 1, 4, 2 } },
        { "8,cores=2", { 8, 8, 4, 1, 2, 1 } },
        { "8,cores=2,threads=2", { 8, 8, 2, 1, 2, 2 } },
        { "8,sockets=2,cores=2", { 8, 8, 2, 1, 2, 2 } },
        { "8,dies=2", { 8, 8, 1, 2, 4, 1 } },
        { "16,sockets=2,dies=2,cores=2,threads=2", { 16, 16, 2, 2, 2, 2 } },
        { "sockets=2,cores=3,threads=2", { 12, 12, 2, 1, 3, 2 } },
        { "2,sockets=2,maxcpus=8", { 2, 8, 2, 1, 4, 1 } },
        { "maxcpus=6", { 6, 6, 1, 1, 6, 1 } },
        { "1 -smp maxcpus=2", { 1, 2, 1, 1, 2, 1 } },         /* given twice: one option */
        { "255", { 255, 255, 1, 1, 255, 1 } },
        { "maxcpus=2 -smp 1", { 1, 2, 1, 1, 2, 1 } },
        { "3 -smp 2", { 2, 2, 1, 1, 2, 1 } },
        { "4 -M old-1.0", { 4, 4, 4, 1, 1, 1 } },
        { "8,cores=2 -M old-1.0", { 8, 8, 4, 1, 2, 1 } },
        { "8,threads=2 -M old-1.0", { 8, 8, 4, 1, 1, 2 } },
        { "8,sockets=2 -M old-1.0", { 8, 8, 2, 1, 4, 1 } },
        { "2,maxcpus=8 -M old-1.0", { 2, 8, 8, 1, 1, 1 } },
        { "4096 -M large", { 4096, 4096, 1, 1, 4096, 1 } },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        g_autofree char *line = g_strdup_printf("-smp %s", rows[i].text);
        Config *c = must_read(line);
        if (memcmp(&c->board.smp, &rows[i].is, sizeof(CpuTopology)) != 0) {
            const CpuTopology *t = &c->board.smp;
            fail_msg("%s: %u of %u: %u * %u * %u * %u", line, t->cpus, t->max_cpus, t->sockets, t->dies,
                     t->cores, t->threads);
        }
    }
    must_refuse("-smp 256", "The max CPUs supported by machine 'small-1.0' is 255");
    must_refuse("-smp 4097 -M large", "from 1 to 4096");
    must_refuse("-smp 8,maxcpus=4", "maxcpus must be equal to or greater than smp");
    must_refuse("-smp 7,sockets=2", "!= maxcpus (7)");
    must_refuse("-smp 4,cores=3", "!= maxcpus (4)");
    must_refuse("-smp sockets=4096,dies=4096,cores=4096,threads=4096", "-smp: ");
    must_refuse("-smp 4,maxcpus=4,sockets=2,cores=4", "Invalid CPU topology");
}

static void memory(void **state)
{
    static const struct { const char *text; uint64_t size, max; unsigned slots; } rows[] = {
        { "256", 256 * MiB, 0, 0 },
        { "1G", 1 * GiB, 0, 0 },
        { "2048k", 2 * MiB, 0, 0 },
        { "0x10", 16 * MiB, 0, 0 },
        { "1.5G", 1536 * MiB, 0, 0 },
        { "size=1G,slots=2,maxmem=4G", 1 * GiB, 4 * GiB, 2 },
        { "512 -m maxmem=1G,slots=1", 512 * MiB, 1 * GiB, 1 },
        { "maxmem=1G,slots=1 -m 512", 512 * MiB, 1 * GiB, 1 },
        { "4T", 4096 * GiB, 0, 0 },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        g_autofree char *line = g_strdup_printf("-m %s", rows[i].text);
        Config *c = must_read(line);
        if (c->board.ram_size != rows[i].size || c->board.ram_max != rows[i].max ||
            c->board.ram_slots != rows[i].slots) {
            fail_msg("%s: %" PRIu64 ", %" PRIu64 ", %u", line, c->board.ram_size, c->board.ram_max,
                     c->board.ram_slots);
        }
    }
    must_refuse("-m 0", "1 MiB is the least");
    must_refuse("-m 1000k", "1 MiB is the least");
    must_refuse("-m 5T", "more than the supported 4 TiB");
    must_refuse("-m 1G,maxmem=512M", "must be at least the initial memory size");
    must_refuse("-m -1", "-m -1: ");
    must_refuse("-m 1G,slots=257,maxmem=2G", "unsupported amount of memory slots: 257");
    must_refuse("-m 1G,slots=2", "slots specified but no max-size");
    must_refuse("-m 1G,slots=2,maxmem=1G", "is equal to the initial memory size");
    must_refuse("-m 1G,maxmem=5T", "more than the supported 4 TiB");
}

static void numa(void **state)
{
    BoardConfig *b = &must_read("-m 1G -smp 4 -numa node,cpus=0-1,mem=256M -numa node,cpus=2,cpus=3,mem=768M "
                                "-numa dist,src=0,dst=1,val=21")->board;

    assert_int_equal(b->numa_nodes, 2);
    assert_int_equal(b->numa[0].mem, 256 * MiB);
    assert_int_equal(b->numa[1].mem, 768 * MiB);
    assert_int_equal(b->cpu_node[1], 0);
    assert_int_equal(b->cpu_node[2], 1);
    assert_int_equal(b->cpu_node[3], 1);
    assert_int_equal(b->numa[0].distance[1], 21);
    assert_int_equal(b->numa[1].distance[0], 21);             /* the other direction follows */
    b = &must_read("-m 100 -numa node -numa node -numa node")->board;
    /* shares in steps of 8 MiB, the last has the rest */
    assert_int_equal(b->numa[0].mem, 32 * MiB);
    assert_int_equal(b->numa[2].mem, 36 * MiB);
    b = &must_read("-smp 8,sockets=2 -numa node -numa node -numa cpu,node-id=1,socket-id=1")->board;
    assert_int_equal(b->cpu_node[3], 0);
    assert_int_equal(b->cpu_node[4], 1);
    assert_int_equal(b->cpu_node[7], 1);
    must_refuse("-m 1G -numa node,mem=512M", "should equal RAM size");
    must_refuse("-numa node,nodeid=1", "0 was expected, not 1");
    must_refuse("-numa node,cpus=1", "should be smaller than maxcpus (1)");
    must_refuse("-numa node,mem=128M,memdev=x", "both mem= and memdev=");
    must_refuse("-numa node,memdev=x -numa node", "for all nodes or for none");
    must_refuse("-numa dist,src=0,dst=1,val=20", "Invalid node");
    must_refuse("-numa node -numa node -numa dist,src=0,dst=1,val=9", "10 to 255");
    must_refuse("-numa node -numa cpu,node-id=0,socket-id=5", "no CPU matches");
    must_refuse("-numa node -numa cpu,node-id=3", "node given before");
    must_refuse("-numa node,nodeid=128", "0 to 127");
}

static void boot(void **state)
{
    BoardConfig *b = &must_read("-boot dc")->board;

    assert_string_equal(b->boot_order, "dc");
    assert_false(b->boot_menu || b->boot_menu_set || b->boot_strict);
    b = &must_read("-boot order=c,once=d,menu=on,strict=on,splash-time=500,reboot-timeout=1000")->board;
    assert_string_equal(b->boot_order, "c");
    assert_string_equal(b->boot_once, "d");
    assert_true(b->boot_menu && b->boot_menu_set && b->boot_strict);
    assert_int_equal(b->boot_splash_time_ms, 500);
    assert_int_equal(b->boot_reboot_timeout_ms, 1000);
    b = &must_read("-boot menu=off -boot n")->board;
    assert_true(b->boot_menu_set && !b->boot_menu);
    assert_string_equal(b->boot_order, "n");
    must_refuse("-boot order=q", "Invalid boot device 'q'");
    must_refuse("-boot once=cdc", "'c' was given twice");
    must_refuse("-boot reboot-timeout=65536", "-1 to 65535");
    must_refuse("-boot splash-time=-1", "0 to 65535");
}

static void clocks(void **state)
{
    BoardConfig *b;
    time_t now = time(NULL);

    setenv("TZ", "XYZ-3", 1);
    tzset();
    b = &must_read("-rtc base=localtime,clock=vm,driftfix=slew")->board;
    assert_int_equal(b->rtc_offset_s, 3 * 3600);
    assert_false(b->rtc_utc);
    assert_int_equal(b->rtc_clock, CLOCK_VM);
    assert_true(b->rtc_drift_slew);
    b = &must_read("-rtc base=2006-06-17T16:01:21")->board;
    assert_in_range(b->rtc_offset_s + now, 1150560081 - 1, 1150560081);
    assert_int_equal(b->rtc_clock, CLOCK_WALL);
    b = &must_read("-rtc base=2006-06-17,clock=rt")->board;
    assert_in_range(b->rtc_offset_s + now, 1150502400 - 1, 1150502400);
    assert_int_equal(b->rtc_clock, CLOCK_HOST);
    must_refuse("-rtc base=2006-06-17T16", "invalid base");
    must_refuse("-rtc base=2006-13-17", "invalid base");
    must_refuse("-rtc base=", "invalid base");
    must_refuse("-rtc base=2006-06-17x", "invalid base");
}

static void smbios(void **state)
{
    SmbiosConfigData *s = must_read("-smbios type=1,manufacturer=A,serial=1 -smbios type=1,manufacturer=B "
                                    "-smbios type=0,vendor=V,release=1.2,uefi=on -smbios type=2 "
                                    "-smbios type=4,max-speed=3000,processor-id=5 "
                                    "-smbios type=11,value=x,value=y -smbios type=17,speed=9 "
                                    "-M smbios-entry-point-type=64")->board.smbios;

    assert_string_equal(s->system.manufacturer, "B");         /* later ones add to and replace earlier ones */
    assert_string_equal(s->system.serial, "1");
    assert_true(s->bios.wanted && s->bios.uefi && s->baseboard.wanted && s->entry64);
    assert_int_equal(s->bios.major, 1);
    assert_int_equal(s->bios.minor, 2);
    assert_int_equal(s->processor.max_speed_mhz, 3000);
    assert_true(s->processor.has_id && s->processor.id == 5);
    assert_int_equal(s->oem->len, 2);
    assert_int_equal(s->memory.speed_mhz, 9);
    must_refuse("-smbios type=0,release=1.256", "Invalid release");
    must_refuse("-smbios type=0,release=1.2x", "Invalid release");
    must_refuse("-smbios type=11,value=", "must not be empty");
    must_refuse("-smbios type=17,speed=65536", "-smbios type=17");
    must_refuse("-smbios file=/dev/zero", "more than 1 MiB");
}

static void machine_and_rest(void **state)
{
    Config *c = must_read("-M large -machine acpi=off,hpet=off,kernel-irqchip=split,graphics=off "
                          "-machine mem-merge=off -name guest=g,process=p -no-reboot "
                          "-uuid 12345678-9abc-def0-1122-334455667788 "
                          "-action shutdown=pause,panic=none");

    assert_ptr_equal(c->type, &large);
    assert_false(c->board.acpi || c->board.hpet || c->board.graphics || c->board.mem_merge);
    assert_int_equal(c->board.kernel_irqchip, 2);
    assert_string_equal(c->board.guest_name, "g");
    assert_string_equal(c->process_name, "p");
    assert_int_equal(c->policy.reboot, REBOOT_ACTION_SHUTDOWN);
    assert_int_equal(c->policy.shutdown, SHUTDOWN_ACTION_PAUSE);
    assert_int_equal(c->policy.panic, PANIC_ACTION_NONE);
    assert_ptr_equal(must_read("-machine usb=off -M large")->type, &large);
    must_refuse("-M larg", "unsupported machine type 'larg'");
    must_refuse("-uuid 1234", "failed to parse UUID");
    must_refuse("-append x", "-append only allowed with -kernel");
    must_refuse("-vga std", "only 'none' is");
}

int main(void)
{
    static const MachineType *const types[] = { &small, &old, &large, NULL };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(topology),
        cmocka_unit_test(acpi_tables), cmocka_unit_test(memory),
        cmocka_unit_test(numa), cmocka_unit_test(boot), cmocka_unit_test(clocks), cmocka_unit_test(smbios),
        cmocka_unit_test(machine_and_rest),
    };

    thread_become_control();
    kept = g_ptr_array_new();
    machine_types_register(types);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
