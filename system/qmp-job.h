/* qmp-job.h: jobs, as clients see them. */
#ifndef SYSTEM_QMP_JOB_H
#define SYSTEM_QMP_JOB_H

#include "util/context.h"

/* Events of jobs go out from now on. */
CTX_CONTROL void qmp_job_init(void);

#endif
