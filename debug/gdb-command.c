/* gdb-command.c: what a debugger's packets ask for (GDB manual, E.2 to E.4; QEMU's manual, "GDB usage").
 *
 * 1. Called in GDB_STOPPED alone.  A packet nobody knows gets the empty answer.
 * 2. Texts end with a 0 beyond their length; binary data is read by length. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/accel.h"
#include "core/machine.h"
#include "debug/gdb-int.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/trace.h"

#define MEMORY_MAX (GDB_PACKET_MAX / 2)
#define MONITOR_CHUNK 1024u

static unsigned vcpu_count(void)
{
    return accel()->vcpu_count ? accel()->vcpu_count() : 0;
}

static void reply_ok(Gdb *g)
{
    gdb_reply(g, "OK");
}

/* --- registers --- */

static bool regs_read(Gdb *g, X86Regs *r)
{
    bool ok = accel()->vcpu_regs && accel()->vcpu_regs(g->g_thread, r);

    if (!ok) {
        gdb_error(g, EFAULT);
    } else if (!g->xml) {
        g->width = gdb_width_of(r);
    }
    return ok;
}

static void regs_write(Gdb *g, const X86Regs *r)
{
    if (accel()->vcpu_regs_set(g->g_thread, r)) {
        reply_ok(g);
    } else {
        gdb_error(g, EINVAL);
    }
}

static void get_all(Gdb *g, const char *p, size_t n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint8_t value[GDB_REG_BYTES];
    X86Regs r;

    if (!regs_read(g, &r)) {
        return;
    }
    for (unsigned i = 0; i < gdb_regs_count(g->width); i++) {
        gdb_bytes_write(text, value, gdb_reg_get(g->width, i, &r, value));
    }
    gdb_reply(g, text->str);
}

static void set_all(Gdb *g, const char *p, size_t n)
{
    uint8_t value[GDB_REG_BYTES];
    X86Regs r;

    if (!regs_read(g, &r)) {
        return;
    }
    for (unsigned i = 0; i < gdb_regs_count(g->width) && *p; i++) {
        unsigned size = gdb_reg_get(g->width, i, &r, value);

        if (!gdb_bytes_read(&p, value, size) || !gdb_reg_set(g->width, i, &r, value)) {
            gdb_error(g, EINVAL);
            return;
        }
    }
    regs_write(g, &r);
}

static void get_one(Gdb *g, const char *p, size_t n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint8_t value[GDB_REG_BYTES];
    uint64_t which;
    X86Regs r;

    if (!gdb_number(&p, &which)) {
        gdb_error(g, EINVAL);
    } else if (regs_read(g, &r)) {
        unsigned size = which < UINT_MAX ? gdb_reg_get(g->width, which, &r, value) : 0;

        if (size == 0) {
            gdb_error(g, EFAULT);
            return;
        }
        gdb_bytes_write(text, value, size);
        gdb_reply(g, text->str);
    }
}

static void set_one(Gdb *g, const char *p, size_t n)
{
    uint8_t value[GDB_REG_BYTES];
    uint64_t which;
    X86Regs r;

    if (!gdb_number(&p, &which) || *p++ != '=' || which >= UINT_MAX) {
        gdb_error(g, EINVAL);
    } else if (regs_read(g, &r)) {
        unsigned size = gdb_reg_get(g->width, which, &r, value);

        if (size == 0 || !gdb_bytes_read(&p, value, size) || *p != 0 ||
            !gdb_reg_set(g->width, which, &r, value)) {
            gdb_error(g, EINVAL);
            return;
        }
        regs_write(g, &r);
    }
}

/* --- memory --- */

