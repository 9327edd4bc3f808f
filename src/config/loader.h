/* config/loader.h: one run of a configuration, within this folder only: what the facts said, with their
 * places.
 *
 * luaenv.c makes the bare environment, facts.c turns calls into these lists, check.c turns the lists into
 * struct config.
 */
#pragma once
#include "config/config.h"
#include "config/report.h"

#include <lua.h>

enum {
    LOADER_MEMORY_MAX = 128 * 1024 * 1024, /* octets that Lua may hold */
    LOADER_STRING_MAX = 64 * 1024,       /* octets of one text in Lua: bounds what one instruction may cost */
    LOADER_STEPS_MAX = 20 * 1000 * 1000, /* Lua instructions, and what C functions cost in them */
    LOADER_FACT_STEPS = 100,             /* what a fact or a value costs */
    LOADER_KEY_STEPS = 20,               /* and a key in its table */
    LOADER_ERROR_STEPS = 2000,           /* and a word that is unknown: looking for a near one is work */
    LOADER_INCLUDES_MAX = 100,
    LOADER_INCLUDE_DEPTH_MAX = 8,
    LOADER_ALIAS_DEPTH_MAX = 8, /* :include: within :include: */
    LOADER_FACTS_MAX = 48,      /* rows of schema section "" */
};

struct source { /* a file of Lua that was read */
    struct source *next;
    struct str name, text;
};

enum value_kind { VALUE_ANY = 0, VALUE_SYSTEM, VALUE_FILE, VALUE_MAILDIR, VALUE_LMTP, VALUE_PIPE, VALUE_SECRET,
                  VALUE_AUTH };
struct value { /* what `any`, passwd "x", maildir "x", ... give; a Lua userdata, memory in the arena */
    enum value_kind kind;
    bool is_bad;     /* an error was reported */
    struct str text; /* maildir: template; file, passwd: its octets */
    struct str path; /* file, passwd; secret: absolute */
    struct str user; /* maildir{user=}, pipe{user=}: login, or empty */
    bool is_passwd;
    bool was_read;           /* as users: a list that several domains share is read once */
    const struct str *users; /* sorted */
    size_t n_users;
    struct deliver deliver; /* lmtp, pipe */
    struct auth_backend auth; /* dovecot, pam, ldap, sql */
    struct place at;
};

struct alias_fact {
    struct alias alias; /* first: sorted by its name */
    struct place at;
    struct alias_fact *next;
};
struct program_fact { /* of an alias */
    struct program_fact *next;
    struct deliver *deliver;
    struct place at;
};

struct domain_fact {
    struct domain_fact *next;
    struct place at;      /* of `domain` */
    struct place at_user; /* of maildir { user = }, else line 0: it is a key of the domain */
    bool has_table;       /* the second half, { ... }, came */
    bool is_bad;          /* an error was reported: no follow-up errors */
    bool has_users, has_deliver, has_recipients;
    struct str user; /* login */
    struct str passwords; /* path of the file, or empty */
    bool has_auth;
    struct auth_backend auth;
    struct alias_fact *aliases, **aliases_end;
    size_t n_aliases;
    struct program_fact *programs;
    bool has_plus, is_system; /* users = system */
    bool has_sts;
    struct mta_sts_own sts; /* n_mx 0: not said */
    struct local_domain d;
};
struct listener_fact {
    struct listener_fact *next;
    struct place at;
    bool has_tls, has_auth; /* the keys were given */
    struct listener_conf conf;
};
struct block_fact {
    struct block_fact *next;
    struct netblock block;
};
struct block_list {
    struct block_fact *first, *last;
    size_t n;
};
struct rule_fact {
    struct rule_fact *next;
    struct place at;
    struct route_rule rule;
    struct str source; /* its name, or empty */
};
struct source_fact {
    struct source_fact *next;
    struct place at;
    bool has_table;
    struct source_pool pool;
};

