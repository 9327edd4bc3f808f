/* base/err.h: how the world fails. Whether a failure is a 4xx or a 5xx is decided in policy and delivery
 * tables. */
#pragma once
#include "base/must.h"

enum err {
    ERR_OK = 0,
    ERR_AGAIN,       /* would block, or a bounded queue is full: come back after the drain event */
    ERR_CLOSED,      /* the peer ended the stream or channel in good order */
    ERR_RESET,       /* the connection broke */
    ERR_TIMEOUT,     /* a deadline passed */
    ERR_REFUSED,     /* connection refused */
    ERR_UNREACHABLE, /* no route, no address */
    ERR_NOMEM,       /* a memory budget is used up */
    ERR_NOSPACE,     /* disk or quota full */
    ERR_IO,          /* the medium failed; for a flush: final for that file */
    ERR_NOTFOUND,
    ERR_EXISTS,
    ERR_DENIED,  /* permission, or a sandbox said no */
    ERR_INVALID, /* malformed input */
    ERR_TOO_BIG, /* over a limit of base/limits.h */
    ERR_CORRUPT, /* a checksum or an invariant of stored data does not hold */
    ERR_CANCELLED,
    ERR_STALE, /* an old fencing epoch */
    ERR_TLS,   /* no TLS with that peer: a text tells why */
};

/* A short English phrase, static storage. */
const char *err_str(enum err e);
/* The enum err for a positive errno value; unknown values become ERR_IO. */
enum err err_from_errno(int errnum);
