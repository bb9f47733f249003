/* authz.h: who may do what: rules over the names of clients, by the ids of authz objects.
 *
 * 1. Objects are made and removed on control, and asked from any thread.
 * 2. Nobody is allowed by an object that is not there. */
#ifndef UTIL_AUTHZ_H
#define UTIL_AUTHZ_H

#include "util/context.h"
#include "util/error.h"

typedef struct AuthzRule {
    const char *match;         /* copied */
    bool allow;
    bool glob;                 /* @match has * and ?, else it is the whole name */
} AuthzRule;

/* Adds @id, which is new: the first of @n rules that matches decides, else @allow. */
CTX_CONTROL void authz_add(const char *id, bool allow, const AuthzRule *rules, unsigned n);
/* Nothing happens if there is none. */
CTX_CONTROL void authz_remove(const char *id);
CTX_CONTROL bool authz_exists(const char *id);
/* @name: a client's, as its certificate has it. */
CTX_ANY bool authz_allows(const char *id, const char *name);

#endif
