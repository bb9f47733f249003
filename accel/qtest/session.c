/* session.c: the qtest wire protocol, a line a command and a line an answer.
 *
 * 1. Commands are carried out on control, one after the other; the answer to one has been sent
 *    before the next is looked at.
 * 2. Interrupt changes are sent unasked, and those that a command caused before its answer.  A tap
 *    runs on any thread: it only appends to @irqs and lets control send.
 * 3. The client is not trusted: lines, sizes and counts have limits, and a malformed command is
 *    answered with FAIL.
 * Protocol: https://www.qemu.org/docs/master/devel/testing/qtest.html */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "accel/qtest/qtest.h"
#include "util/bytes.h"
#include "util/thread.h"

#define LINE_MAX_BYTES (16 * MiB)
#define DATA_MAX_BYTES (64 * MiB)
#define IRQ_TEXT_MAX (64 * KiB)
#define WORDS_MAX 5
#define PINS_MAX 256

typedef struct OutTap {
    IrqSink sink;              /* stands in for the line's own */
    IrqLine *line;
    IrqSink *real;
    unsigned real_pin, number;
} OutTap;

struct QtestSession {
    Machine *machine;
    void (*send)(void *arg, const char *text, size_t n);
    void *arg;
    GString *line;             /* what came of the next command so far */
    bool too_long;             /* the rest of this line is dropped */
    bool open;
    FILE *log;
    int64_t log_start;
    Device *tapped;            /* whose interrupts are reported, and which ones */
    bool tapped_in;
    OutTap *taps;
    unsigned tap_count;
    Lock lock;                 /* rank LEAF: guards the next three */
    GString *irqs;
    bool flush_posted;
    uint64_t levels[PINS_MAX / 64];
};

/* Taps get no argument of their own; there is one session a process. */
static QtestSession *the_session;

/* --- sending --- */

static void log_line(QtestSession *s, char what, const char *text, size_t n)
{
    if (s->log) {
        int64_t us = s->log_start ? (clock_now(CLOCK_HOST) - s->log_start) / NS_PER_US : 0;

        fprintf(s->log, "[%c %s%" PRId64 ".%06d] %.*s\n", what, s->log_start ? "+" : "",
                us / 1000000, (int)(us % 1000000), (int)n, text);
        fflush(s->log);
    }
}

static void send_text(QtestSession *s, const char *text, size_t n)
{
    if (!s->open) {
        return;
    }
    for (const char *at = text; s->log && at < text + n;) {
        const char *end = memchr(at, '\n', text + n - at);

        log_line(s, 'S', at, end - at);
        at = end + 1;
    }
    s->send(s->arg, text, n);
}

static void flush_irqs(QtestSession *s)
{
    lock_take(&s->lock);
    g_autoptr(GString) out = s->irqs->len ? s->irqs : NULL;
    if (out) {
        s->irqs = g_string_new(NULL);
    }
    lock_drop(&s->lock);
    if (out) {
        send_text(s, out->str, out->len);
    }
}

static void G_GNUC_PRINTF(2, 3) answer(QtestSession *s, const char *fmt, ...)
{
    g_autoptr(GString) out = g_string_new(NULL);
    va_list ap;

    va_start(ap, fmt);
    g_string_vprintf(out, fmt, ap);
    va_end(ap);
    g_string_append_c(out, '\n');
    flush_irqs(s);
    send_text(s, out->str, out->len);
}

/* --- interrupts --- */

static void flush_later(void *arg)
{
    QtestSession *s = the_session;

    if (s) {
        lock_take(&s->lock);
        s->flush_posted = false;
        lock_drop(&s->lock);
        flush_irqs(s);
    }
}

static void report(QtestSession *s, unsigned n, bool level)
{
    bool post = false;

    if (n >= PINS_MAX) {
        return;
    }
    lock_take(&s->lock);
    uint64_t bit = UINT64_C(1) << n % 64, *word = &s->levels[n / 64];
    if (!!(*word & bit) != level) {
        *word ^= bit;
        if (s->irqs->len < IRQ_TEXT_MAX) {
            g_string_append_printf(s->irqs, "IRQ %s %u\n", level ? "raise" : "lower", n);
        }
        post = !s->flush_posted;
        s->flush_posted = true;
    }
    lock_drop(&s->lock);
    if (post) {
        loop_call(loop_control(), flush_later, NULL);
    }
}

static void tap_in(IrqSink *sink, unsigned pin, bool level)
{
    report(the_session, pin, level);
    sink->set(sink, pin, level);
}

static void tap_out(IrqSink *sink, unsigned pin, bool level)
{
    OutTap *t = container_of(sink, OutTap, sink);

    report(the_session, t->number, level);
    if (t->real) {
        (t->real->tap ? t->real->tap : t->real->set)(t->real, t->real_pin, level);
    }
}

