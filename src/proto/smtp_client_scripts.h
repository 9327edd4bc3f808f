/* proto/smtp_client_scripts.h: the conversations that smtp_client_test.c plays: each whole, octet by octet
 * and cut at every point, with equal results.
 *
 * One step a line; \r \n \\ and \xHH are escapes in octets.
 *   S text   the server says a line           s text  the server sends these octets
 *   C text   the client has said this line    c text  the client has sent these octets
 *   J n      job n of the table is given      E NAME  the next event is this one
 *   B text   octets of the body               D       the body ends            A   it is given up
 *   Q        quit                             X / Y   the connection ends / breaks
 *   H / G    hold / let go what is sent       T ms    the clock moves, tick
 *   L ms     the deadline is that far (- for none)
 *   R i OUTCOME STAGE CODE ESC text           the result of recipient i; its text holds that
 *   F OUTCOME STAGE CODE ESC text             the same for failure
 *   + / -    is ready for a job, is not    M 0/1    takes no further message (LIMITS MAILMAX)
 *   O address / o address                     would take a recipient of that domain, or not (RCPTDOMAINMAX)
 *   N n      the need is that              V n      converted to n octets     W text    can't be, 5.6.3
 *   P / p    TLS stands: with the server that was meant, with any          U text  it failed, for this reason
 *   K i / k i    recipient i's result says that the server took the wish for reports, or not
 */
#pragma once
#include "proto/smtp_client.h"

/* ---- the jobs ---------------- */

static const struct rcpt r1[] = {{.address = STR_INIT("r1@y.example")}};
static const struct rcpt three[] = {{.address = STR_INIT("r1@y.example")},
                                    {.address = STR_INIT("r2@y.example")},
                                    {.address = STR_INIT("r3@y.example")}};
static const struct rcpt utf8[] = {{.address = STR_INIT("j\xc3\xbcrg@y.example")},
                                   {.address = STR_INIT("r1@y.example")}};
static const struct rcpt odd[] = {
    {.address = STR_INIT("r1@y.example")},
    {.address = STR_INIT("x@y\r\nRSET")},
    {.address = {NULL, 0}},
    {.address = STR_INIT("a b@y.example")},
    {.address = STR_INIT("\"a \\\" > b\"@y.example")},
    {.address = STR_INIT("r> SIZE=1 <x@y.example")},
    {.address = STR_INIT("\"open@y.example")},
    {.address = STR_INIT("nul\0@y.example")},
};
static const struct rcpt with_dsn[] = {
    {.address = STR_INIT("r1@y.example"),
     .notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
     .orcpt = STR_INIT("rfc822;r+1@z.example")},
    {.address = STR_INIT("r2@y.example"),
     .notify = NOTIFY_NEVER,
     .orcpt = STR_INIT("utf-8;j\xc3\xbcr+g@z.example")},
};
static const struct rcpt abroad[] = {{.address = STR_INIT("r1@b\xc3\xbc.example")},
                                     {.address = STR_INIT("\xc3\xbc@y.example")},
                                     {.address = STR_INIT("r1@\xc3\xa4.example")}};
static const struct rcpt domains[] = {{.address = STR_INIT("a@one.example")},
                                      {.address = STR_INIT("b@two.example")},
                                      {.address = STR_INIT("\"@\"@ONE.example")},
                                      {.address = STR_INIT("c@three.example")}};
static const struct mail_params with_envid = {.ret = DSN_RET_HDRS, .envid = STR_INIT("id+1")};
static const struct mail_params by_notify = {.by_mode = BY_NOTIFY, .by_trace = true, .by_ms = 61000};
static const struct mail_params by_return = {.by_mode = BY_RETURN, .by_ms = 121000};
static const struct mail_params hurried = {.has_priority = true, .priority = -3, .hold_until_ms = 1};
static const struct mail_params over_tls = {.requiretls = true};

/* Knows one domain. */
static bool to_ascii(struct str domain, struct buf *out)
{
    return str_eq(domain, STR("b\xc3\xbc.example")) && buf_puts(out, "xn--b-xka.example");
}

#define FROM_A .from = STR_INIT("a@x.example")
static const struct smtp_client_job jobs[] = {
    [0] = {.from = STR_INIT("a@x.example"), .rcpts = r1, .n_rcpts = 1},
    [1] = {.from = STR_INIT("a@x.example"), .rcpts = three, .n_rcpts = 3},
    [2] = {.rcpts = r1, .n_rcpts = 1, .size = 1234, .is_8bit = true},
    [3] = {.from = STR_INIT("a@x.example"), .rcpts = utf8, .n_rcpts = 1, .needs_utf8 = true},
    [4] = {.from = STR_INIT("a@x.example"), .rcpts = odd, .n_rcpts = ARRAY_LEN(odd)},
    [5] = {.from = STR_INIT("a@x\n"), .rcpts = r1, .n_rcpts = 1},
    [6] = {.from = STR_INIT("a@x.example"), .rcpts = r1, .n_rcpts = 1, .size = 5001},
    [7] = {.from = STR_INIT("a@x.example"), .rcpts = utf8, .n_rcpts = 1},
    [8] = {.from = STR_INIT("a@x.example"), .rcpts = odd + 1, .n_rcpts = 1},
    [9] = {.from = STR_INIT("a@x.example"), .rcpts = utf8, .n_rcpts = 2},
    [10] = {.from = STR_INIT("\xc3\xa4@x.example"), .rcpts = r1, .n_rcpts = 1},
    [11] = {.from = STR_INIT("a@x.example"), .rcpts = r1, .n_rcpts = 1, .needs_utf8 = true},
    [12] = {FROM_A, .rcpts = with_dsn, .n_rcpts = 2, .params = &with_envid},
    [13] = {FROM_A, .rcpts = with_dsn, .n_rcpts = 2, .params = &with_envid, .needs_utf8 = true},
    [14] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &by_notify, .wall_ms = 1000},
    [15] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &by_notify, .wall_ms = 71000},
    [16] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &by_return, .wall_ms = 1000},
    [17] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &by_return, .wall_ms = 120001},
    [18] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &hurried},
    [19] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .params = &over_tls},
    [20] = {.rcpts = three, .n_rcpts = 3, .is_callout = true, .params = &with_envid, .is_8bit = true},
    [21] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .size = 100, .is_8bit = true, .may_convert = true},
    [22] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .size = 100, .is_binary = true, .may_convert = true},
    [23] = {FROM_A, .rcpts = abroad, .n_rcpts = 3, .needs_utf8 = true, .may_convert = true,
            .to_ascii = to_ascii},
    [24] = {FROM_A, .rcpts = r1, .n_rcpts = 1, .is_binary = true},
    [26] = {FROM_A, .rcpts = domains, .n_rcpts = 4},
    [27] = {FROM_A, .rcpts = domains + 1, .n_rcpts = 3},
    [25] = {FROM_A, .rcpts = three, .n_rcpts = 3, .is_binary = true, .may_convert = true},
};

