/* uart16550.c: the 16550A serial port (National PC16550D data sheet), and "isa-serial" around one.
 *
 * 1. A byte leaves for the host when it is written to THR, without waiting for the line's bit rate; only
 *    when the host side has no room does it stay in the transmitter, and THRE tells so.
 * 2. Nothing is lost on the way in: the host sends no more than the receiver has room for.  Only
 *    loop-back can overrun.
 * 3. Everything is guarded by the owner's domain; the CharPort's callbacks take it. */
#include "hw/isa/uart16550.h"

#include "core/machine.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };
enum { IER_RDA = 1, IER_THRE = 2, IER_RLS = 4, IER_MSR = 8 };
enum { IIR_MSR = 0, IIR_NONE = 1, IIR_THRE = 2, IIR_RDA = 4, IIR_RLS = 6, IIR_TIMEOUT = 12 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_DMA = 8, FCR_TRIGGER = 0xc0 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 16, LSR_THRE = 32, LSR_TEMT = 64,
       LSR_FIFO_ERR = 128 };
enum { MSR_DELTA = 0x0f, MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8, MSR_CTS = 16,
       MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };

static bool fifo_on(const Uart *u)
{
    return u->fcr & FCR_ENABLE;
}

static unsigned depth(const Uart *u)
{
    return fifo_on(u) ? UART_FIFO : 1;
}

static unsigned trigger(const Uart *u)
{
    static const uint8_t level[4] = { 1, 4, 8, 14 };

    return fifo_on(u) ? level[u->fcr >> 6] : 1;
}

static uint8_t line_status(const Uart *u)
{
    uint8_t lsr = u->tx_count ? 0 : LSR_THRE | LSR_TEMT;

    if (u->rx_count) {
        lsr |= LSR_DR | u->rx_err[u->rx_head];
        /* Errors are rare: any in the FIFO, not only at its head. */
        for (unsigned i = 0; i < u->rx_count && fifo_on(u); i++) {
            if (u->rx_err[(u->rx_head + i) % UART_FIFO]) {
                lsr |= LSR_FIFO_ERR;
            }
        }
    }
    return lsr | (u->overrun ? LSR_OE : 0);
}

/* The interrupt identification without the FIFO bits: the source of highest priority. */
static uint8_t irq_source(const Uart *u)
{
    if (u->ier & IER_RLS && (u->overrun || (u->rx_count && u->rx_err[u->rx_head]))) {
        return IIR_RLS;
    }
    if (u->ier & IER_RDA && u->rx_count) {
        if (u->rx_count >= trigger(u)) {
            return IIR_RDA;
        }
        if (u->timeout_pending) {
            return IIR_TIMEOUT;
        }
    }
    if (u->ier & IER_THRE && u->thre_pending) {
        return IIR_THRE;
    }
    if (u->ier & IER_MSR && u->msr & MSR_DELTA) {
        return IIR_MSR;
    }
    return IIR_NONE;
}

static void update_irq(Uart *u)
{
    irq_set(u->irq, irq_source(u) != IIR_NONE);
}

/* Four characters of the frame that LCR describes. */
static int64_t timeout_ns(const Uart *u)
{
    unsigned bits = 1 + 5 + (u->lcr & 3) + (u->lcr & 8 ? 1 : 0) + (u->lcr & 4 ? 2 : 1);
    uint64_t divisor = u->divisor ? u->divisor : 1;

    return (int64_t)(4 * bits * divisor * (uint64_t)NS_PER_SEC / u->baudbase);
}

/* The receiver's contents or the guest's interest in them changed. */
static void update_timeout(Uart *u)
{
    if (fifo_on(u) && u->rx_count && u->rx_count < trigger(u) && u->ier & IER_RDA) {
        if (!u->timeout_pending) {
            dev_timer_set(&u->timeout, clock_now(CLOCK_VM) + timeout_ns(u));
        }
    } else {
        u->timeout_pending = false;
        dev_timer_stop(&u->timeout);
    }
}

static void timeout_fire(Device *d, DevTimer *t)
{
    Uart *u = container_of(t, Uart, timeout);

    if (u->rx_count) {
        u->timeout_pending = true;
        update_irq(u);
    }
}

/* --- receiver --- */
static void receive(Uart *u, uint8_t byte, uint8_t err)
{
    if (u->rx_count >= depth(u)) {
        u->overrun = true;
        if (fifo_on(u)) {
            return;            /* the FIFO keeps what it has; a lone RBR is overwritten */
        }
        u->rx_count = 0;
    }
    unsigned at = (u->rx_head + u->rx_count++) % UART_FIFO;
    u->rx[at] = byte;
    u->rx_err[at] = err;
}

