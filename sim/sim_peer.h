/* sim/sim_peer.h: a server on a simulated host that behaves as it is told: the next hop that defers, rejects,
 * hangs, is refused, or takes mail. It notes when it was tried.
 */
#pragma once
#include "sim/sim_world.h"

enum sim_peer_mode {
    SIM_PEER_ACCEPTS = 0,
    SIM_PEER_DEFERS_GREETING, /* 421 */
    SIM_PEER_DEFERS_MAIL,     /* 451 */
    SIM_PEER_DEFERS_RCPT,     /* 450 */
    SIM_PEER_DEFERS_END,      /* 452 after the data */
    SIM_PEER_REJECTS_RCPT,    /* 550 5.1.1 */
    SIM_PEER_REJECTS_END,     /* 554 5.6.0 after the data */
    SIM_PEER_SILENT_GREETING, /* takes the connection and says nothing */
    SIM_PEER_SILENT_END,      /* says nothing after the data */
    SIM_PEER_DROPS_END,       /* takes the message and ends without a word */
    SIM_PEER_REFUSES,         /* does not listen */
    SIM_PEER_DOWN,            /* the host has no power */
};
enum { SIM_PEER_NOTES_MAX = 1000, SIM_PEER_TEXT_MAX = 1 << 20 };

struct sim_peer_note {      /* a connection, or for SIM_PEER_REFUSES and _DOWN nothing is noted */
    uint64_t at_us, end_us; /* end_us 0: it is still there */
    unsigned n_messages;    /* taken on it */
};
struct sim_peer;
/* On port 25 of that host, whose only process it is. */
struct sim_peer *sim_peer_new(struct sim_host *h, enum sim_peer_mode mode);
void sim_peer_del(struct sim_peer **p); /* after sim_del() */
/* For connections from now on. Called outside of all processes. */
void sim_peer_set(struct sim_peer *p, enum sim_peer_mode mode);
const struct sim_peer_note *sim_peer_notes(const struct sim_peer *p, size_t *out_n);
/* The messages taken, each behind a line "MAIL FROM... RCPT TO...". */
struct str sim_peer_text(const struct sim_peer *p);
unsigned sim_peer_n_taken(const struct sim_peer *p);