/* ---- the conversations ---------------- */

struct script {
    const char *name;
    bool lmtp, no_pipelining;
    const char *text;
};

/* clang-format off */
#define HELLO(...) "S 220 mx.example ESMTP\nC EHLO me.example\n" __VA_ARGS__ "E READY\n+\n"
#define PLAIN HELLO("S 250 mx.example\n")
#define PIPE HELLO("S 250-mx.example\nS 250-PIPELINING\nS 250-SIZE 5000\nS 250 8BITMIME\n")
#define LPIPE "S 220 mx LMTP\nC LHLO me.example\nS 250-mx\nS 250 PIPELINING\nE READY\n"
#define ONE_OPEN "C MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\n"
#define ONE "J 0\n" ONE_OPEN "S 354 go\nE WANT_BODY\n-\n"
#define THREE_SENT                                                                           \
    "J 1\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC RCPT TO:<r2@y.example>\n" \
    "C RCPT TO:<r3@y.example>\nC DATA\n"

static const struct script scripts[] = {
    /* the way it should go */
    {"one message", false, false,
     PLAIN ONE "B hello\\r\\n.dot\\r\\n\nC hello\nC ..dot\nD\nC .\nS 250 2.0.0 queued as 1\nE JOB_DONE\n+\n"
     "R 0 OK END 250 2.0.0 queued as 1\nQ\nC QUIT\nS 221 bye\nE DEAD\n-\nF PENDING CONNECT 0 0.0.0 \n"},
    {"no enhanced code", false, false,
     PLAIN ONE "D\nC .\nS 250 fine\nE JOB_DONE\nR 0 OK END 250 2.0.0 fine\n+\n"},
    {"a body without a line end", false, false,
     PLAIN ONE "B hello\nD\nC hello\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"pipelined", false, false,
     PIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 550 5.1.1 no such user\nS 251 forwarded\nS 354 go\nE WANT_BODY\nB x\\r\\n\nD\n"
     "C x\nC .\nS 250 2.6.0 taken\nE JOB_DONE\nR 0 OK END 250 2.6.0 taken\n"
     "R 1 PERMANENT RCPT 550 5.1.1 no such user\nR 2 OK END 250 2.6.0 taken\n+\n"},
    {"pipelining offered but not wanted", false, true,
     PIPE "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\n"
     "E WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"not pipelined, mixed recipients", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 450 4.2.0 later\n"
     "C RCPT TO:<r2@y.example>\nS 552 too many\nC RCPT TO:<r3@y.example>\nS 250 ok\nC DATA\nS 354 go\n"
     "E WANT_BODY\nD\nC .\nS 554 5.7.1 spam\nE JOB_DONE\nR 0 TEMPORARY RCPT 450 4.2.0 later\n"
     "R 1 TEMPORARY RCPT 552 4.5.3 too many\nR 2 PERMANENT END 554 5.7.1 spam\n+\n"},
    {"552 5.2.2 at RCPT is temporary", false, false,
     PLAIN
     "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 552 5.2.2 full\nE JOB_DONE\n"
     "R 0 TEMPORARY RCPT 552 4.2.2 full\n+\n"},
    {"552 at the end is permanent", false, false,
     PLAIN ONE "D\nC .\nS 552 5.3.4 too big\nE JOB_DONE\nR 0 PERMANENT END 552 5.3.4 too big\n+\n"},
    {"parameters of MAIL", false, false,
     HELLO("S 250-mx\nS 250-size 100000\nS 250-8bitmime\nS 250 smtputf8\n")
     "J 2\nC MAIL FROM:<> SIZE=1234 BODY=8BITMIME\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\n"
     "S 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\nJ 3\n"
     "C MAIL FROM:<a@x.example> SMTPUTF8\nS 250 ok\nC RCPT TO:<j\xc3\xbcrg@y.example>\nS 553 5.1.1 no\n"
     "E JOB_DONE\nR 0 PERMANENT RCPT 553 5.1.1 no\n"},
    {"keywords on the first line are none", false, false,
     HELLO("S 250-PIPELINING\nS 250 SIZE\n") "J 2\nC MAIL FROM:<> SIZE=1234\nX\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 0 4.4.2 closed the connection while waiting for the reply to MAIL FROM\n"},
    {"an 8-bit message goes as it is to a server without 8BITMIME", false, false,
     PLAIN
     "J 2\nC MAIL FROM:<>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
     "B \\xe4\\r\\n\nc \\xe4\\r\\n\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"a bare LF ends a reply too", false, false,
     "s 220 hi\\n\nC EHLO me.example\ns 250 mx\\n\nE READY\n+\n"},
    {"replies of several lines", false, false,
     PLAIN ONE "D\nC .\nS 554-5.7.1 first\nS 554-5.7.1 second\nS 554 5.7.1 third\nE JOB_DONE\n"
     "R 0 PERMANENT END 554 5.7.1 first\\nsecond\\nthird\n+\n"},

    /* the hello */
    {"HELO when EHLO is not known", false, false,
     "S 220 old\nC EHLO me.example\nS 500-PIPELINING\nS 500 SIZE 1\nC HELO me.example\nS 250-old\n"
     "S 250 PIPELINING\nE READY\n+\nJ 6\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nY\n"
     "E JOB_DONE\nE DEAD\nR 0 TEMPORARY RCPT 0 4.4.2 RCPT TO\n"},
    {"HELO refused", false, false,
     "S 220 old\nC EHLO me.example\nS 502 what\nC HELO me.example\nS 550 5.7.1 go away\nC QUIT\nS 221 bye\n"
     "E DEAD\nF PERMANENT HELLO 550 5.7.1 go away\n"},
    {"EHLO put off", false, false,
     "S 220 mx\nC EHLO me.example\nS 451 4.3.0 later\nC QUIT\nX\nE DEAD\n"
     "F TEMPORARY HELLO 451 4.3.0 later\n"},
    {"our own name is no reason to go when we did not look for it", false, false,
     "S 220 me.example\nC EHLO me.example\nS 250-me.example\nS 250 SIZE\nE READY\n+\n"},
    {"LHLO has no other form", true, false,
     "S 220 mx\nC LHLO me.example\nS 500 what\nC QUIT\nS 221 bye\nE DEAD\n"
     "F PERMANENT HELLO 500 5.0.0 what\n"},
    {"greeting refused", false, false,
     "S 554-5.7.1 no\nS 554 5.7.1 never\nL 10000\nC QUIT\nS 221 bye\nE DEAD\n"
     "F PERMANENT GREETING 554 5.7.1 no\\nnever\n-\n"},
    {"greeting put off, QUIT not answered", false, false,
     "S 450 4.3.2 busy\nC QUIT\nT 9999\n-\nT 1\nE DEAD\nF TEMPORARY GREETING 450 4.3.2 busy\n"},
    {"greeting with 421", false, false,
     "S 421 too many\nE DEAD\nF TEMPORARY GREETING 421 4.3.2 too many\n-\n"},
    {"421 to EHLO", false, false,
     "S 220 x\nC EHLO me.example\nS 421 4.7.0 no\nE DEAD\nF TEMPORARY HELLO 421 4.7.0 no\n"},
    {"354 as greeting", false, false,
     "S 354 go\nE DEAD\nF TEMPORARY GREETING 354 4.5.0 354 go\n"},
    {"220 to EHLO", false, false,
     "S 220 x\nC EHLO me.example\nS 220 y\nE DEAD\nF TEMPORARY HELLO 220 4.5.0 to EHLO can be: 220 y\n"},
    {"354 to EHLO", false, false,
     "S 220 x\nC EHLO me.example\nS 354 go\nE DEAD\nF TEMPORARY HELLO 354 4.5.0 EHLO\n"},
    {"closed before the greeting", false, false,
     "X\nE DEAD\n"
     "F TEMPORARY GREETING 0 4.4.2 closed the connection while waiting for the reply to the greeting\n"},
    {"broken at EHLO", false, false,
     "S 220 x\nC EHLO me.example\nY\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 EHLO\n"},
    {"closed before the first job", false, false,
     PLAIN "X\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 between two messages\n"},
    {"quit before the greeting", false, false,
     "Q\nE DEAD\nF TEMPORARY GREETING 0 4.3.2 given up here\n"},

    /* jobs that fail */
    {"MAIL refused", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 550 5.7.1 bad sender\nE JOB_DONE\n"
     "R 0 PERMANENT MAIL 550 5.7.1 bad\nR 1 PERMANENT MAIL 550 5.7.1 bad\n"
     "R 2 PERMANENT MAIL 550 5.7.1 bad\n+\nJ 0\nC MAIL FROM:<a@x.example>\nX\nE JOB_DONE\nE DEAD\n"},
    {"MAIL refused, the rest in flight", false, false,
     PIPE THREE_SENT "S 451 4.3.0 later\nS 503 no\nS 503 no\nS 503 no\nS 503 no\nE JOB_DONE\n"
     "R 0 TEMPORARY MAIL 451 4.3.0 later\nR 2 TEMPORARY MAIL 451 4.3.0 later\n+\nJ 0\n"
     "C MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"MAIL refused, DATA in flight taken", false, false,
     PIPE THREE_SENT "S 550 no\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nC .\nS 554 none\nE JOB_DONE\n"
     "R 1 PERMANENT MAIL 550 5.0.0 no\n+\n"},
    {"all recipients refused", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 a\n"
     "C RCPT TO:<r2@y.example>\nS 451 b\nC RCPT TO:<r3@y.example>\nS 551 c\nE JOB_DONE\n"
     "R 0 PERMANENT RCPT 550 5.0.0 a\nR 1 TEMPORARY RCPT 451 4.0.0 b\nR 2 PERMANENT RCPT 551 5.0.0 c\n+\n"
     "Q\nC QUIT\nX\nE DEAD\n"},
    {"all recipients refused, 354 all the same: a dot alone", false, false,
     PIPE THREE_SENT
     "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nL 600000\nS 554 no valid recipients\nE JOB_DONE\n"
     "R 0 PERMANENT RCPT 550 5.0.0 a\nR 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n+\n"
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"a dot alone that is even taken", false, false,
     PIPE THREE_SENT "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 0 PERMANENT RCPT 550 5.0.0 a\nR 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n+\n"},
    {"a dot alone that is never answered", false, false,
     PIPE THREE_SENT "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nX\nE JOB_DONE\nE DEAD\n"
     "R 0 PERMANENT RCPT 550 5.0.0 a\nR 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n-\n"},
    {"all refused and DATA too, then RSET goes along with the next job", false, false,
     PIPE
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 554 none\n"
     "E JOB_DONE\nR 0 PERMANENT RCPT 550 5.0.0 no\n+\nJ 0\nC RSET\nC MAIL FROM:<a@x.example>\n"
     "C RCPT TO:<r1@y.example>\nC DATA\nS 250 reset\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\n"
     "S 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\nJ 0\nC MAIL FROM:<a@x.example>\n"
     "C RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"RSET one at a time", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\n"
     "C RSET\nS 250 ok\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\n"
     "S 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n+\n"},
    {"RSET refused", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\n"
     "C RSET\nS 500 what\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 RSET\n-\n"},
    {"DATA put off", false, false,
     PLAIN "J 0\n"
     ONE_OPEN
     "S 451 4.3.1 full\nE JOB_DONE\nR 0 TEMPORARY DATA 451 4.3.1 full\n+\nJ 0\nC RSET\nX\nE JOB_DONE\n"
     "E DEAD\nR 0 TEMPORARY MAIL 0 4.4.2 RSET\n"},
    {"DATA refused in flight", false, false,
     PIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 550 b\nS 250 ok\nS 554 5.7.1 no\nE JOB_DONE\nR 0 PERMANENT DATA 554 5.7.1 no\n"
     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 PERMANENT DATA 554 5.7.1 no\n+\n"},
    {"too big for the server", false, false,
     PIPE
     "J 6\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.3.4 SIZE\n+\nJ 2\nC MAIL FROM:<> SIZE=1234 BODY=8BITMIME\n"
     "C RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE 0 and SIZE nonsense are no limits", false, false,
     HELLO("S 250-mx\nS 250-SIZE 7\nS 250-SIZE x1\nS 250 PIPELINING\n")
     "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE 0", false, false,
     HELLO("S 250-mx\nS 250 SIZE 0\n") "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE over 64 bits", false, false,
     HELLO("S 250-mx\nS 250 SIZE 99999999999999999999999\n")
     "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nX\nE JOB_DONE\nE DEAD\n"},
    {"SMTPUTF8 needed", false, false,
     PIPE "J 3\nE JOB_DONE\nR 0 PERMANENT RCPT 0 5.6.7 SMTPUTF8\n+\n"},
    {"SMTPUTF8 needed and not said", false, false,
     PIPE "J 7\nE JOB_DONE\nR 0 PERMANENT RCPT 0 5.6.7 SMTPUTF8\n+\n"},
    {"one of two recipients needs SMTPUTF8", false, false,
     PLAIN
     "J 9\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
     "D\nC .\nS 250 ok\nE JOB_DONE\nR 0 PERMANENT RCPT 0 5.6.7 recipient's\nR 1 OK END 250 2.0.0 ok\n"},
    {"the sender needs SMTPUTF8", false, false,
     PLAIN "J 10\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.6.7 sender's\n+\n"},
    {"an SMTPUTF8 message between ASCII addresses", false, false,
     HELLO("S 250-mx\nS 250 SMTPUTF8\n") "J 11\nC MAIL FROM:<a@x.example> SMTPUTF8\nX\nE JOB_DONE\nE DEAD\n"},
    {"an SMTPUTF8 message between ASCII addresses goes as it is where that is not offered", false, false,
     PLAIN "J 11\nC MAIL FROM:<a@x.example>\nX\nE JOB_DONE\nE DEAD\n"},
    {"addresses that can't be written", false, false,
     PIPE
     "J 4\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\n"
     "C RCPT TO:<\"a \\\\\" > b\"@y.example>\nC DATA\n"
     "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 0 OK END 250 2.0.0 ok\nR 1 PERMANENT RCPT 0 5.1.3 can't be written\n"
     "R 2 PERMANENT RCPT 0 5.1.3 can't\nR 3 PERMANENT RCPT 0 5.1.3 can't\nR 4 OK END 250 2.0.0 ok\n"
     "R 5 PERMANENT RCPT 0 5.1.3 can't\nR 6 PERMANENT RCPT 0 5.1.3 can't\n"
     "R 7 PERMANENT RCPT 0 5.1.3 can't\n+\n"},
    {"a sender that can't be written", false, false,
     PIPE "J 5\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.1.7 sender\n+\n"},
    {"nobody to write to", false, false,
     PIPE "J 8\nE JOB_DONE\nR 0 PERMANENT RCPT 0 5.1.3 can't\n+\n"},

    /* LMTP */
    {"LMTP, a reply for each recipient", true, false,
     LPIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 550 5.1.1 b\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 2.0.0 one\n-\n"
     "S 452 4.2.2 three\nE JOB_DONE\nR 0 OK END 250 2.0.0 one\nR 1 PERMANENT RCPT 550 5.1.1 b\n"
     "R 2 TEMPORARY END 452 4.2.2 three\n+\n"},
    {"LMTP, three fates", true, false,
     LPIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nB x\nD\nC x\nC .\nS 550 5.2.1 a\n"
     "S 250 b\nS 452 c\nE JOB_DONE\nR 0 PERMANENT END 550 5.2.1 a\nR 1 OK END 250 2.0.0 b\n"
     "R 2 TEMPORARY END 452 4.0.0 c\n+\n"},
    {"LMTP, closed between the replies", true, false,
     LPIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 a\nX\nE JOB_DONE\n"
     "E DEAD\nR 0 OK END 250 2.0.0 a\nR 1 TEMPORARY END 0 4.4.2 twice\nR 2 TEMPORARY END 0 4.4.2 twice\n-\n"},
    {"LMTP, 421 between the replies", true, false,
     LPIPE THREE_SENT
     "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 a\nS 421 stop\n"
     "E JOB_DONE\nE DEAD\nR 0 OK END 250 2.0.0 a\nR 1 TEMPORARY END 421 4.3.2 stop\n"
     "R 2 TEMPORARY END 421 4.3.2 stop\n"},
    {"LMTP, one reply too many", true, false,
     LPIPE
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
     "E WANT_BODY\nD\nC .\nS 250 a\nS 250 b\nE JOB_DONE\nE DEAD\nR 0 OK END 250 2.0.0 a\n-\n"},
    {"LMTP, 354 with no recipient", true, false,
     LPIPE
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 354 go\n"
     "E JOB_DONE\nE DEAD\nR 0 PERMANENT RCPT 550 5.0.0 no\n"},
    {"LMTP, none taken", true, false,
     LPIPE
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 503 none\n"
     "E JOB_DONE\nR 0 PERMANENT RCPT 550 5.0.0 no\n+\n"},

    /* 421 at each place */
    {"421 to MAIL", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 421 4.3.2 bye\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 421 4.3.2 bye\nR 2 TEMPORARY MAIL 421 4.3.2 bye\nF PENDING CONNECT 0 0.0.0 \n-\n"},
    {"421 among recipients", false, false,
     PIPE THREE_SENT "S 250 ok\nS 250 ok\nS 550 b\nS 421 bye\nS 354 go\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY RCPT 421 4.3.2 bye\nR 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 421 4.3.2 bye\n"},
    {"421 to DATA", false, false,
     PLAIN "J 0\n"
     ONE_OPEN "S 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 421 4.3.2 bye\n"},
    {"421 in the body", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 421 4.3.2 bye\nB y\nD\n"},
    {"421 at the end", false, false,
     PLAIN ONE "D\nC .\nS 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 421 4.3.2 bye\n"},
    {"421 to RSET", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\n"
     "C RSET\nS 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 421 4.3.2 bye\n"},
    {"421 between jobs", false, false,
     PLAIN ONE
     "D\nC .\nS 250 ok\nE JOB_DONE\n+\nS 421 idle too long\nE DEAD\n-\nF PENDING CONNECT 0 0.0.0 \n"
     "R 0 OK END 250 2.0.0 ok\n"},
    {"421 before the first job", false, false,
     PLAIN "S 421 4.3.2 idle\nE DEAD\nF TEMPORARY HELLO 421 4.3.2 idle\n"},
    {"421 to QUIT", false, false,
     PLAIN "Q\nC QUIT\nS 421 x\nE DEAD\nF PENDING CONNECT 0 0.0.0 \n"},

    /* servers that make no sense */
    {"354 to MAIL", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 354 go\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 354 4.5.0 no reply to MAIL FROM\n"},
    {"354 to RCPT", false, false,
     PLAIN
     "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 354 go\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY RCPT 354 4.5.0 RCPT TO\n"},
    {"250 to DATA", false, false,
     PLAIN "J 0\n"
     ONE_OPEN "S 250 sure\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 250 4.5.0 250 sure\n"},
    {"334 to DATA", false, false,
     PLAIN "J 0\n"
     ONE_OPEN "S 334 more\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 334 4.5.0 DATA\n"},
    {"354 at the end", false, false,
     PLAIN ONE "D\nC .\nS 354 more\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 354 4.5.0 the end of data\n"},
    {"codes out of range", false, false,
     "S 199 x\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP reply\n"},
    {"code 600", false, false,
     "S 600 x\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP reply\n"},
    {"no code", false, false,
     PLAIN
     "J 0\nC MAIL FROM:<a@x.example>\nS hello\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 no SMTP\n"},
    {"an empty line", false, false,
     "S \nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP\n"},
    {"codes that differ within a reply", false, false,
     "S 220-a\nS 250 b\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP\n"},
    {"nonsense at the end", false, false,
     PLAIN ONE "D\nC .\nS ok\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.5.0 twice\n"},
    {"control characters become harmless", false, false,
     PLAIN ONE
     "D\nC .\ns 550 5.7.1 a\\x00b\\x1bc\\xff\\r\\n\nE JOB_DONE\nR 0 PERMANENT END 550 5.7.1 a?b?c?\n+\n"},
    {"an enhanced code of another class", false, false,
     PLAIN ONE "D\nC .\nS 550 2.0.0 well\nE JOB_DONE\nR 0 PERMANENT END 550 5.0.0 2.0.0 well\n"},
    {"two greetings", false, false,
     "H\nS 220 a\nS 220 b\nE DEAD\nF TEMPORARY HELLO 0 4.5.0 out of step\nG\n"},
    {"a reply before the job", false, false,
     PLAIN "S 250 more\nE DEAD\nF TEMPORARY HELLO 0 4.5.0 out of step\n-\n"},
    {"a reply begun before the job", false, false,
     PLAIN "s 25\n-\nJ 0\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 out of step\n"},
    {"replies ahead of their commands", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nH\nS 250 ok\nS 250 ok\nS 354 go\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY RCPT 0 4.5.0 out of step\nG\n"},
    {"a reply to a command that has not left", false, false,
     PLAIN "H\nJ 0\nS 250 ok\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 out of step\nG\n"},
    {"a reply begun before its command has left", false, false,
     PLAIN "H\nJ 0\ns 25\nG\nC MAIL FROM:<a@x.example>\ns 0 ok\\r\\n\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 0 4.5.0 out of step\n"},
    {"an extra reply behind the last one", false, false,
     PLAIN ONE "D\nC .\nS 250 ok\nS 250 ok\nE JOB_DONE\nE DEAD\n-\nR 0 OK END 250 2.0.0 ok\n"},
    {"250 in the body is no promise", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 250 taken\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.5.0 out of step\n"},
    {"250 before the dot has left is no promise", false, false,
     PLAIN ONE
     "H\nB x\\r\\n\nD\nS 250 taken\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.5.0 out of step\nG\n"},
    {"a refusal in the body counts", false, false,
     PLAIN ONE
     "B x\\r\\n\nC x\nS 552 5.3.4 too big\nE JOB_DONE\nE DEAD\nR 0 PERMANENT DATA 552 5.3.4 too big\nB y\n"
     "D\n"},
    {"a refusal before the dot has left counts", false, false,
     PLAIN ONE
     "H\nB x\\r\\n\nD\nS 451 4.3.0 later\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 451 4.3.0 later\nG\n"},
    {"354 in the body", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 354 go\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.5.0 step\n"},
    {"words after the end", false, false,
     "S 421 no\nE DEAD\nS 250 what\nS nonsense\n-\nF TEMPORARY GREETING 421 4.3.2 no\nX\nT 999999\n"},
    {"a job for the dead", false, false,
     PLAIN "X\nE DEAD\nJ 0\nE JOB_DONE\nR 0 TEMPORARY MAIL 0 4.4.2 ended before\n-\nQ\n"},

    /* what we do */
    {"the body is given up", false, false,
     PLAIN ONE
     "B x\\r\\n\nC x\nA\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.0 could not be read\n-\nD\nA\n"},
    {"no dot follows a body given up that is still here", false, false,
     PLAIN ONE "H\nB x\\r\\n\nA\nG\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.0 could not be read\n"},
    {"quit in the middle", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nQ\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.2 given up here\n"},
    {"quit twice", false, false,
     PLAIN "Q\nC QUIT\nQ\nS 221 bye\nE DEAD\nQ\n"},
    {"closed at each place of a job", false, false,
     PLAIN ONE "D\nC .\nX\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.4.2 twice\n"},
    {"closed in the body", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nX\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.4.2 sending the message\n"},

    /* time: RFC 5321 4.5.3.2 */
    {"no greeting", false, false,
     "L 300000\nT 299999\nL 1\nT 1\nE DEAD\nF TEMPORARY GREETING 0 4.4.2 timed out after 300 s\nL -\n"},
    {"a greeting drop by drop", false, false,
     "T 100000\ns 2\nL 200000\nT 100000\ns 2\nL 100000\nT 100000\nE DEAD\n"
     "F TEMPORARY GREETING 0 4.4.2 timed out\n"},
    {"EHLO not answered", false, false,
     "S 220 x\nC EHLO me.example\nL 300000\nT 300000\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 EHLO\n"},
    {"no deadline without a job", false, false,
     PLAIN "L -\nT 99999999\n+\n"},
    {"MAIL not answered", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nL 300000\nT 300000\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 0 4.4.2 MAIL FROM\n"},
    {"RCPT not answered, each reply counts anew", false, false,
     PIPE THREE_SENT
     "T 200000\nS 250 ok\nL 300000\nT 200000\nS 250 ok\nL 300000\nT 200000\nS 550 b\nL 300000\nT 300000\n"
     "E JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY RCPT 0 4.4.2 timed out after 300 s while waiting for the reply to RCPT TO\n"
     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 0 4.4.2 RCPT TO\n"},
    {"DATA not answered", false, false,
     PLAIN "J 0\n"
     ONE_OPEN "L 120000\nT 120000\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY DATA 0 4.4.2 timed out after 120 s while waiting for the reply to DATA\n"},
    {"the body gets stuck", false, false,
     PLAIN ONE "L 180000\nT 100000\nB x\\r\\n\nC x\nL 180000\nT 180000\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY DATA 0 4.4.2 sending the message\n"},
    {"what is taken of the body counts", false, false,
     PLAIN ONE "H\nB x\\r\\n\nT 100000\nL 80000\nG\nC x\nL 180000\nX\nE JOB_DONE\nE DEAD\n"},
    {"the dot gets stuck", false, false,
     PLAIN ONE "H\nD\nL 180000\nT 180000\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.4.2 after 180 s\nG\n"},
    {"the end not answered", false, false,
     PLAIN ONE "D\nC .\nL 600000\nT 599999\nT 1\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY END 0 4.4.2 timed out after 600 s while waiting for the reply to the end of data; "
     "the server may have taken the message all the same, then it comes twice\n"},
    {"QUIT not answered", false, false,
     PLAIN "Q\nC QUIT\nL 10000\nT 10000\nE DEAD\nF PENDING CONNECT 0 0.0.0 \n"},
    /* what is passed on and what is not */
    {"DSN", false, false,
     HELLO("S 250-mx\nS 250-PIPELINING\nS 250 DSN\n")
     "J 12\nC MAIL FROM:<a@x.example> RET=HDRS ENVID=id+2B1\n"
     "C RCPT TO:<r1@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+2B1@z.example\n"
     "C RCPT TO:<r2@y.example> NOTIFY=NEVER ORCPT=utf-8;j\\x5cx{FC}r\\x5cx{2B}g@z.example\nC DATA\n"
     "S 250 ok\nS 250 ok\nS 550 no\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 0 OK END 250 2.0.0 ok\nK 0\nR 1 PERMANENT RCPT 550 5.0.0 no\nk 1\n"},
    {"DSN with SMTPUTF8", false, false,
     HELLO("S 250-mx\nS 250-PIPELINING\nS 250-SMTPUTF8\nS 250 DSN\n")
     "J 13\nC MAIL FROM:<a@x.example> SMTPUTF8 RET=HDRS ENVID=id+2B1\n"
     "C RCPT TO:<r1@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+2B1@z.example\n"
     "C RCPT TO:<r2@y.example> NOTIFY=NEVER ORCPT=utf-8;j\xc3\xbcr\\x5cx{2B}g@z.example\nC DATA\n"
     "S 250 ok\nS 550 no\nS 550 no\nS 503 no\nE JOB_DONE\n"},
    {"no DSN", false, false,
     PIPE "J 12\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC RCPT TO:<r2@y.example>\nC DATA\n"
     "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nk 0\nk 1\n"},
    {"BY with N", false, false,
     HELLO("S 250-mx\nS 250 DELIVERBY 3600\n")
     "J 14\nC MAIL FROM:<a@x.example> BY=60;NT\nS 550 no\nE JOB_DONE\nJ 15\n"
     "C MAIL FROM:<a@x.example> BY=-10;NT\nS 550 no\nE JOB_DONE\n"},
    {"BY with N is no matter where it is not offered", false, false,
     PLAIN "J 14\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\n"},
    {"BY with R", false, false,
     HELLO("S 250-mx\nS 250 DELIVERBY 120\n")
     "J 16\nC MAIL FROM:<a@x.example> BY=120;R\nS 550 no\nE JOB_DONE\nJ 17\nE JOB_DONE\n"
     "R 0 PERMANENT MAIL 0 5.4.7 is over\n+\n"},
    {"BY with R to a server that takes longer", false, false,
     HELLO("S 250-mx\nS 250 DELIVERBY 121\n") "J 16\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.3.3 less time\n+\n"},
    {"BY with R where it is not offered", false, false,
     PLAIN "J 16\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.3.3 does not offer DELIVERBY\n+\n"},
    {"BY with R by LMTP", true, false,
     "S 220 mx LMTP\nC LHLO me.example\nS 250 mx\nE READY\n"
     "J 16\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\nJ 17\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.4.7 is over\n+\n"},
    {"priority", false, false,
     HELLO("S 250-mx\nS 250 MT-PRIORITY MIXER\n")
     "J 18\nC MAIL FROM:<a@x.example> MT-PRIORITY=-3\nS 550 no\nE JOB_DONE\n"},
    {"FUTURERELEASE is ours", false, false,
     HELLO("S 250-mx\nS 250 FUTURERELEASE 1000 2030-01-01T00:00:00Z\n")
     "J 18\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\n"},
    {"REQUIRETLS", false, false,
     HELLO("S 250-mx\nS 250 REQUIRETLS\n") "J 19\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.7.30 REQUIRETLS\n+\n"},
    {"LIMITS", false, false,
     HELLO("S 250-mx\nS 250 LIMITS X=1 MAILMAX=2 rcptmax=2\n")
     "M 0\nJ 1\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\n"
     "C RCPT TO:<r2@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 1 OK END 250 2.0.0 ok\nR 2 TEMPORARY RCPT 0 4.5.3 RCPTMAX\nM 0\n"
     ONE "D\nC .\nS 250 ok\nE JOB_DONE\n+\nM 1\n"},
    {"LIMITS: a transaction that was refused counts too", false, false,
     HELLO("S 250-mx\nS 250 LIMITS MAILMAX=2\n")
     "J 1\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\nM 0\nJ 1\nC MAIL FROM:<a@x.example>\nS 451 no\nE JOB_DONE\n"
     "+\nM 1\n"},
    {"LIMITS that are none", false, false,
     HELLO("S 250-mx\nS 250 LIMITS RCPTMAX=0 MAILMAX=x RCPTDOMAINMAX=0 =\n") ONE
     "D\nC .\nS 250 ok\nE JOB_DONE\nM 0\nO x@other.example\n"},
    {"LIMITS: domains of recipients count for the whole connection", false, false,
     HELLO("S 250-mx\nS 250 LIMITS RcptDomainMax=2\n")
     "O x@any.example\nJ 26\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<a@one.example>\nS 250 ok\n"
     "C RCPT TO:<b@two.example>\nS 250 ok\nC RCPT TO:<\"@\"@ONE.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
     "D\nC .\nS 250 ok\nE JOB_DONE\nR 1 OK END 250 2.0.0 ok\nR 3 TEMPORARY RCPT 0 4.5.3 RCPTDOMAINMAX\n+\nM 0\n"
     "o x@any.example\no nobody\nO x@TWO.example\n"
     "J 27\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<b@two.example>\nS 250 ok\n"
     "C RCPT TO:<\"@\"@ONE.example>\nS 550 no\nC DATA\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 2 TEMPORARY RCPT 0 4.5.3 RCPTDOMAINMAX\n+\n"},
    {"LIMITS: with all domains over it nothing is sent", false, false,
     HELLO("S 250-mx\nS 250 LIMITS RCPTDOMAINMAX=1\n")
     ONE "D\nC .\nS 250 ok\nE JOB_DONE\no x@one.example\nJ 27\nE JOB_DONE\nR 0 TEMPORARY RCPT 0 4.5.3 RCPTDOMAINMAX\n+\n"},
    {"LIMITS: recipients over RCPTMAX bring no domain", false, false,
     HELLO("S 250-mx\nS 250 LIMITS RCPTMAX=1 RCPTDOMAINMAX=2\n")
     "J 26\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\nR 3 TEMPORARY RCPT 0 4.5.3 RCPTMAX\nO x@three.example\n"},

    /* callout */
    {"callout", false, false,
     HELLO("S 250-mx\nS 250-DSN\nS 250-8BITMIME\nS 250 PIPELINING\n")
     "J 20\nC MAIL FROM:<>\nC RCPT TO:<r1@y.example>\nC RCPT TO:<r2@y.example>\nC RCPT TO:<r3@y.example>\n"
     "C RSET\nS 250 ok\nS 250 2.1.5 here\nS 550 5.1.1 no\nS 451 later\nS 250 ok\nE JOB_DONE\n+\n"
     "R 0 OK RCPT 250 2.1.5 here\nR 1 PERMANENT RCPT 550 5.1.1 no\nR 2 TEMPORARY RCPT 451 4.0.0 later\n"
     THREE_SENT "S 550 no\nS 503 x\nS 503 x\nS 503 x\nS 503 x\nE JOB_DONE\n"},
    {"callout, the sender is refused", false, false,
     PLAIN "J 20\nC MAIL FROM:<>\nS 550 5.7.1 no bounces\nE JOB_DONE\n+\nR 2 PERMANENT MAIL 550 5.7.1 no bounces\n"},
    {"callout, lost before RSET", false, false,
     PLAIN "J 20\nC MAIL FROM:<>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC RCPT TO:<r2@y.example>\n"
     "S 250 ok\nC RCPT TO:<r3@y.example>\nS 250 ok\nC RSET\nX\nE JOB_DONE\nE DEAD\nR 0 OK RCPT 250 2.0.0 ok\n"},

    /* conversion */
    {"8-bit to a server without 8BITMIME", false, false,
     HELLO("S 250-mx\nS 250 SIZE 200\n")
     "J 21\nE WANT_CONVERSION\n-\nN 1\nL -\nV 150\nC MAIL FROM:<a@x.example> SIZE=150\nS 550 no\nE JOB_DONE\n+\n"
     "J 21\nE WANT_CONVERSION\nV 201\nE JOB_DONE\n+\nR 0 PERMANENT MAIL 0 5.3.4 SIZE\n"
     "J 21\nE WANT_CONVERSION\nW it is signed\nE JOB_DONE\n+\nR 0 PERMANENT MAIL 0 5.6.3 it is signed\n"},
    {"lost while it was converted", false, false,
     PLAIN "J 21\nE WANT_CONVERSION\nX\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.4.2 made ready\nV 100\n"},
    {"no conversion where none is needed", false, false,
     PIPE "J 21\nC MAIL FROM:<a@x.example> SIZE=100 BODY=8BITMIME\nC RCPT TO:<r1@y.example>\nC DATA\n"
     "S 250 ok\nS 550 no\nS 503 no\nE JOB_DONE\n"},
    {"binary to a server with 8BITMIME", false, false,
     PIPE "J 22\nE WANT_CONVERSION\nN 2\nV 120\nC MAIL FROM:<a@x.example> SIZE=120 BODY=8BITMIME\n"
     "C RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nB x\nD\nC x\nC .\n"
     "S 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"binary to a server with CHUNKING only", false, false,
     HELLO("S 250-mx\nS 250 CHUNKING\n") "J 22\nE WANT_CONVERSION\nN 3\nW no\nE JOB_DONE\nJ 24\nE JOB_DONE\n"
     "R 0 PERMANENT MAIL 0 5.6.3 BINARYMIME\n"},
    {"binary by BDAT", false, false,
     HELLO("S 250-mx\nS 250-CHUNKING\nS 250-PIPELINING\nS 250 BINARYMIME\n")
     "J 22\nC MAIL FROM:<a@x.example> BODY=BINARYMIME\nC RCPT TO:<r1@y.example>\nS 250 ok\nS 250 ok\nE WANT_BODY\n"
     "B .\\n.\\r\\x00\nC BDAT 5\nc .\\n.\\r\\x00\nB .\nC BDAT 1\nc .\nD\nS 250 5 octets\nS 250 1 octet\n"
     "C BDAT 0 LAST\nS 250 2.0.0 taken\nE JOB_DONE\n+\nR 0 OK END 250 2.0.0 taken\n"},
    {"BDAT, all recipients refused", false, false,
     HELLO("S 250-mx\nS 250-CHUNKING\nS 250-PIPELINING\nS 250 BINARYMIME\n")
     "J 22\nC MAIL FROM:<a@x.example> BODY=BINARYMIME\nC RCPT TO:<r1@y.example>\nS 250 ok\nS 550 no\nE JOB_DONE\n+\n"
     "R 0 PERMANENT RCPT 550 5.0.0 no\n"},
    {"BDAT, a chunk is refused", false, false,
     HELLO("S 250-mx\nS 250-CHUNKING\nS 250-PIPELINING\nS 250 BINARYMIME\n")
     "J 22\nC MAIL FROM:<a@x.example> BODY=BINARYMIME\nC RCPT TO:<r1@y.example>\nS 250 ok\nS 250 ok\nE WANT_BODY\n"
     "B x\nC BDAT 1\nc x\nS 552 5.3.4 too big\nE JOB_DONE\nE DEAD\nR 0 PERMANENT DATA 552 5.3.4 too big\n"},
    {"BDAT by LMTP", true, false,
     "S 220 mx LMTP\nC LHLO me.example\nS 250-mx\nS 250-CHUNKING\nS 250-PIPELINING\nS 250 BINARYMIME\nE READY\n"
     "J 25\nC MAIL FROM:<a@x.example> BODY=BINARYMIME\nC RCPT TO:<r1@y.example>\nC RCPT TO:<r2@y.example>\n"
     "C RCPT TO:<r3@y.example>\nS 250 ok\nS 250 ok\nS 550 no\nS 250 ok\nE WANT_BODY\nB x\nC BDAT 1\nc x\nD\n"
     "S 250 ok\nC BDAT 0 LAST\nS 250 one\nS 452 4.2.2 full\nE JOB_DONE\n+\nR 0 OK END 250 2.0.0 one\n"
     "R 1 PERMANENT RCPT 550 5.0.0 no\nR 2 TEMPORARY END 452 4.2.2 full\n"},
    {"SMTPUTF8 mail to a server without it", false, false,
     PIPE "J 23\nE WANT_CONVERSION\nN 4\nV 10\nC MAIL FROM:<a@x.example> SIZE=10\n"
     "C RCPT TO:<r1@xn--b-xka.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\n"
     "E JOB_DONE\nR 0 OK END 250 2.0.0 ok\nR 1 PERMANENT RCPT 0 5.6.7 not ASCII\n"
     "R 2 PERMANENT RCPT 0 5.6.7 not ASCII\n"},
    {"SMTPUTF8 mail to a server with it keeps its domains", false, false,
     HELLO("S 250-mx\nS 250 SMTPUTF8\n")
     "J 23\nC MAIL FROM:<a@x.example> SMTPUTF8\nS 250 ok\nC RCPT TO:<r1@b\xc3\xbc.example>\nX\nE JOB_DONE\nE DEAD\n"},

    /* LMTP answers for too few or too many */
    {"LMTP, an answer too few", true, false,
     LPIPE THREE_SENT "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 one\nS 550 two\n"
     "X\nE JOB_DONE\nE DEAD\nR 0 OK END 250 2.0.0 one\nR 1 PERMANENT END 550 5.0.0 two\n"
     "R 2 TEMPORARY END 0 4.4.2 closed\n"},
    {"LMTP, an answer too many", true, false,
     LPIPE "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
     "E WANT_BODY\nD\nC .\nS 250 one\nS 550 two\nE JOB_DONE\nE DEAD\n-\nR 0 OK END 250 2.0.0 one\n"},
};
/* clang-format on */