struct certificate_fact {
    struct certificate_fact *next;
    struct place at;
    bool is_acme;
    struct certificate_conf conf;
};
struct sender_fact {
    struct sender_fact *next;
    struct place at;
    struct sender_right right;
};

struct loader {
    const struct config_env *env;
    struct arena *arena;
    struct config_report *report;
    struct config *conf;
    struct str name; /* of the first file */
    lua_State *lua;

    size_t memory;   /* octets Lua holds */
    uint64_t volume; /* octets Lua ever asked for */
    uint64_t steps;
    bool is_out_of_memory;
    bool is_partial; /* some facts did not run: a syntax error, a file that can't be read, an error in Lua */
    struct source *sources;
    unsigned include_depth, n_includes;

    struct place given[LOADER_FACTS_MAX]; /* where each fact that may stand once stood; line 0: not yet */
    struct domain_fact *domains, **domains_end;
    struct listener_fact *listeners, **listeners_end;
    struct rule_fact *rules, **rules_end;
    struct source_fact *pools, **pools_end;
    struct certificate_fact *certificates, **certificates_end;
    struct sender_fact *senders;
    size_t n_certificates, n_senders;
    struct str *token_domains; /* of oauth; none: all */
    size_t n_token_domains;
    struct block_list relay_from, xclient_from, etrn_from;
    bool has_submit;                /* it was given, or refused */
    const struct account *accounts; /* of users = system, once asked for */
    size_t n_accounts;
    bool has_accounts;
    size_t n_domains, n_listeners, n_users, n_rules, n_sources, n_targets;
    struct place at_retry;
};

/* ---- loader.c: helpers ------------------------------------------------------------------------- */
struct loader *loader_of(lua_State *L);
/* The line of the Lua code that called the C function at work. */
struct place loader_place(lua_State *L);
struct place loader_key_place(const struct loader *ld, struct place at, struct str fact, struct str key);
struct place loader_item_place(const struct loader *ld, struct place at, struct str fact, size_t i);
/* Arena memory; without it a Lua error is raised (these are called below lua_pcall only). */
void *loader_alloc(struct loader *ld, size_t count, size_t size);
struct str loader_copy(struct loader *ld, struct str s);
struct str loader_lower(struct loader *ld, struct str s);
/* Relative to the folder of the configuration. */
struct str loader_path(struct loader *ld, struct str path);
/* false when it can't be read; the error was reported when `required`, else a warning. */
MUST_USE bool loader_read(struct loader *ld, struct place at, struct str path, struct str *out);
/* Sorts, drops doubles, returns what is left. */
size_t loader_sort_users(struct str *users, size_t n);
/* Is there a file that can hold a secret? Its octets are none of the loader's business. Errors were reported when
 * false. */
MUST_USE bool loader_find_secret(struct loader *ld, struct place at, struct str full);
int loader_include(lua_State *L); /* include "file" */

/* ---- luaenv.c ---------------------------------------------------------------------------------- */
void *luaenv_alloc(void *arg, void *p, size_t old, size_t size);
/* Leaves the table that serves as _ENV on the stack; facts are what facts_push() pushed. */
void luaenv_push(lua_State *L);
void luaenv_charge(lua_State *L, uint64_t steps);
/* A stand-in for a word that an error was reported about: may be called, indexed and joined, is taken
 * anywhere. */
void luaenv_push_unknown(lua_State *L);
bool luaenv_is_unknown(lua_State *L, int i);

/* A domain as A-labels in lower case; an error was reported when false. */
MUST_USE bool loader_domain(struct loader *ld, struct place at, const char *what, struct str name,
                            struct str *out);

