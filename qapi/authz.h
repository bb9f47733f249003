/* authz.h: authz objects in the schema's words. */
#ifndef QAPI_AUTHZ_H
#define QAPI_AUTHZ_H

#include "qapi/types.h"

/* Makes the object that @c, an authz-simple or authz-list, describes. */
void qapi_authz_add(const ObjectConfig *c);

#endif
