/* sim/sim_client.h: a client that submits mail: its own few lines of SMTP, so that the server is not tested
 * against the project's own client only.
 */
#pragma once
#include "sim/sim_world.h"

enum { SIM_MAIL_RCPTS_MAX = 8 };

struct sim_mail {
    struct list link;  /* the client's, until done */
    struct netaddr to; /* the server */
    const char *from;  /* "" is the null sender */
    const char *rcpts[SIM_MAIL_RCPTS_MAX];
    size_t n_rcpts;
    struct str data; /* as it travels, without the final dot; lines don't begin with dots */
    /* Called once, outside of all heaps; m is the caller's again. */
    void (*done)(void *arg, struct sim_mail *m);
    void *arg;
    /* results */
    bool is_accepted; /* 250 after the data: the server has it */
    bool rcpt_accepted[SIM_MAIL_RCPTS_MAX];
    bool is_unknown; /* the connection ended or timed out behind the data */
    uint16_t code;   /* of the last reply; 0: none came */
    char text[128];  /* of that reply */
    uint64_t done_us;
};

struct sim_client;
/* A client on that host, sessions_max connections at a time; it lives as long as the host has power. */
struct sim_client *sim_client_new(struct sim_host *h, unsigned sessions_max);
void sim_client_del(struct sim_client **c); /* after sim_del() */
/* Called outside of all processes. All of it must live until done. */
void sim_client_send(struct sim_client *c, struct sim_mail *m);
