/* rng-egd.h: entropy from a daemon that speaks EGD's protocol over a character device (-object rng-egd). */
#ifndef SYSTEM_RNG_EGD_H
#define SYSTEM_RNG_EGD_H

#include "core/rng.h"

typedef struct RngEgd RngEgd;

/* A source that is dry until it is connected: *source is owned by the caller. */
CTX_CONTROL RngEgd *rng_egd_new(const char *id, RngSource **source, Error **errp);
/* Asks the daemon behind chardev @chardev from now on, whenever there is one. */
CTX_CONTROL bool rng_egd_connect(RngEgd *e, const char *chardev, Error **errp);
CTX_CONTROL void rng_egd_free(RngEgd *e);

#endif
