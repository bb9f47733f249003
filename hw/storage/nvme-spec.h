/* nvme-spec.h: numbers of the NVM Express base specification 1.4 and of its NVM command set.
 *
 * 1. Names are the specification's, sections in the comments. */
#ifndef HW_STORAGE_NVME_SPEC_H
#define HW_STORAGE_NVME_SPEC_H

/* Controller registers, section 3.1. */
enum {
    NVME_CAP = 0x00,
    NVME_VS = 0x08,
    NVME_INTMS = 0x0c,
    NVME_INTMC = 0x10,
    NVME_CC = 0x14,
    NVME_CSTS = 0x1c,
    NVME_AQA = 0x24,
    NVME_ASQ = 0x28,
    NVME_ACQ = 0x30,
    NVME_DOORBELLS = 0x1000
};
#define NVME_VERSION 0x00010400u
#define NVME_CAP_MQES 2047u                    /* entries of a queue, less one */
#define NVME_CAP_CQR (UINT64_C(1) << 16)
#define NVME_CAP_TO (UINT64_C(15) << 24)       /* of 500 ms */
#define NVME_CAP_CSS (UINT64_C(0xc1) << 37)    /* NVM; one or more; admin only */
#define NVME_CAP_MPSMAX (UINT64_C(4) << 52)    /* pages of up to 64 KiB */
#define NVME_MPS_MAX 4u
enum { NVME_CC_EN = 1, NVME_CC_CSS_ADMIN = 7 };
#define NVME_CC_MASK 0x00fffff1u
#define NVME_CC_CSS(cc) ((cc) >> 4 & 7)
#define NVME_CC_MPS(cc) ((cc) >> 7 & 15)
#define NVME_CC_AMS(cc) ((cc) >> 11 & 7)
#define NVME_CC_SHN(cc) ((cc) >> 14 & 3)
#define NVME_CC_IOSQES(cc) ((cc) >> 16 & 15)
#define NVME_CC_IOCQES(cc) ((cc) >> 20 & 15)
enum { NVME_CSTS_RDY = 1, NVME_CSTS_CFS = 2, NVME_CSTS_SHST = 12, NVME_SHST_BUSY = 4, NVME_SHST_DONE = 8 };

#define NVME_SQE 64u
#define NVME_CQE 16u
#define NVME_SQES 6u
#define NVME_CQES 4u
#define NVME_NSID_ALL UINT32_MAX

/* Places in a command, section 4.2. */
enum {
    SQE_OPCODE = 0,
    SQE_FLAGS = 1,
    SQE_CID = 2,
    SQE_NSID = 4,
    SQE_DPTR = 24,
    SQE_CDW10 = 40,
    SQE_CDW11 = 44,
    SQE_CDW12 = 48,
    SQE_CDW14 = 56
};

/* Admin opcodes, section 5. */
enum {
    NVME_DELETE_SQ = 0x00,
    NVME_CREATE_SQ = 0x01,
    NVME_GET_LOG = 0x02,
    NVME_DELETE_CQ = 0x04,
    NVME_CREATE_CQ = 0x05,
    NVME_IDENTIFY = 0x06,
    NVME_ABORT = 0x08,
    NVME_SET_FEATURES = 0x09,
    NVME_GET_FEATURES = 0x0a,
    NVME_ASYNC_EVENT = 0x0c,
    NVME_NS_ATTACH = 0x15,
    NVME_DBBUF_CONFIG = 0x7c,
    NVME_FORMAT = 0x80
};

/* NVM opcodes, section 6. */
enum {
    NVME_FLUSH = 0x00,
    NVME_WRITE = 0x01,
    NVME_READ = 0x02,
    NVME_COMPARE = 0x05,
    NVME_WRITE_ZEROES = 0x08,
    NVME_DSM = 0x09,
    NVME_VERIFY = 0x0c,
    NVME_COPY = 0x19
};
#define NVME_RW_FUA (1u << 30)                 /* of command dword 12 */
#define NVME_RW_DEAC (1u << 25)
#define NVME_RW_PRINFO (15u << 26)
#define NVME_DSM_AD 4u

/* Status: type << 8 | code, section 4.5.1. */
enum {
    NVME_OK = 0x0000,
    NVME_INVALID_OPCODE = 0x0001,
    NVME_INVALID_FIELD = 0x0002,
    NVME_TRANSFER_ERROR = 0x0004,
    NVME_INTERNAL = 0x0006,
    NVME_ABORTED = 0x0007,
    NVME_ABORTED_SQ = 0x0008,
    NVME_INVALID_NS = 0x000b,
    NVME_SEQUENCE_ERROR = 0x000c,
    NVME_SGL_SEGMENT = 0x000d,
    NVME_SGL_COUNT = 0x000e,
    NVME_SGL_LENGTH = 0x000f,
    NVME_SGL_TYPE = 0x0011,
    NVME_PRP_OFFSET = 0x0013,
    NVME_SGL_UNSUPPORTED = 0x0012,
    NVME_NS_WRITE_PROTECTED = 0x0020,
    NVME_LBA_RANGE = 0x0080,
    NVME_CAPACITY = 0x0081,
    NVME_FORMATTING = 0x0084,
    NVME_INVALID_CQID = 0x0100,
    NVME_INVALID_QID = 0x0101,
    NVME_QUEUE_SIZE = 0x0102,
    NVME_AER_LIMIT = 0x0105,
    NVME_INVALID_VECTOR = 0x0108,
    NVME_INVALID_FORMAT = 0x010a,
    NVME_QUEUE_DELETION = 0x010c,
    NVME_NOT_SAVEABLE = 0x010d,
    NVME_NOT_CHANGEABLE = 0x010e,
    NVME_ALREADY_ATTACHED = 0x0118,
    NVME_NOT_ATTACHED = 0x011a,
    NVME_BAD_CTRL_LIST = 0x011c,
    NVME_CSS_REJECTED = 0x012b,
    NVME_COPY_LIMIT = 0x0183,                  /* command size limit exceeded */
    NVME_WRITE_FAULT = 0x0280,
    NVME_READ_ERROR = 0x0281,
    NVME_COMPARE_FAILED = 0x0285,
    NVME_DNR = 0x4000
};

/* Features, section 5.21. */
enum {
    FEAT_ARBITRATION = 0x01,
    FEAT_POWER = 0x02,
    FEAT_TEMPERATURE = 0x04,
    FEAT_ERROR_RECOVERY = 0x05,
    FEAT_WRITE_CACHE = 0x06,
    FEAT_QUEUES = 0x07,
    FEAT_COALESCING = 0x08,
    FEAT_VECTOR = 0x09,
    FEAT_ATOMICITY = 0x0a,
    FEAT_EVENTS = 0x0b,
    FEAT_TIMESTAMP = 0x0e,
    FEAT_HOST_BEHAVIOR = 0x16,
    FEAT_PROFILE = 0x19
};

/* Log pages, section 5.14. */
enum { LOG_ERRORS = 1, LOG_SMART = 2, LOG_FIRMWARE = 3, LOG_CHANGED_NS = 4, LOG_EFFECTS = 5 };

/* Asynchronous events, section 5.2. */
enum { EVENT_ERROR = 0, EVENT_SMART = 1, EVENT_NOTICE = 2, EVENT_TYPES = 8 };
enum { EVENT_BAD_DOORBELL = 0, EVENT_BAD_DOORBELL_VALUE = 1, EVENT_TEMPERATURE = 1, EVENT_NS_CHANGED = 0 };
#define EVENTS_NS_CHANGED (1u << 8)            /* of FEAT_EVENTS */

#endif