/* Where @at is, and how far it goes together. */
static bool locate(Gdb *g, const X86Regs *r, uint64_t at, Gpa *gpa, uint64_t *left)
{
    X86Page page;

    if (g->physical) {
        *gpa = at;
        *left = 4096 - (at & 4095);    /* never 0, up to the last byte there could be */
        return true;
    }
    if (!(r->efer & X86_EFER_LMA)) {
        at &= 0xffffffff;
    }
    if (!x86_translate(r, machine()->mem, at, &page)) {
        return false;
    }
    *gpa = page.gpa + (at - page.va);
    *left = page.size - (at - page.va);
    return true;
}

static bool read_piece(Gpa gpa, uint8_t *buf, size_t n)
{
    return space_read_bytes(machine()->mem, gpa, buf, n) == IO_OK;
}

static bool is_memory(Gpa gpa)
{
    uint64_t len = 1;

    epoch_enter();
    bool is = space_ram(machine()->mem, gpa, &len, false) != NULL;
    epoch_leave();
    return is;
}

/* RAM, and ROM that is not mapped from a file; else a device's registers. */
static bool write_piece(Gpa gpa, uint8_t *buf, size_t n)
{
    return is_memory(gpa) ? space_load(machine()->mem, gpa, buf, n)
                          : space_write_bytes(machine()->mem, gpa, buf, n) == IO_OK;
}

/* How many bytes of @n could be read or written from @at on. */
static size_t memory(Gdb *g, uint64_t at, uint8_t *buf, size_t n, bool (*piece)(Gpa, uint8_t *, size_t))
{
    size_t done = 0;
    X86Regs r = { 0 };

    if (!g->physical && !(accel()->vcpu_regs && accel()->vcpu_regs(g->g_thread, &r))) {
        return 0;
    }
    while (done < n) {
        uint64_t left;
        Gpa gpa;

        if (!locate(g, &r, at + done, &gpa, &left)) {
            break;
        }
        /* By pages: what a hole cuts short is read up to it. */
        size_t len = MIN(MIN(left, 4096 - (gpa & 4095)), n - done);
        if (!piece(gpa, buf + done, len)) {
            break;
        }
        done += len;
    }
    return done;
}

static bool parse_range(const char **p, uint64_t *at, uint64_t *len)
{
    return gdb_number(p, at) && *(*p)++ == ',' && gdb_number(p, len);
}

static void read_memory(Gdb *g, const char *p, size_t n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint8_t buf[MEMORY_MAX];
    uint64_t at, len;

    if (!parse_range(&p, &at, &len) || *p != 0) {
        gdb_error(g, EINVAL);
        return;
    }
    size_t done = memory(g, at, buf, MIN(len, sizeof(buf)), read_piece);
    if (done == 0 && len > 0) {
        gdb_error(g, EFAULT);
        return;
    }
    gdb_bytes_write(text, buf, done);
    gdb_reply(g, text->str);
}

static void write_buffer(Gdb *g, uint64_t at, uint8_t *buf, size_t len)
{
    if (memory(g, at, buf, len, write_piece) == len) {
        reply_ok(g);
    } else {
        gdb_error(g, EFAULT);
    }
}

static void write_memory(Gdb *g, const char *p, size_t n)
{
    uint8_t buf[MEMORY_MAX];
    uint64_t at, len;

    if (!parse_range(&p, &at, &len) || *p++ != ':' || len > sizeof(buf) || strlen(p) != 2 * len ||
        !gdb_bytes_read(&p, buf, len)) {
        gdb_error(g, EINVAL);
        return;
    }
    write_buffer(g, at, buf, len);
}

static void write_binary(Gdb *g, const char *p, size_t n)
{
    const char *end = p + n;
    uint64_t at, len;

    if (!parse_range(&p, &at, &len) || *p++ != ':' || p > end || len != (size_t)(end - p)) {
        gdb_error(g, EINVAL);
        return;
    }
    write_buffer(g, at, (uint8_t *)p, len);
}

/* --- breakpoints --- */