/* ---- facts.c and its like ---------------------------------------------------------------------- */
/* A table of all facts and value words. */
void facts_push(lua_State *L);
enum got { GOT_NOTHING = 0, GOT_IT, GOT_BAD };
struct site {            /* where a value stands, for messages: "'first' in retry" */
    struct place at;     /* of the fact */
    const char *section; /* "": the fact's own value */
    const char *name;    /* of the key, or of the fact */
    size_t item;         /* the i-th of its list (from 1), or 0 */
};
/* The exact line, found by reading the text again: for messages only. */
struct place facts_place(lua_State *L, const struct site *site);
enum got facts_text(lua_State *L, int i, const struct site *site, struct str *out);
enum got facts_bool(lua_State *L, int i, const struct site *site, bool *out);
/* "'first' in retry PROBLEM". */
void facts_error(lua_State *L, const struct site *site, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "hostname: "mail" PROBLEM". */
void facts_bad_text(lua_State *L, const struct site *site, struct str value, const char *problem);
/* Pushes t[key]. */
struct site facts_key(lua_State *L, int t, struct place at, const char *section, const char *key);
/* Every key of the table at t is one of the section (and, with has_list, a place in its list): else errors.
 */
bool facts_check_keys(lua_State *L, int t, struct place at, const char *section, bool has_list);
struct schema_key;
enum got facts_number(lua_State *L, int i, const struct schema_key *k, const struct site *site,
                      uint64_t *out);
enum got facts_wrong_kind(lua_State *L, int i, const struct site *site, const char *wanted);
/* Is argument 1 all there is, and is it the first of its kind where only one may be? */
bool facts_begin(lua_State *L, const char *name, bool may_repeat, struct place *out);
bool facts_want_table(lua_State *L, const char *name, struct place at);
/* The numbers of a section into the configuration. */
void facts_numbers(lua_State *L, const char *section, struct place at);
/* A key of the table at 1 whose value is text; *out is left alone without it. */
struct site facts_text_key(lua_State *L, struct place at, const char *section, const char *key,
                           struct str *out);
int fact_domain(lua_State *L); /* facts_domain.c */
int fact_listen(lua_State *L); /* facts_listen.c */
int fact_submit(lua_State *L);
int fact_relay_from(lua_State *L);
int fact_xclient_from(lua_State *L);
int fact_commands(lua_State *L);
int fact_route(lua_State *L); /* facts_route.c */
int fact_source(lua_State *L);
int fact_authorities(lua_State *L);
/* The pattern that a text is; empty: any address. false: an error was reported. */
bool facts_pattern(lua_State *L, const struct site *site, struct str text, struct pattern *out);
int fact_tls(lua_State *L); /* facts_tls.c */
int fact_senders(lua_State *L);
int fact_oauth(lua_State *L); /* facts_oauth.c */
int fact_rewrite(lua_State *L); /* facts_rewrite.c */
int fact_https(lua_State *L);   /* facts_sts.c */
/* "192.0.2.1", "[2001:db8::1]:8443"; NULL: it is one, else what is wrong. */
const char *facts_ip(struct str text, uint16_t port, struct netaddr *out);
/* What mta_sts_policy = ... on top of the stack says, into f. */
void sts_read(lua_State *L, struct domain_fact *f, const struct site *site);
/* ---- facts_value.c ----------------------------------------------------------------------------- */
void values_push(lua_State *L); /* adds maildir, lmtp, passwd, file, any, ... to the table on the stack */
struct value *value_at(lua_State *L, int i); /* NULL: something else */
struct value *value_push(lua_State *L, enum value_kind kind); /* a new one, on the stack */
void table_values_push(lua_State *L); /* facts_table.c: adds ldap and sql */
/* The users of a VALUE_FILE, read when first asked for. */
void value_read_users(lua_State *L, struct value *v);
/* A list of users on top of the stack. */
void value_list_users(lua_State *L, const struct site *site, const struct str **out, size_t *out_n);

/* ---- aliases.c --------------------------------------------------------------------------------- */
/* What aliases = ... on top of the stack says, into f. */
void aliases_read(lua_State *L, struct domain_fact *f, const struct site *site);
/* In order of their names, with the owners of lists; doubles are reported. */
void aliases_settle(struct loader *ld, struct domain_fact *f);

/* ---- check.c ----------------------------------------------------------------------------------- */
void check(struct loader *ld);
