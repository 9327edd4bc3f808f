/* ext/table.h: a directory or a database that knows passwords, as the tables role sees it; ldap_check.c,
 * sql_pg.c and sql_sqlite.c are the real ones (tables.h puts them together).
 *
 * Its functions wait: they are called on threads beside the loop. Sessions of different threads do not meet;
 * one session is used by one thread at a time.
 *
 * Limits:   each call ends within the limit it is given, by a clock that never steps.
 * Errors:   what can't be looked at is TABLE_SAYS_NOTHING with the reason, a phrase for the log without the
 * server's name; it may quote the server, and never a password. Security: what it is asked about is data to
 * the other side: bound as a parameter or escaped, whatever octets it has. Where TLS is wanted nothing is
 * said before the server has shown a certificate of the anchors for its name.
 */
#pragma once
#include "base/buf.h"
#include "base/netaddr.h"
#include "ext/http.h"

enum { TABLE_WHY_MAX = 400 };
enum table_tls { TABLE_CLEAR = 0, TABLE_STARTTLS, TABLE_TLS }; /* clear: to sockets of this machine alone */
enum table_says {
    TABLE_SAYS_NOTHING = 0, /* it could not be asked, or what it says is of no use */
    TABLE_SAYS_YES,         /* it has looked at the password itself */
    TABLE_SAYS_NO,          /* likewise; or there is no such user in a directory */
    TABLE_SAYS_VERIFIER,    /* of the password, for the asker to look at */
    TABLE_SAYS_NOBODY,      /* has no verifier: there is no such user */
};
struct table_place {          /* whom to ask, and as whom; texts of C */
    const struct netaddr *at; /* PostgreSQL's unix socket: its folder; SQLite: not used */
    const char *host;         /* the name that its certificate must be for; "": its address */
    enum table_tls tls;
    const char *user, *password;  /* of ours there, or "" */
    const char *place, *question; /* as struct auth_table of config/config.h says */
};
struct table_question {
    struct str address, user, domain; /* in lower case */
    struct str password;
};
struct table_driver {
    /* A session, or NULL with the reason. */
    void *(*open)(const struct table_driver *self, const struct table_place *p, uint32_t limit_ms,
                  struct buf *why);
    /* verifier: of room VERIFIER_TEXT_MAX at least; the caller wipes it. *is_broken: the session is of no use
     * any more. */
    enum table_says (*ask)(void *session, const struct table_question *q, uint32_t limit_ms, bool *is_broken,
                           struct buf *verifier, struct buf *why);
    void (*close)(void *session);
};
struct table_drivers {
    const struct table_driver *ldap, *postgresql, *sqlite;
    uint64_t (*now_ms)(void); /* a clock that never steps, for threads */
    struct http_client *http; /* of who asks issuers of tokens; not driven from threads. NULL: there is none */
    void *self;
    /* Whose certificates count from now on: PEM, copied; none: nobody's. false: no memory, the ones before
     * stay. */
    bool (*trust)(void *self, struct str anchors);
};