static void breakpoint(Gdb *g, const char *p, bool insert)
{
    int digit = gdb_digit(*p);
    uint64_t linear, len, left;
    Gpa gpa = 0;
    X86Regs r;

    if (digit < 0 || *++p != ',') {
        gdb_error(g, EINVAL);
        return;
    }
    p++;
    if (digit > GDB_WATCH_ACCESS || digit == GDB_WATCH_READ) {
        gdb_reply(g, "");              /* no x86 register watches reads alone */
        return;
    }
    if (!parse_range(&p, &linear, &len) || len > 8) {
        gdb_error(g, EINVAL);
        return;
    }
    if (!insert) {
        if (gdb_break_remove(&g->breaks, digit, linear, len)) {
            reply_ok(g);
        } else {
            gdb_error(g, EINVAL);
        }
        return;
    }
    uint8_t byte;
    bool fixed = digit != GDB_BREAK_SOFT;
    if (digit == GDB_BREAK_SOFT) {
        if (!accel()->vcpu_regs || !accel()->vcpu_regs(g->g_thread, &r) ||
            !locate(g, &r, linear, &gpa, &left) || !read_piece(gpa, &byte, 1)) {
            gdb_error(g, EFAULT);
            return;
        }
        fixed = !write_piece(gpa, &byte, 1);
    }
    int ret = gdb_break_add(&g->breaks, digit, linear, len, gpa, fixed);
    if (ret < 0) {
        gdb_error(g, -ret);
    } else {
        reply_ok(g);
    }
}

static void insert(Gdb *g, const char *p, size_t n)
{
    breakpoint(g, p, true);
}

static void take_out(Gdb *g, const char *p, size_t n)
{
    breakpoint(g, p, false);
}

/* --- threads --- */

enum { THREAD_ALL = -1, THREAD_ANY = 0 };

/* "p1.2", "2", "-1", "p1.-1", "p1" (all of it): *@id the thread's number, THREAD_ALL or THREAD_ANY. */
static bool parse_thread(const char **p, int64_t *id)
{
    uint64_t v;

    if (**p == 'p') {
        (*p)++;
        if (g_str_has_prefix(*p, "-1")) {
            *p += 2;
        } else if (!gdb_number(p, &v) || v > 1) {
            return false;
        }
        if (**p != '.') {
            *id = THREAD_ALL;
            return true;
        }
        (*p)++;
    }
    if (g_str_has_prefix(*p, "-1")) {
        *p += 2;
        *id = THREAD_ALL;
        return true;
    }
    if (!gdb_number(p, &v) || v > vcpu_count()) {
        return false;
    }
    *id = v;
    return true;
}

static void choose_thread(Gdb *g, const char *p, size_t n)
{
    char op = *p;
    int64_t id;

    if (op == 0 || (p++, !parse_thread(&p, &id)) || *p != 0) {
        gdb_error(g, EINVAL);
    } else if (op == 'c') {
        g->c_thread = id > 0 ? id - 1 : UINT_MAX;
        reply_ok(g);
    } else if (op == 'g') {
        g->g_thread = id > 0 ? id - 1 : g->g_thread;
        reply_ok(g);
    } else {
        gdb_error(g, EINVAL);
    }
}

static void is_alive(Gdb *g, const char *p, size_t n)
{
    int64_t id;

    if (parse_thread(&p, &id) && *p == 0 && id > 0) {
        reply_ok(g);
    } else {
        gdb_error(g, EINVAL);
    }
}

static void list_threads(Gdb *g)
{
    if (g->next_thread >= vcpu_count()) {
        gdb_reply(g, "l");
        return;
    }
    g_autofree char *thread = gdb_thread_text(g, g->next_thread++);
    g_autofree char *text = g_strdup_printf("m%s", thread);
    gdb_reply(g, text);
}

static void first_threads(Gdb *g, const char *p)
{
    g->next_thread = 0;
    list_threads(g);
}

static void more_threads(Gdb *g, const char *p)
{
    list_threads(g);
}

