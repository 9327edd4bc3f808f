#include "base/err.h"

#include <errno.h>

static const char *const texts[] = {
    [ERR_OK] = "no error",
    [ERR_AGAIN] = "not now, try again",
    [ERR_CLOSED] = "closed by the other side",
    [ERR_RESET] = "connection broken",
    [ERR_TIMEOUT] = "timed out",
    [ERR_REFUSED] = "connection refused",
    [ERR_UNREACHABLE] = "host or network unreachable",
    [ERR_NOMEM] = "memory budget used up",
    [ERR_NOSPACE] = "no space left on disk",
    [ERR_IO] = "input/output error",
    [ERR_NOTFOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_DENIED] = "permission denied",
    [ERR_INVALID] = "malformed",
    [ERR_TOO_BIG] = "over a limit",
    [ERR_CORRUPT] = "stored data is damaged",
    [ERR_CANCELLED] = "cancelled",
    [ERR_STALE] = "stale epoch",
    [ERR_TLS] = "TLS failed",
};

const char *err_str(enum err e)
{
    if ((size_t)e >= ARRAY_LEN(texts))
        return "unknown error";
    return texts[e];
}

static const struct {
    int errnum;
    enum err err;
} errnos[] = {
    {EAGAIN, ERR_AGAIN},
    {EINTR, ERR_AGAIN},
    {EINPROGRESS, ERR_AGAIN},
    {EPIPE, ERR_RESET},
    {ECONNRESET, ERR_RESET},
    {ECONNABORTED, ERR_RESET},
    {ENOTCONN, ERR_RESET},
    {ETIMEDOUT, ERR_TIMEOUT},
    {ECONNREFUSED, ERR_REFUSED},
    {EHOSTUNREACH, ERR_UNREACHABLE},
    {ENETUNREACH, ERR_UNREACHABLE},
    {EADDRNOTAVAIL, ERR_UNREACHABLE},
    {EHOSTDOWN, ERR_UNREACHABLE},
    {ENETDOWN, ERR_UNREACHABLE},
    {EAFNOSUPPORT, ERR_UNREACHABLE},
    {ENOMEM, ERR_NOMEM},
    {ENOBUFS, ERR_NOMEM},
    {EMFILE, ERR_NOMEM},
    {ENFILE, ERR_NOMEM},
    {ENOSPC, ERR_NOSPACE},
    {EDQUOT, ERR_NOSPACE},
    {ENOENT, ERR_NOTFOUND},
    {ENOTDIR, ERR_NOTFOUND},
    {EEXIST, ERR_EXISTS},
    {EADDRINUSE, ERR_EXISTS},
    {EACCES, ERR_DENIED},
    {EPERM, ERR_DENIED},
    {EROFS, ERR_DENIED},
    {EINVAL, ERR_INVALID},
    {EMSGSIZE, ERR_TOO_BIG},
    {EFBIG, ERR_TOO_BIG},
    {ENAMETOOLONG, ERR_TOO_BIG},
    {ECANCELED, ERR_CANCELLED},
};

enum err err_from_errno(int errnum)
{
    if (errnum == 0)
        return ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
        if (errnos[i].errnum == errnum)
            return errnos[i].err;
    }
    return ERR_IO;
}
