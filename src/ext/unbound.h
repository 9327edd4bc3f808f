/* ext/unbound.h: the resolver of ext/resolver.h by libunbound, on our loop, validating, with its cache in
 * this process.
 *
 * Owns:     one libunbound context and its questions.
 * Limits:   UNBOUND_OPEN_MAX questions open (ask() says false beyond), as long as it was told each, 96 MiB of
 * cache, 256 UDP and 20 TCP sockets at a time. Errors:   all that the network does wrong is RESOLVER_FAILED
 * or RESOLVER_BOGUS with a reason in words. Security: reads no file, starts no thread, takes its entropy from
 * getrandom: it can be made and made anew within a sandbox. Loopback servers are asked only when the
 * configuration names one.
 */
#pragma once
#include "ext/resolver.h"
#include "io/world_io.h"

enum {
    UNBOUND_OPEN_MAX = 1000,
    UNBOUND_TIMEOUT_MS = 30 * 1000, /* a good time-out: the library goes on for minutes over dead servers */
};

struct unbound;

/* NULL without memory. Nothing can be asked before resolver.configure(). A question that has no answer after
 * timeout_ms has failed. */
struct unbound *unbound_new(struct io_world *w, uint32_t timeout_ms);
/* Questions that are open are forgotten without an answer. Not from within an answer. Clears *u. */
void unbound_del(struct unbound **u);
/* Valid as long as u. */
struct resolver *unbound_resolver(struct unbound *u);