static void thread_info(Gdb *g, const char *p)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int64_t id;
    X86Regs r;

    if (!parse_thread(&p, &id) || id <= 0) {
        gdb_error(g, EINVAL);
        return;
    }
    bool halted = accel()->vcpu_regs(id - 1, &r) && r.halted;
    g_autofree char *line = g_strdup_printf("CPU#%d [%s]", (int)id - 1, halted ? "halted " : "running");
    gdb_bytes_write(text, line, strlen(line));
    gdb_reply(g, text->str);
}

static void current_thread(Gdb *g, const char *p)
{
    g_autofree char *thread = gdb_thread_text(g, g->g_thread);
    g_autofree char *text = g_strdup_printf("QC%s", thread);

    gdb_reply(g, text);
}

/* --- running --- */

/* Every vCPU gets @act, none a step that @step_bits forbids. */
static void prepare(Gdb *g, char act)
{
    g->vcpus = vcpu_count();
    g->act = g_realloc(g->act, g->vcpus + 1);
    memset(g->act, act, g->vcpus);
}

static void set_pc(Gdb *g, const char *p)
{
    uint64_t pc;
    X86Regs r;

    if (gdb_number(&p, &pc) && accel()->vcpu_regs(g->g_thread, &r)) {
        r.rip = pc;
        accel()->vcpu_regs_set(g->g_thread, &r);
    }
}

/* c, C, s, S: the old way, for the thread of Hc or all. */
static void run(Gdb *g, const char *p, char act)
{
    unsigned target = g->c_thread < vcpu_count() ? g->c_thread : g->g_thread;

    if (*p != 0) {
        set_pc(g, p);
    }
    if (act == 's') {
        prepare(g, 'h');
        g->act[MIN(target, g->vcpus)] = 's';
    } else {
        prepare(g, g->c_thread < vcpu_count() ? 'h' : 'c');
        g->act[MIN(target, g->vcpus)] = 'c';
    }
    gdb_resume(g);
}

static void cont(Gdb *g, const char *p, size_t n)
{
    run(g, p, 'c');
}

static void step(Gdb *g, const char *p, size_t n)
{
    run(g, p, 's');
}

/* The signal is for a process; a machine gets none. */
static const char *behind_signal(const char *p)
{
    uint64_t signal;

    return gdb_number(&p, &signal) && *p == ';' ? p + 1 : "";
}

static void cont_signal(Gdb *g, const char *p, size_t n)
{
    run(g, behind_signal(p), 'c');
}

static void step_signal(Gdb *g, const char *p, size_t n)
{
    run(g, behind_signal(p), 's');
}

/* One action of vCont into @g->act, for threads that have none yet; 0 or a negative errno. */
static int add_action(Gdb *g, const char **p)
{
    char act = g_ascii_tolower(**p);
    bool with_signal = act != **p;
    int64_t id = THREAD_ALL;
    uint64_t signal;

    if (act != 'c' && act != 's') {
        return -ENOTSUP;
    }
    (*p)++;
    if ((with_signal && !gdb_number(p, &signal)) ||
        (**p == ':' && ((*p)++, !parse_thread(p, &id))) || (**p != 0 && **p != ';')) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < g->vcpus; i++) {
        bool meant = id == THREAD_ALL || id == (int64_t)i + 1 ||
                     (id == THREAD_ANY && i == g->g_thread);

        if (meant && g->act[i] == 'h') {
            g->act[i] = act;
        }
    }
    return 0;
}

static void vcont(Gdb *g, const char *p)
{
    int ret = *p == ';' ? 0 : -EINVAL;

    prepare(g, 'h');
    while (ret == 0 && *p == ';') {
        p++;
        ret = add_action(g, &p);
    }
    if (ret == -ENOTSUP) {
        gdb_reply(g, "");
    } else if (ret < 0 || memchr(g->act, 'c', g->vcpus) == memchr(g->act, 's', g->vcpus)) {
        gdb_error(g, EINVAL);          /* nobody would run */
    } else {
        gdb_resume(g);
    }
}

static void vcont_actions(Gdb *g, const char *p)
{
    gdb_reply(g, "vCont;c;C;s;S");
}