static void tap_lines(QtestSession *s, Device *d)
{
    for (IrqLine *l = d->line_first; l; l = l->next) {
        s->tap_count++;
    }
    s->taps = g_new0(OutTap, MAX(s->tap_count, 1));
    unsigned n = s->tap_count;
    for (IrqLine *l = d->line_first; l; l = l->next) {
        OutTap *t = &s->taps[--n];          /* the list has the newest line first */

        *t = (OutTap){ .sink = { .set = tap_out, .pins = 1 }, .line = l, .real = l->sink,
                       .real_pin = l->pin, .number = n };
        irq_connect(l, &t->sink, 0);
    }
}

static void match_device(Device *d, void *arg)
{
    Device **looked_for = arg;

    *looked_for = *looked_for == d ? NULL : *looked_for;
}

static void untap(QtestSession *s)
{
    Device *gone = s->tapped;

    device_walk(s->machine->root, false, match_device, &gone);
    if (s->tapped && !gone) {
        if (s->tapped_in && s->tapped->inputs) {
            __atomic_store_n(&s->tapped->inputs->tap, NULL, __ATOMIC_RELEASE);
        }
        for (unsigned i = 0; i < s->tap_count; i++) {
            irq_connect(s->taps[i].line, s->taps[i].real, s->taps[i].real_pin);
        }
    }
    g_clear_pointer(&s->taps, g_free);
    s->tap_count = 0;
    s->tapped = NULL;
}

typedef struct Search {
    const char *name;
    Device *found;
} Search;

static void match_name(Device *d, void *arg)
{
    Search *f = arg;

    if (!f->found && (g_strcmp0(d->id, f->name) == 0 || strcmp(d->type->name, f->name) == 0)) {
        f->found = d;
    }
}

/* By path, by id, or by the name of a device's type: "ioapic" is enough. */
static Device *find_device(QtestSession *s, const char *name)
{
    Search f = { .name = name, .found = device_find(s->machine->root, name) };

    if (!f.found && name[0] != '/') {
        device_walk(s->machine->root, false, match_name, &f);
    }
    return f.found;
}

static void do_intercept(QtestSession *s, char **w)
{
    Device *d = find_device(s, w[1]);
    bool in = strcmp(w[0], "irq_intercept_in") == 0;

    if (!d) {
        answer(s, "FAIL Unknown device");
    } else if (s->tapped) {
        answer(s, s->tapped == d ? "OK" : "FAIL IRQ intercept already enabled");
    } else {
        s->tapped = d;
        s->tapped_in = in;
        if (!in) {
            tap_lines(s, d);
        } else if (d->inputs) {
            __atomic_store_n(&d->inputs->tap, tap_in, __ATOMIC_RELEASE);
        }
        answer(s, "OK");
    }
}

static bool number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = g_ascii_strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

static void do_set_irq_in(QtestSession *s, char **w)
{
    Device *d = find_device(s, w[1]);
    uint64_t pin, level;

    if (!d) {
        answer(s, "FAIL Unknown device");
        return;
    }
    if (!number(w[3], &pin) || !number(w[4], &level)) {
        answer(s, "FAIL Invalid number");
        return;
    }
    IrqSink *sink = d->inputs;
    if (!sink || pin >= sink->pins) {
        answer(s, "FAIL Unknown interrupt input");
        return;
    }
    (sink->tap ? sink->tap : sink->set)(sink, pin, level != 0);
    answer(s, "OK");
}

/* --- registers and memory --- */

static unsigned size_of(char letter)
{
    return letter == 'b' ? 1 : letter == 'w' ? 2 : letter == 'l' ? 4 : 8;
}

static void do_port(QtestSession *s, char **w)
{
    bool out = w[0][0] == 'o';
    unsigned size = size_of(w[0][out ? 3 : 2]);
    uint64_t at, val = 0;
    uint8_t buf[8];

    if (!number(w[1], &at) || at > 0xffff || (out && !number(w[2], &val))) {
        answer(s, "FAIL Invalid number");
    } else if (out) {
        st_n(buf, size, val);
        space_write(s->machine->io, at, buf, size);
        answer(s, "OK");
    } else {
        space_read(s->machine->io, at, buf, size);
        answer(s, "OK 0x%04" PRIx64, ld_n(buf, size));
    }
}

static void do_mem(QtestSession *s, char **w)
{
    bool write = w[0][0] == 'w';
    unsigned size = size_of(w[0][strlen(w[0]) - 1]);
    uint64_t at, val = 0;
    uint8_t buf[8];

    if (!number(w[1], &at) || (write && !number(w[2], &val))) {
        answer(s, "FAIL Invalid number");
    } else if (write) {
        st_n(buf, size, val);
        space_write(s->machine->mem, at, buf, size);
        answer(s, "OK");
    } else {
        space_read(s->machine->mem, at, buf, size);
        answer(s, "OK 0x%016" PRIx64, ld_n(buf, size));
    }
}

