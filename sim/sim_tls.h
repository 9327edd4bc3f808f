/* sim/sim_tls.h: base/world_tls.h in the simulated world: who is who, who trusts whom and how long it takes,
 * without cryptography.
 *
 * A certificate's chain is a text of words: the DNS names it is for ("mx.example.org", "*.example.org"),
 * "by=WHO" for who signed it (without it: it itself), and "expired". The anchors of a client or for clients
 * are the words of WHO is trusted. A TLSA record matches when its data is the whole text; so no two
 * certificates should have the same. The client says hello, the server has its answer signed (the signature
 * may be anything) and shows its certificate, the client shows its own when it is asked for. After that
 * octets pass as they are, without ends of their own.
 */
#pragma once
#include "base/world_tls.h"

enum { SIM_CHAIN_MAX = 512 }; /* octets of a chain */
extern const struct world_tls_ops sim_tls_ops;