static void kill_machine(Gdb *g, const char *p, size_t n)
{
    info_report("terminated by the debugger");
    g->host.quit();
}

static void vkill(Gdb *g, const char *p)
{
    reply_ok(g);
    kill_machine(g, p, 0);
}

static void vattach(Gdb *g, const char *p)
{
    uint64_t pid;

    if (gdb_number(&p, &pid) && pid == 1 && *p == 0) {
        gdb_reply_stop(g);
    } else {
        gdb_error(g, EINVAL);
    }
}

static void detach(Gdb *g, const char *p, size_t n)
{
    uint64_t pid;

    if (*p == ';' && (p++, !gdb_number(&p, &pid) || pid != 1 || *p != 0)) {
        gdb_error(g, EINVAL);
        return;
    }
    reply_ok(g);
    gdb_detach(g);
}

static void restart(Gdb *g, const char *p, size_t n)
{
    g->host.reset();                   /* which has no answer */
}

static void why_stopped(Gdb *g, const char *p, size_t n)
{
    g->signal = GDB_SIGTRAP;
    gdb_reply_stop(g);
}

static void extended(Gdb *g, const char *p, size_t n)
{
    reply_ok(g);
}

/* --- questions and settings --- */

static bool offers(const char *list, const char *feature)
{
    g_auto(GStrv) all = g_strsplit(list, ";", -1);

    return g_strv_contains((const char *const *)all, feature);
}

static void supported(Gdb *g, const char *p)
{
    g_autofree char *text = NULL;

    p += *p == ':';
    g->multiprocess = offers(p, "multiprocess+");
    g->swbreak = offers(p, "swbreak+");
    g->hwbreak = offers(p, "hwbreak+");
    text = g_strdup_printf("PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+%s%s%s",
                           GDB_PACKET_MAX, g->multiprocess ? ";multiprocess+" : "",
                           g->swbreak ? ";swbreak+" : "", g->hwbreak ? ";hwbreak+" : "");
    gdb_reply(g, text);
}

static void attached(Gdb *g, const char *p)
{
    gdb_reply(g, "1");
}

static void no_ack_mode(Gdb *g, const char *p)
{
    reply_ok(g);
    g->no_ack = true;
}

/* "target.xml:OFFSET,LENGTH" */
static void transfer(Gdb *g, const char *p)
{
    uint64_t at, len;
    X86Regs r;

    if (!g_str_has_prefix(p, "target.xml:")) {
        gdb_reply(g, "E00");
        return;
    }
    p += strlen("target.xml:");
    if (!parse_range(&p, &at, &len) || *p != 0) {
        gdb_error(g, EINVAL);
        return;
    }
    if (!g->xml) {
        if (!regs_read(g, &r)) {
            return;
        }
        g->xml = gdb_regs_xml(g->width);
    }
    size_t total = strlen(g->xml);
    if (at > total) {
        gdb_reply(g, "E00");
        return;
    }
    len = MIN(MIN(len, total - at), MEMORY_MAX);
    g_autoptr(GString) text = g_string_new(at + len < total ? "m" : "l");
    g_string_append_len(text, g->xml + at, len);
    gdb_reply_bytes(g, text->str, text->len);
}

static void monitor_command(Gdb *g, const char *p)
{
    size_t n = strlen(p) / 2;
    g_autofree char *line = g_malloc0(n + 1), *said = NULL;

    if (strlen(p) % 2 != 0 || !gdb_bytes_read(&p, (uint8_t *)line, n) || strlen(line) != n) {
        gdb_error(g, EINVAL);
        return;
    }
    said = g->host.monitor(line);
    if (!said) {
        gdb_reply(g, "");
        return;
    }
    for (size_t at = 0, total = strlen(said); at < total; at += MONITOR_CHUNK) {
        g_autoptr(GString) text = g_string_new("O");

        gdb_bytes_write(text, said + at, MIN(total - at, MONITOR_CHUNK));
        gdb_reply(g, text->str);
    }
    reply_ok(g);
}