/* The address and length of a block command; false: answered already. */
static bool block_args(QtestSession *s, char **w, uint64_t *at, uint64_t *len)
{
    if (!number(w[1], at) || !number(w[2], len)) {
        answer(s, "FAIL Invalid number");
        return false;
    }
    if (*len > DATA_MAX_BYTES) {
        answer(s, "FAIL More than %u MiB", (unsigned)(DATA_MAX_BYTES / MiB));
        return false;
    }
    return true;
}

static void send_hex(QtestSession *s, const uint8_t *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    GString *out = g_string_sized_new(2 * n + 8);

    g_string_append(out, "OK 0x");
    for (size_t i = 0; i < n; i++) {
        g_string_append_c(out, digits[data[i] >> 4]);
        g_string_append_c(out, digits[data[i] & 15]);
    }
    g_string_append_c(out, '\n');
    flush_irqs(s);
    send_text(s, out->str, out->len);
    g_string_free(out, TRUE);
}

static void do_read(QtestSession *s, char **w)
{
    uint64_t at, len;

    if (!block_args(s, w, &at, &len)) {
        return;
    }
    g_autofree uint8_t *data = g_malloc0(MAX(len, 1));
    space_read_bytes(s->machine->mem, at, data, len);
    if (w[0][0] == 'b') {
        g_autofree char *text = g_base64_encode(data, len);

        answer(s, "OK %s", text);
    } else {
        send_hex(s, data, len);
    }
}

static unsigned nibble(char c)
{
    int v = g_ascii_xdigit_value(c);

    return v < 0 ? 15 : v;
}

/* Too little data is filled up with zeros, too much is cut. */
static void do_write(QtestSession *s, char **w)
{
    uint64_t at, len;

    if (!block_args(s, w, &at, &len)) {
        return;
    }
    size_t digits = strlen(w[3]);
    if (digits < 3) {
        answer(s, "ERR invalid argument size");
        return;
    }
    g_autofree uint8_t *data = g_malloc0(MAX(len, 1));
    for (size_t i = 0; i < len && 2 * i + 3 < digits; i++) {
        data[i] = nibble(w[3][2 * i + 2]) << 4 | nibble(w[3][2 * i + 3]);
    }
    space_write_bytes(s->machine->mem, at, data, len);
    answer(s, "OK");
}

static void do_b64write(QtestSession *s, char **w)
{
    uint64_t at, len;
    gsize got;

    if (!block_args(s, w, &at, &len)) {
        return;
    }
    g_autofree guchar *data = g_base64_decode(w[3], &got);
    space_write_bytes(s->machine->mem, at, data, MIN(len, got));
    answer(s, "OK");
}

static void do_memset(QtestSession *s, char **w)
{
    uint64_t at, len, byte;

    if (!block_args(s, w, &at, &len)) {
        return;
    }
    if (!number(w[3], &byte)) {
        answer(s, "FAIL Invalid number");
        return;
    }
    g_autofree uint8_t *data = g_malloc(MAX(len, 1));
    memset(data, (int)byte, len);
    space_write_bytes(s->machine->mem, at, data, len);
    answer(s, "OK");
}

/* --- time and the rest --- */

static void step_clock(QtestSession *s, int64_t to)
{
    if (clock_vm_is_manual() && to > clock_now(CLOCK_VM)) {
        clock_vm_step_to(to);
    }
    answer(s, "OK %" PRId64, clock_now(CLOCK_VM));
}

static void do_clock_step(QtestSession *s, char **w)
{
    uint64_t ns;

    if (!w[1]) {
        step_clock(s, clock_vm_next_deadline());
    } else if (!number(w[1], &ns) || ns > (uint64_t)(INT64_MAX - clock_now(CLOCK_VM))) {
        answer(s, "FAIL Invalid number");
    } else {
        step_clock(s, clock_now(CLOCK_VM) + (int64_t)ns);
    }
}

static void do_clock_set(QtestSession *s, char **w)
{
    uint64_t ns;

    if (!number(w[1], &ns) || ns > INT64_MAX) {
        answer(s, "FAIL Invalid number");
    } else {
        step_clock(s, ns);
    }
}

static void do_endianness(QtestSession *s, char **w)
{
    answer(s, "OK little");
}

static void do_module_load(QtestSession *s, char **w)
{
    answer(s, "FAIL");
}

