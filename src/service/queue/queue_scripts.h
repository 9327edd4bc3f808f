/* service/queue/queue_scripts.h: for tests only: peers that answer by rule, and the checks that all tests
 * share. */
#pragma once
#include "service/queue/queue_testing.h"

#define MAIL "Subject: a test\r\nFrom: a@example.com\r\n\r\nhello\r\n"
enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

extern const char *const script_ok[], *const script_later[];

uint32_t script_count(struct str list);
void script_relay_takes(struct test_world *w, const struct ipc_relay_job *m, struct handle *given);
void script_relay_defers(struct test_world *w, const struct ipc_relay_job *m,
                         struct handle *given); /* 450 at RCPT */
void script_relay_unreachable(struct test_world *w, const struct ipc_relay_job *m, struct handle *given);
void script_local_takes(struct test_world *w, const struct ipc_local_job *m, struct handle *given);
/* By the beginning of the domain: nx. null. fail. none. self. backup.; others have mx1.test and mx2.test. */
void script_mx(struct test_world *w, const struct ipc_mx_ask *m);
/* A world with these peers and the role running. */
void script_begin(struct test_world *w, uint64_t seed);
bool script_is_empty(struct test_world *w);
/* Nothing is left: not in memory, not in the store, no budget is held. */
void script_expect_empty(struct test_world *w);
struct str script_body(size_t n); /* mem_free() it */
