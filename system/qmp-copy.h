/* qmp-copy.h: what transactions need of the commands that start backups. */
#ifndef SYSTEM_QMP_COPY_H
#define SYSTEM_QMP_COPY_H

#include "block/job.h"
#include "qapi/types.h"

/* Starts the backup; @base (or NULL) has what a transaction says of its jobs. */
CTX_CONTROL bool qmp_backup_begin(const BlockdevBackup *a, const JobOptions *base, Error **errp);
CTX_CONTROL bool qmp_drive_backup_begin(const DriveBackup *a, BlkNode *target, const JobOptions *base,
                                        Error **errp);
/* The image that is to take the backup of @n, made or opened, for the job alone. */
CTX_CONTROL BlkNode *qmp_backup_target(const DriveBackup *a, BlkNode *n, Error **errp);

#endif
