/* ext/pg_calls.h: what is used of libpq, found in the library by the process that loads it (see
 * curl_calls.h). */
#pragma once
#include <libpq-fe.h>

#define PG_CALLS(X)                                                                                          \
    X(connectStartParams)                                                                                    \
    X(connectPoll)                                                                                           \
    X(finish)                                                                                                \
    X(socket)                                                                                                \
    X(status)                                                                                                \
    X(errorMessage)                                                                                          \
    X(setnonblocking)                                                                                        \
    X(setNoticeProcessor)                                                                                    \
    X(sendQueryParams)                                                                                       \
    X(setSingleRowMode)                                                                                      \
    X(flush)                                                                                                 \
    X(consumeInput)                                                                                          \
    X(isBusy)                                                                                                \
    X(getResult)                                                                                             \
    X(resultStatus)                                                                                          \
    X(resultErrorMessage)                                                                                    \
    X(nfields)                                                                                               \
    X(getisnull)                                                                                             \
    X(getvalue)                                                                                              \
    X(getlength)                                                                                             \
    X(clear)

struct pg_calls {
    void *library;
#define X(name) __typeof__(&PQ##name) name;
    PG_CALLS(X)
#undef X
};