static const struct {
    const char *name;
    unsigned words;            /* it needs, with the command */
    void (*act)(QtestSession *s, char **w);
} commands[] = {
    { "irq_intercept_in", 2, do_intercept }, { "irq_intercept_out", 2, do_intercept },
    { "set_irq_in", 5, do_set_irq_in },
    { "outb", 3, do_port }, { "outw", 3, do_port }, { "outl", 3, do_port },
    { "inb", 2, do_port }, { "inw", 2, do_port }, { "inl", 2, do_port },
    { "writeb", 3, do_mem }, { "writew", 3, do_mem }, { "writel", 3, do_mem },
    { "writeq", 3, do_mem },
    { "readb", 2, do_mem }, { "readw", 2, do_mem }, { "readl", 2, do_mem }, { "readq", 2, do_mem },
    { "read", 3, do_read }, { "b64read", 3, do_read }, { "write", 4, do_write },
    { "b64write", 4, do_b64write }, { "memset", 4, do_memset },
    { "clock_step", 1, do_clock_step }, { "clock_set", 2, do_clock_set },
    { "endianness", 1, do_endianness }, { "module_load", 3, do_module_load },
};

/* Cuts @line at its blanks in place; what is beyond WORDS_MAX is dropped. */
static unsigned split(char *line, char *w[WORDS_MAX + 1])
{
    unsigned n = 0;

    for (char *at = line; at && n < WORDS_MAX; n++) {
        w[n] = at;
        at = strchr(at, ' ');
        if (at) {
            *at++ = '\0';
        }
    }
    w[n] = NULL;
    return n;
}

static void run_line(QtestSession *s, char *line)
{
    char *w[WORDS_MAX + 1];

    g_strchomp(line);
    log_line(s, 'R', line, strlen(line));
    if (!*line) {
        return;
    }
    unsigned n = split(line, w);
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, w[0]) == 0) {
            if (n < commands[i].words) {
                answer(s, "FAIL Too few arguments to '%s'", w[0]);
            } else {
                commands[i].act(s, w);
            }
            return;
        }
    }
    answer(s, "FAIL Unknown command '%.64s'", w[0]);
}

/* --- the stream --- */

void qtest_bytes(QtestSession *s, const void *buf, size_t n)
{
    const char *at = buf, *end = at + n;

    assert_control();
    while (at < end) {
        const char *nl = memchr(at, '\n', end - at);
        size_t part = (nl ? nl : end) - at;

        if (s->line->len + part > LINE_MAX_BYTES) {
            s->too_long = true;
        }
        if (!s->too_long) {
            g_string_append_len(s->line, at, part);
        }
        at += part + (nl != NULL);
        if (!nl) {
            return;
        }
        if (s->too_long) {
            answer(s, "FAIL Line too long");
        } else {
            run_line(s, s->line->str);
        }
        s->too_long = false;
        if (s->line->allocated_len > MiB) {
            g_string_free(s->line, TRUE);
            s->line = g_string_new(NULL);
        }
        g_string_truncate(s->line, 0);
    }
}

void qtest_opened(QtestSession *s)
{
    assert_control();
    s->open = true;
    s->too_long = false;
    s->log_start = 0;
    g_string_truncate(s->line, 0);
    lock_take(&s->lock);
    memset(s->levels, 0, sizeof(s->levels));
    g_string_truncate(s->irqs, 0);
    lock_drop(&s->lock);
    log_line(s, 'I', "OPENED", 6);
    s->log_start = clock_now(CLOCK_HOST);
}

void qtest_closed(QtestSession *s)
{
    assert_control();
    if (s->open) {
        log_line(s, 'I', "CLOSED", 6);
    }
    s->open = false;
}

bool qtest_log(QtestSession *s, const char *path, Error **errp)
{
    assert_control();
    if (s->log) {
        fclose(s->log);
        s->log = NULL;
    }
    if (strcmp(path, "none") == 0) {
        return true;
    }
    s->log = fopen(path, "we");
    return s->log || error_set_errno(errp, errno, "-qtest-log: cannot open '%s'", path);
}

QtestSession *qtest_session_new(Machine *m, void (*send)(void *arg, const char *text, size_t n),
                                void *arg)
{
    QtestSession *s = g_new0(QtestSession, 1);

    assert_control();
    s->machine = m;
    s->send = send;
    s->arg = arg;
    s->line = g_string_new(NULL);
    s->irqs = g_string_new(NULL);
    lock_init(&s->lock, RANK_LEAF, "qtest");
    the_session = s;
    return s;
}

void qtest_session_free(QtestSession *s)
{
    assert_control();
    if (!s) {
        return;
    }
    untap(s);
    the_session = NULL;
    if (s->log) {
        fclose(s->log);
    }
    g_string_free(s->line, TRUE);
    g_string_free(s->irqs, TRUE);
    lock_destroy(&s->lock);
    g_free(s);
}
