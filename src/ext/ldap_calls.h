/* ext/ldap_calls.h: what is used of libldap, found in the library by the process that loads it (see
 * curl_calls.h). */
#pragma once
#include <ldap.h>

#include <openldap.h>

#define LDAP_CALLS(X)                                                                                        \
    X(init_fd)                                                                                               \
    X(install_tls)                                                                                           \
    X(start_tls)                                                                                             \
    X(set_option)                                                                                            \
    X(get_option)                                                                                            \
    X(sasl_bind)                                                                                             \
    X(search_ext)                                                                                            \
    X(result)                                                                                                \
    X(parse_result)                                                                                          \
    X(count_entries)                                                                                         \
    X(first_entry)                                                                                           \
    X(get_dn)                                                                                                \
    X(err2string)                                                                                            \
    X(memfree)                                                                                               \
    X(msgfree)                                                                                               \
    X(unbind_ext)

struct ldap_calls {
    void *library;
#define X(name) __typeof__(&ldap_##name) name;
    LDAP_CALLS(X)
#undef X
};