static void own_supported(Gdb *g, const char *p)
{
    gdb_reply(g, "sstepbits;sstep;PhyMemMode");
}

static bool can_block_irq(void)
{
    return accel()->debug_features && accel()->debug_features() & CPU_DEBUG_BLOCK_IRQ;
}

static void step_bits(Gdb *g, const char *p)
{
    gdb_reply(g, can_block_irq() ? "ENABLE=1,NOIRQ=2" : "ENABLE=1");
}

static void step_get(Gdb *g, const char *p)
{
    char text[16];

    g_snprintf(text, sizeof(text), "0x%x", g->step_bits);
    gdb_reply(g, text);
}

static void step_set(Gdb *g, const char *p)
{
    uint64_t bits;

    if (!gdb_number(&p, &bits) || *p != 0 ||
        bits & ~(uint64_t)(GDB_STEP_ENABLE | (can_block_irq() ? GDB_STEP_NOIRQ : 0))) {
        gdb_error(g, EINVAL);
        return;
    }
    g->step_bits = bits;
    reply_ok(g);
}

static void physical_get(Gdb *g, const char *p)
{
    gdb_reply(g, g->physical ? "1" : "0");
}

static void physical_set(Gdb *g, const char *p)
{
    uint64_t on;

    if (!gdb_number(&p, &on) || *p != 0) {
        gdb_error(g, EINVAL);
        return;
    }
    g->physical = on != 0;
    reply_ok(g);
}

/* --- finding the one that is meant --- */

typedef struct Word {
    const char *name;          /* what the packet begins with */
    void (*act)(Gdb *g, const char *rest);
    bool whole;                /* nothing may follow */
} Word;

static const Word words[] = {
    { "qSupported", supported }, { "qAttached", attached }, { "QStartNoAckMode", no_ack_mode, true },
    { "qC", current_thread, true }, { "qfThreadInfo", first_threads, true },
    { "qsThreadInfo", more_threads, true }, { "qThreadExtraInfo,", thread_info },
    { "qXfer:features:read:", transfer }, { "qRcmd,", monitor_command },
    { "qqemu.sstepbits", step_bits, true }, { "qqemu.sstep", step_get, true },
    { "Qqemu.sstep=", step_set }, { "qqemu.PhyMemMode", physical_get, true },
    { "Qqemu.PhyMemMode:", physical_set }, { "qqemu.Supported", own_supported, true },
    { "vCont?", vcont_actions, true }, { "vCont", vcont }, { "vKill;", vkill }, { "vAttach;", vattach },
};

static void by_word(Gdb *g, const char *text)
{
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        const Word *w = &words[i];
        size_t len = strlen(w->name);

        if (strncmp(text, w->name, len) == 0 && (!w->whole || text[len] == 0)) {
            w->act(g, text + len);
            return;
        }
    }
    gdb_reply(g, "");
}

static void (*const letters[128])(Gdb *g, const char *rest, size_t n) = {
    ['g'] = get_all, ['G'] = set_all, ['p'] = get_one, ['P'] = set_one, ['m'] = read_memory,
    ['M'] = write_memory, ['X'] = write_binary, ['Z'] = insert, ['z'] = take_out, ['H'] = choose_thread,
    ['T'] = is_alive, ['c'] = cont, ['s'] = step, ['C'] = cont_signal, ['S'] = step_signal,
    ['k'] = kill_machine, ['D'] = detach, ['R'] = restart, ['?'] = why_stopped, ['!'] = extended,
};

void gdb_command(Gdb *g, const char *text, size_t n)
{
    unsigned char c = text[0];

    if (c == 'q' || c == 'Q' || c == 'v') {
        by_word(g, text);
    } else if (c < 128 && letters[c]) {
        letters[c](g, text + 1, n - 1);
    } else {
        gdb_reply(g, "");
    }
}