static void clear_rx(Uart *u)
{
    u->rx_head = u->rx_count = 0;
    u->timeout_pending = false;
    dev_timer_stop(&u->timeout);
}

static uint8_t read_rbr(Uart *u)
{
    uint8_t val = u->rx[u->rx_head];

    if (!u->rx_count) {
        return val;            /* RBR keeps the last character */
    }
    u->timeout_pending = false;
    if (--u->rx_count) {
        u->rx_head = (u->rx_head + 1) % UART_FIFO;
    }
    if (fifo_on(u)) {
        update_timeout(u);
    }
    update_irq(u);
    if (!u->rx_count) {
        char_room(&u->port);
    }
    return val;
}

static size_t port_space(CharPort *p)
{
    Uart *u = container_of(p, Uart, port);
    size_t n;

    domain_enter(u->owner->domain);
    n = u->mcr & MCR_LOOP || u->rx_count >= depth(u) ? 0 : depth(u) - u->rx_count;
    domain_leave(u->owner->domain);
    return n;
}

static void port_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    Uart *u = container_of(p, Uart, port);

    domain_enter(u->owner->domain);
    for (size_t i = 0; i < n && u->rx_count < depth(u); i++) {
        receive(u, buf[i], 0);
    }
    TRACE(uart16550_receive, "%s n=%zu held=%u", u->owner->id, n, u->rx_count);
    u->timeout_pending = false;
    update_timeout(u);
    update_irq(u);
    domain_leave(u->owner->domain);
    if (u->wakeup) {
        machine_request(REQUEST_WAKE, 0, "serial");
    }
}

/* --- transmitter --- */
/* Hands what waits to the host side. */
static void flush(Uart *u)
{
    size_t n = char_send(&u->port, u->tx, u->tx_count);

    memmove(u->tx, u->tx + n, u->tx_count - n);
    u->tx_count -= n;
    if (!u->tx_count) {
        u->thre_pending = true;
    }
}

static void port_event(CharPort *p, CharEvent what)
{
    Uart *u = container_of(p, Uart, port);

    domain_enter(u->owner->domain);
    if (what == CHAR_BREAK && !(u->mcr & MCR_LOOP)) {
        receive(u, 0, LSR_BI);
        update_timeout(u);
    } else if (u->tx_count && what != CHAR_FOCUS_IN && what != CHAR_FOCUS_OUT) {
        flush(u);
    }
    update_irq(u);
    domain_leave(u->owner->domain);
}

static const CharPortOps port_ops = {
    .space = port_space, .bytes = port_bytes, .event = port_event, .may_change = true,
};

static void write_thr(Uart *u, uint8_t val)
{
    u->thre_pending = false;
    if (u->mcr & MCR_LOOP) {
        receive(u, val, 0);
        u->thre_pending = true;
        update_timeout(u);
    } else if (!u->tx_count && char_send(&u->port, &val, 1)) {
        u->thre_pending = true;
    } else if (u->tx_count < depth(u)) {
        u->tx[u->tx_count++] = val;
    }
    if (u->ier) {
        update_irq(u);
    }
}

/* --- modem lines --- */
static void update_msr(Uart *u)
{
    uint8_t lines = MSR_DCD | MSR_DSR | MSR_CTS;       /* a cable with a ready peer */
    uint8_t changed;

    if (u->mcr & MCR_LOOP) {
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0)
            | (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    }
    changed = (u->msr ^ lines) & 0xf0;
    if (lines & MSR_RI) {
        changed &= ~MSR_RI;    /* TERI is the trailing edge */
    }
    u->msr = lines | (u->msr & MSR_DELTA) | changed >> 4;
}

/* --- registers --- */
static void write_fcr(Uart *u, uint8_t val)
{
    if ((val ^ u->fcr) & FCR_ENABLE) {
        val |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    }
    if (val & FCR_CLEAR_RX) {
        clear_rx(u);
    }
    if (val & FCR_CLEAR_TX && u->tx_count) {
        u->tx_count = 0;
        u->thre_pending = true;
    }
    u->fcr = val & FCR_ENABLE ? val & (FCR_ENABLE | FCR_DMA | FCR_TRIGGER) : 0;
    update_timeout(u);
    update_irq(u);
    char_room(&u->port);
}

