/* ext/curl_load.h: libcurl, loaded by the one process that needs it: linked in, it and the thirty libraries behind it
 * would take some mebibytes of every process of this program. For http_curl.c only.
 *
 * Owns: nothing; a library that was loaded stays to the end of the process. Call it before the sandbox closes.
 */
#pragma once
#include <stdbool.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#define CURL_FUNCTIONS(X)                                                                                    \
    X(easy_cleanup)                                                                                          \
    X(easy_getinfo)                                                                                          \
    X(easy_init)                                                                                             \
    X(easy_setopt)                                                                                           \
    X(easy_strerror)                                                                                         \
    X(global_cleanup)                                                                                        \
    X(global_init)                                                                                           \
    X(multi_add_handle)                                                                                      \
    X(multi_assign)                                                                                          \
    X(multi_cleanup)                                                                                         \
    X(multi_info_read)                                                                                       \
    X(multi_init)                                                                                            \
    X(multi_remove_handle)                                                                                   \
    X(multi_setopt)                                                                                          \
    X(multi_socket_action)                                                                                   \
    X(slist_append)                                                                                          \
    X(slist_free_all)

struct curl_api { /* each function without its "curl_" */
#define X(name) __typeof__(&curl_##name) name;
    CURL_FUNCTIONS(X)
#undef X
};
/* false: it is not installed, or too old. */
bool curl_load(struct curl_api *out);
