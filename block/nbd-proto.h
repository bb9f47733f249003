/* nbd-proto.h: the words of the NBD protocol, for its server and its client.
 *
 * Numbers and structures are those of the NBD protocol document (NetworkBlockDevice/nbd, doc/proto.md); the
 * section a group is from stands above it.  All numbers on the wire are big-endian. */
#ifndef BLOCK_NBD_PROTO_H
#define BLOCK_NBD_PROTO_H

#include "util/bytes.h"

#define NBD_DEFAULT_PORT "10809"

/* "Newstyle negotiation" */
#define NBD_MAGIC UINT64_C(0x4e42444d41474943)           /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C(0x49484156454f5054)      /* "IHAVEOPT" */
#define NBD_REP_MAGIC UINT64_C(0x3e889045565a9)
#define NBD_OLD_MAGIC UINT64_C(0x420281861253)           /* "Oldstyle negotiation" */

enum { NBD_FLAG_FIXED_NEWSTYLE = 1 << 0, NBD_FLAG_NO_ZEROES = 1 << 1 };

/* "Option types" */
enum {
    NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT, NBD_OPT_LIST, NBD_OPT_PEEK_EXPORT, NBD_OPT_STARTTLS, NBD_OPT_INFO,
    NBD_OPT_GO, NBD_OPT_STRUCTURED_REPLY, NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT,
};

/* "Option reply types" */
enum {
    NBD_REP_ACK = 1, NBD_REP_SERVER, NBD_REP_INFO, NBD_REP_META_CONTEXT,
    NBD_REP_ERR_UNSUP = 0x80000001, NBD_REP_ERR_POLICY, NBD_REP_ERR_INVALID, NBD_REP_ERR_PLATFORM,
    NBD_REP_ERR_TLS_REQD, NBD_REP_ERR_UNKNOWN, NBD_REP_ERR_SHUTDOWN, NBD_REP_ERR_BLOCK_SIZE_REQD,
    NBD_REP_ERR_TOO_BIG,
};

enum { NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };

/* "Transmission flags" */
enum {
    NBD_FLAG_HAS_FLAGS = 1 << 0, NBD_FLAG_READ_ONLY = 1 << 1, NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3, NBD_FLAG_ROTATIONAL = 1 << 4, NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6, NBD_FLAG_SEND_DF = 1 << 7, NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_RESIZE = 1 << 9, NBD_FLAG_SEND_CACHE = 1 << 10, NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

/* "Transmission": messages */
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu

enum {
    NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE,
    NBD_CMD_WRITE_ZEROES, NBD_CMD_BLOCK_STATUS,
};

enum {
    NBD_CMD_FLAG_FUA = 1 << 0, NBD_CMD_FLAG_NO_HOLE = 1 << 1, NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3, NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

enum { NBD_REPLY_FLAG_DONE = 1 << 0 };

enum {
    NBD_REPLY_NONE = 0, NBD_REPLY_OFFSET_DATA = 1, NBD_REPLY_OFFSET_HOLE = 2, NBD_REPLY_BLOCK_STATUS = 5,
    NBD_REPLY_ERROR = 0x8001, NBD_REPLY_ERROR_OFFSET = 0x8002,
};

/* "Error values" */
enum {
    NBD_EPERM = 1, NBD_EIO = 5, NBD_ENOMEM = 12, NBD_EINVAL = 22, NBD_ENOSPC = 28, NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95, NBD_ESHUTDOWN = 108,
};

/* "base:allocation" metadata context */
enum { NBD_STATE_HOLE = 1 << 0, NBD_STATE_ZERO = 1 << 1 };

typedef struct __attribute__((packed)) NbdRequestMsg {
    Be32 magic;
    Be16 flags, type;
    uint64_t handle;           /* the client's own: comes back as it was */
    Be64 off;
    Be32 len;
} NbdRequestMsg;

typedef struct __attribute__((packed)) NbdSimpleReply {
    Be32 magic, error;
    uint64_t handle;
} NbdSimpleReply;

typedef struct __attribute__((packed)) NbdChunk {
    Be32 magic;
    Be16 flags, type;
    uint64_t handle;
    Be32 len;                  /* of what follows */
} NbdChunk;

typedef struct __attribute__((packed)) NbdOptionMsg {
    Be64 magic;
    Be32 option, len;
} NbdOptionMsg;

typedef struct __attribute__((packed)) NbdOptionReply {
    Be64 magic;
    Be32 option, type, len;
} NbdOptionReply;

enum {
    NBD_MAX_STRING = 4096,         /* "Conventions": names and error texts */
    NBD_MAX_OPTION = 64 * 1024,    /* of an option's data that is looked at; sensible ones are shorter */
    NBD_MAX_PAYLOAD = 32 << 20,    /* "Block size constraints": what a request may carry without asking */
};

#endif
