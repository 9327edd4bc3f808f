/* ext/curl_calls.h: libcurl, loaded by the process that uses it and by no other.
 *
 * It brings TLS, Kerberos, LDAP and SSH libraries of its own. Were the program linked with it, each of its
 * processes would start by relocating all of these: half a megabyte in every one, for the sake of one.
 *
 * Owns:     the library, until curl_calls_close(). Loaded before the sandbox closes.
 */
#pragma once
#include "base/must.h"

#define CURL_DISABLE_TYPECHECK /* its macros call by name */
#include <curl/curl.h>

/* What is used of it. */
#define CURL_CALLS(X)                                                                                        \
    X(global_init)                                                                                           \
    X(global_cleanup)                                                                                        \
    X(easy_init)                                                                                             \
    X(easy_cleanup)                                                                                          \
    X(easy_setopt)                                                                                           \
    X(easy_getinfo)                                                                                          \
    X(easy_strerror)                                                                                         \
    X(multi_init)                                                                                            \
    X(multi_cleanup)                                                                                         \
    X(multi_setopt)                                                                                          \
    X(multi_assign)                                                                                          \
    X(multi_add_handle)                                                                                      \
    X(multi_remove_handle)                                                                                   \
    X(multi_info_read)                                                                                       \
    X(multi_socket_action)                                                                                   \
    X(slist_append)                                                                                          \
    X(slist_free_all)

struct curl_calls {
    void *library;
#define X(name) __typeof__(&curl_##name) name;
    CURL_CALLS(X)
#undef X
};
/* false: it is not there, or is another one than the program was made for; why is from the loader, until the
 * next call to it. */
MUST_USE bool curl_calls_open(struct curl_calls *c, const char **why);
void curl_calls_close(struct curl_calls *c);
