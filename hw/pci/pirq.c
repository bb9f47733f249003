/* pirq.c: PIRQ routing (PIIX3 2.2.11, ICH9 13.1.13 and 13.1.16).
 *
 * 1. What the sinks were told is computed from the newest inputs: see merge.h. */
#include "hw/pci/pirq.h"

#include "util/bytes.h"

/* Interrupts that a PIRQ may be steered to: 3-7, 9-12, 14, 15. */
#define STEERABLE 0xdef8u

static void tell(IrqSink *s, unsigned first, uint32_t want, uint32_t *told, uint32_t again)
{
    uint32_t diff = (want ^ *told) | again;

    for (unsigned i = 0; diff; i++, diff >>= 1) {
        if (diff & 1) {
            merge_tell(s, first + i, want >> i & 1);
        }
    }
    *told = want;
}

static void update(PirqRouter *r)
{
    if (!merge_begin(&r->busy)) {
        return;
    }
    unsigned seen;
    do {
        seen = merge_seen(&r->busy);
        bool again = __atomic_exchange_n(&r->retell, 0, __ATOMIC_SEQ_CST);
        uint32_t level = merge_load(&r->level), sci = merge_load(&r->sci_to);
        uint64_t routes = merge_load(&r->routes);
        uint32_t isa = 0, gsi = level & 0xff;

        for (unsigned i = 0; i < 8; i++, routes >>= 8) {
            if ((level >> i & 1) && !(routes & PIRQ_OFF)) {
                isa |= 1u << (routes & 15) & STEERABLE;
            }
        }
        if (level >> PIRQ_SCI & 1) {
            isa |= sci && sci < 16 ? 1u << sci : 0;
            gsi |= sci >= 16 && sci < 24 ? 1u << (sci - 16) : 0;
        }
        tell(r->isa, 0, isa, &r->isa_told, again ? STEERABLE : 0);
        if (r->gsi) {
            tell(r->gsi, 16, gsi, &r->gsi_told, again ? 0xff : 0);
        }
    } while (!merge_end(&r->busy, seen));
}

static void pirq_set(IrqSink *s, unsigned pin, bool level)
{
    PirqRouter *r = container_of(s, PirqRouter, in);

    merge_bit(&r->level, 1u << pin, level);
    update(r);
}

void pirq_init(PirqRouter *r, IrqSink *isa, IrqSink *gsi)
{
    *r = (PirqRouter){
        .in = { .set = pirq_set, .pins = PIRQ_SCI + 1 }, .isa = isa, .gsi = gsi,
        .routes = UINT64_C(0x8080808080808080), .sci_to = 9,
    };
}

void pirq_route(PirqRouter *r, const uint8_t *abcd, const uint8_t *efgh)
{
    uint64_t routes = ld32(abcd) | (uint64_t)(efgh ? ld32(efgh) : 0x80808080) << 32;

    if (merge_load(&r->routes) != routes) {
        merge_store(&r->routes, routes);
        update(r);
    }
}

void pirq_sci(PirqRouter *r, unsigned to)
{
    if (merge_load(&r->sci_to) != to) {
        merge_store(&r->sci_to, to);
        update(r);
    }
}

void pirq_refresh(PirqRouter *r)
{
    merge_store(&r->retell, 1u);
    update(r);
}