static void uart_write(void *arg, uint64_t off, uint64_t val64, unsigned size)
{
    Uart *u = arg;
    uint8_t val = (uint8_t)val64, old;

    TRACE(uart16550_write, "%s reg=%u val=0x%02x", u->owner->id, (unsigned)off, val);
    switch (off) {
    case REG_DATA:
        if (u->lcr & LCR_DLAB) {
            u->divisor = (u->divisor & 0xff00) | val;
        } else {
            write_thr(u, val);
        }
        break;
    case REG_IER:
        if (u->lcr & LCR_DLAB) {
            u->divisor = (uint16_t)((u->divisor & 0xff) | val << 8);
            break;
        }
        old = u->ier;
        u->ier = val & 0x0f;
        if (u->ier & ~old & IER_THRE && !u->tx_count) {
            u->thre_pending = true;    /* enabling it while THR is empty asks at once */
        }
        if ((u->ier ^ old) & IER_RDA) {
            update_timeout(u);
        }
        update_irq(u);
        break;
    case REG_IIR:
        write_fcr(u, val);
        break;
    case REG_LCR:
        if (val & ~u->lcr & LCR_BREAK && !(u->mcr & MCR_LOOP)) {
            char_event(&u->port, CHAR_BREAK);
        }
        u->lcr = val;
        break;
    case REG_MCR:
        old = u->mcr;
        u->mcr = val & 0x1f;
        if ((old | u->mcr) & MCR_LOOP) {
            update_msr(u);
            update_irq(u);
        }
        if (old & ~u->mcr & MCR_LOOP) {
            char_room(&u->port);
        }
        break;
    case REG_SCR:
        u->scr = val;
        break;
    default:
        break;                 /* LSR and MSR are read-only */
    }
}

static uint64_t uart_read(void *arg, uint64_t off, unsigned size)
{
    Uart *u = arg;
    uint8_t val = 0;

    switch (off) {
    case REG_DATA:
        val = u->lcr & LCR_DLAB ? (uint8_t)u->divisor : read_rbr(u);
        break;
    case REG_IER:
        val = u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
        break;
    case REG_IIR:
        val = irq_source(u);
        if (val == IIR_THRE) {
            u->thre_pending = false;
            update_irq(u);
        }
        val |= fifo_on(u) ? 0xc0 : 0;
        break;
    case REG_LCR:
        val = u->lcr;
        break;
    case REG_MCR:
        val = u->mcr;
        break;
    case REG_LSR:
        val = line_status(u);
        if (val & (LSR_OE | LSR_PE | LSR_FE | LSR_BI)) {
            u->overrun = false;
            u->rx_err[u->rx_head] = 0;
            update_irq(u);
        }
        break;
    case REG_MSR:
        val = u->msr;
        if (val & MSR_DELTA) {
            u->msr &= ~MSR_DELTA;
            update_irq(u);
        }
        break;
    case REG_SCR:
        val = u->scr;
        break;
    }
    TRACE(uart16550_read, "%s reg=%u val=0x%02x", u->owner->id, (unsigned)off, val);
    return val;
}

const RegionOps uart_ops = { uart_read, uart_write, 1, 1, 0 };

/* --- the part --- */
bool uart_init(Uart *u, Device *owner, IrqLine *irq, Chardev *chr, Error **errp)
{
    u->owner = owner;
    u->irq = irq;
    char_port_init(&u->port, &port_ops);
    if (chr && !chardev_claim(chr, &u->port, owner->loop, errp)) {
        return false;
    }
    dev_timer_init(&u->timeout, owner, CLOCK_VM, timeout_fire);
    return true;
}

void uart_free(Uart *u)
{
    chardev_release(&u->port);
    dev_timer_free(&u->timeout);
}

void uart_reset(Uart *u)
{
    u->ier = u->fcr = u->lcr = u->scr = 0;
    u->mcr = MCR_OUT2;
    u->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    u->divisor = 12;
    u->overrun = u->thre_pending = u->timeout_pending = false;
    u->rx_head = u->rx_count = u->tx_count = 0;
    memset(u->rx, 0, sizeof(u->rx));
    memset(u->rx_err, 0, sizeof(u->rx_err));
    memset(u->tx, 0, sizeof(u->tx));
    dev_timer_stop(&u->timeout);
}

void uart_settle(Uart *u)
{
    if (u->tx_count) {
        epoch_enter();
        flush(u);
        epoch_leave();
    }
    update_timeout(u);
    update_irq(u);
    irq_refresh(u->irq);
    char_room(&u->port);
}

static bool uart_check(void *obj, Error **errp)
{
    const Uart *u = obj;

    if (u->rx_head >= UART_FIFO || u->rx_count > depth(u) || u->tx_count > depth(u)) {
        return error_set(errp, "FIFO out of range");
    }
    return true;
}

static const StateField uart_fields[] = {
    STATE_U8(Uart, ier), STATE_U8(Uart, fcr), STATE_U8(Uart, lcr), STATE_U8(Uart, mcr),
    STATE_U8(Uart, msr), STATE_U8(Uart, scr), STATE_U16(Uart, divisor),
    STATE_BOOL(Uart, overrun), STATE_BOOL(Uart, thre_pending), STATE_BOOL(Uart, timeout_pending),
    STATE_BYTES(Uart, rx), STATE_BYTES(Uart, rx_err), STATE_BYTES(Uart, tx),
    STATE_U8(Uart, rx_head), STATE_U8(Uart, rx_count), STATE_U8(Uart, tx_count),
    { 0 },
};
const StateDesc uart_state = {
    .name = "uart16550", .version = 1, .fields = uart_fields, .check = uart_check,
};

/* --- isa-serial --- */
#define PORTS 4

typedef struct IsaSerial {
    IsaDevice isa;
    Uart uart;
    Region io;
    IrqLine irq;
    void *chardev;
    uint32_t iobase, irq_no, index, baudbase;
    bool wakeup;
} IsaSerial;

Uart *isa_serial_uart(Device *d)
{
    IsaSerial *s = device_as(d, &isa_serial_type);

    return &s->uart;
}

static bool pick_index(IsaSerial *s, Error **errp)
{
    bool taken[PORTS] = { false };

    if (s->index != UINT32_MAX) {
        return true;           /* the range is the property's */
    }
    for (Device *d = s->isa.dev.bus->first; d; d = d->bus_next) {
        const IsaSerial *o = (const IsaSerial *)d;

        if (d->type == &isa_serial_type && o != s && o->index < PORTS) {
            taken[o->index] = true;
        }
    }
    for (unsigned i = 0; i < PORTS; i++) {
        if (!taken[i]) {
            s->index = i;
            return true;
        }
    }
    return error_set(errp, "a machine has at most %u ISA serial ports", PORTS);
}

static bool serial_realize(Device *d, Error **errp)
{
    static const uint16_t base[PORTS] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const uint8_t irq[PORTS] = { 4, 3, 4, 3 };
    IsaSerial *s = device_as(d, &isa_serial_type);

    if (!pick_index(s, errp)) {
        return false;
    }
    if (s->index >= PORTS) {
        return error_set(errp, "index %u is out of range 0..%u", s->index, PORTS - 1);
    }
    s->iobase = s->iobase == UINT32_MAX ? base[s->index] : s->iobase;
    s->irq_no = s->irq_no == UINT32_MAX ? irq[s->index] : s->irq_no;
    if (s->iobase > 0xfff8 || s->irq_no > 15) {
        return error_set(errp, "iobase 0x%x or irq %u is out of range", s->iobase, s->irq_no);
    }
    irq_line_init(&s->irq, d, "irq");
    s->uart.baudbase = s->baudbase;
    s->uart.wakeup = s->wakeup;
    if (!uart_init(&s->uart, d, &s->irq, s->chardev, errp)) {
        return false;
    }
    isa_irq(d, &s->irq, s->irq_no);
    region_io_arg(&s->io, d, "serial", &uart_ops, &s->uart, 8);
    isa_io(d, &s->io, (uint16_t)s->iobase);
    return true;
}

static void serial_unrealize(Device *d)
{
    IsaSerial *s = device_as(d, &isa_serial_type);

    uart_free(&s->uart);
}

static void serial_reset(Device *d, ResetKind kind)
{
    IsaSerial *s = device_as(d, &isa_serial_type);

    uart_reset(&s->uart);
}

static void serial_settle(Device *d)
{
    IsaSerial *s = device_as(d, &isa_serial_type);

    uart_settle(&s->uart);
}

static const PropDesc serial_props[] = {
    PROP_U32(IsaSerial, iobase, "iobase", UINT32_MAX, 0, UINT32_MAX, "first port (default: by index)"),
    PROP_U32(IsaSerial, irq_no, "irq", UINT32_MAX, 0, UINT32_MAX, "ISA interrupt (default: by index)"),
    PROP_U32(IsaSerial, index, "index", UINT32_MAX, 0, UINT32_MAX,
             "which of COM1 to COM4, from 0 (default: the first free)"),
    PROP_LINK(IsaSerial, chardev, "chardev", "chardev", "the other end of the line"),
    PROP_BOOL(IsaSerial, wakeup, "wakeup", false, "a received byte wakes the machine"),
    PROP_U32(IsaSerial, baudbase, "baudbase", 115200, 1, UINT32_MAX, "bit rate at divisor 1"),
    { 0 },
};

static const StateField serial_fields[] = {
    STATE_STRUCT(IsaSerial, uart, &uart_state),
    { 0 },
};
static const StateDesc serial_state = {
    .name = "isa-serial", .version = 1, .fields = serial_fields,
};

const DeviceType isa_serial_type = {
    .name = "isa-serial", .summary = "16550A serial port", .slot = &isa_slot,
    .size = sizeof(IsaSerial), .props = serial_props, .state = &serial_state, .category = "Input",
    .realize = serial_realize, .unrealize = serial_unrealize, .reset = serial_reset,
    .settle = serial_settle,
};
