#include "proto/smtp_client.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"
#include "wire/dotstuff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- scripts -------------------------------------------------------------------------------------------------------
 *
 * One step a line; \r \n \\ and \xHH are escapes in raw octets.
 *   S text   the server says a line           s text  the server sends raw octets
 *   C text   the client has said this line    c text  the client has sent these raw octets
 *   J n      job n of the table is given      E NAME  the next event is this one
 *   B text   octets of the body               D       the body ends            A   it is given up
 *   Q        quit                             X / Y   the connection ends / breaks
 *   H / G    hold / let go what is sent       T ms    the clock moves, tick
 *   L ms     the deadline is that far (- for none)
 *   R i OUTCOME STAGE CODE ESC text           the result of recipient i; its text holds that
 *   F OUTCOME STAGE CODE ESC text             the same for failure
 *   + / -    is ready for a job, is not
 */

struct script {
    const char *name;
    bool lmtp, no_pipelining;
    const char *text;
};

#define HELLO(...) "S 220 mx.example ESMTP\nC EHLO me.example\n" __VA_ARGS__ "E READY\n+\n"
#define PLAIN HELLO("S 250 mx.example\n")
#define PIPE HELLO("S 250-mx.example\nS 250-PIPELINING\nS 250-SIZE 5000\nS 250 8BITMIME\n")
#define LPIPE "S 220 mx LMTP\nC LHLO me.example\nS 250-mx\nS 250 PIPELINING\nE READY\n"
#define ONE_OPEN "C MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\n"
#define ONE "J 0\n" ONE_OPEN "S 354 go\nE WANT_BODY\n-\n"
#define THREE_SENT                                                                                                     \
    "J 1\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC RCPT TO:<r2@y.example>\nC RCPT TO:<r3@y.example>\n"    \
    "C DATA\n"

static const struct script scripts[] = {
    /* the way it should go */
    {"one message", false, false,
     PLAIN ONE "B hello\\r\\n.dot\\r\\n\nC hello\nC ..dot\nD\nC .\nS 250 2.0.0 queued as 1\nE JOB_DONE\n+\n"
               "R 0 OK END 250 2.0.0 queued as 1\nQ\nC QUIT\nS 221 bye\nE DEAD\n-\nF PENDING CONNECT 0 0.0.0 \n"},
    {"no enhanced code", false, false, PLAIN ONE "D\nC .\nS 250 fine\nE JOB_DONE\nR 0 OK END 250 2.0.0 fine\n+\n"},
    {"a body without a line end", false, false, PLAIN ONE "B hello\nD\nC hello\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"pipelined", false, false,
     PIPE THREE_SENT "S 250 ok\nS 250 ok\nS 550 5.1.1 no such user\nS 251 forwarded\nS 354 go\nE WANT_BODY\n"
                     "B x\\r\\n\nD\nC x\nC .\nS 250 2.6.0 taken\nE JOB_DONE\nR 0 OK END 250 2.6.0 taken\n"
                     "R 1 PERMANENT RCPT 550 5.1.1 no such user\nR 2 OK END 250 2.6.0 taken\n+\n"},
    {"pipelining offered but not wanted", false, true,
     PIPE "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
          "D\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"not pipelined, mixed recipients", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 450 4.2.0 later\n"
           "C RCPT TO:<r2@y.example>\nS 552 too many\nC RCPT TO:<r3@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
           "D\nC .\nS 554 5.7.1 spam\nE JOB_DONE\nR 0 TEMPORARY RCPT 450 4.2.0 later\n"
           "R 1 TEMPORARY RCPT 552 4.5.3 too many\nR 2 PERMANENT END 554 5.7.1 spam\n+\n"},
    {"552 5.2.2 at RCPT is temporary", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 552 5.2.2 full\nE JOB_DONE\n"
           "R 0 TEMPORARY RCPT 552 4.2.2 full\n+\n"},
    {"552 at the end is permanent", false, false,
     PLAIN ONE "D\nC .\nS 552 5.3.4 too big\nE JOB_DONE\nR 0 PERMANENT END 552 5.3.4 too big\n+\n"},
    {"parameters of MAIL", false, false,
     HELLO("S 250-mx\nS 250-size 100000\nS 250-8bitmime\nS 250 smtputf8\n") "J 2\n"
     "C MAIL FROM:<> SIZE=1234 BODY=8BITMIME\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
     "D\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\nJ 3\nC MAIL FROM:<a@x.example> SMTPUTF8\n"
     "S 250 ok\nC RCPT TO:<j\xc3\xbcrg@y.example>\nS 553 5.1.1 no\nE JOB_DONE\nR 0 PERMANENT RCPT 553 5.1.1 no\n"},
    {"keywords on the first line are none", false, false,
     HELLO("S 250-PIPELINING\nS 250 SIZE\n") "J 2\nC MAIL FROM:<> SIZE=1234\nX\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 0 4.4.2 closed the connection while waiting for the reply to MAIL FROM\n"},
    {"an 8-bit message goes as it is to a server without 8BITMIME", false, false,
     PLAIN "J 2\nC MAIL FROM:<>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\n"
           "B \\xe4\\r\\n\nc \\xe4\\r\\n\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"},
    {"a bare LF ends a reply too", false, false, "s 220 hi\\n\nC EHLO me.example\ns 250 mx\\n\nE READY\n+\n"},
    {"replies of several lines", false, false,
     PLAIN ONE "D\nC .\nS 554-5.7.1 first\nS 554-5.7.1 second\nS 554 5.7.1 third\nE JOB_DONE\n"
               "R 0 PERMANENT END 554 5.7.1 first\\nsecond\\nthird\n+\n"},

    /* the hello */
    {"HELO when EHLO is not known", false, false,
     "S 220 old\nC EHLO me.example\nS 500-PIPELINING\nS 500 SIZE 1\nC HELO me.example\nS 250-old\nS 250 PIPELINING\n"
     "E READY\n+\nJ 6\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\n"
     "Y\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY RCPT 0 4.4.2 RCPT TO\n"},
    {"HELO refused", false, false,
     "S 220 old\nC EHLO me.example\nS 502 what\nC HELO me.example\nS 550 5.7.1 go away\nC QUIT\nS 221 bye\nE DEAD\n"
     "F PERMANENT HELLO 550 5.7.1 go away\n"},
    {"EHLO put off", false, false,
     "S 220 mx\nC EHLO me.example\nS 451 4.3.0 later\nC QUIT\nX\nE DEAD\nF TEMPORARY HELLO 451 4.3.0 later\n"},
    {"LHLO has no other form", true, false,
     "S 220 mx\nC LHLO me.example\nS 500 what\nC QUIT\nS 221 bye\nE DEAD\nF PERMANENT HELLO 500 5.0.0 what\n"},
    {"greeting refused", false, false,
     "S 554-5.7.1 no\nS 554 5.7.1 never\nL 10000\nC QUIT\nS 221 bye\nE DEAD\nF PERMANENT GREETING 554 5.7.1 no\\nnever\n-\n"},
    {"greeting put off, QUIT not answered", false, false,
     "S 450 4.3.2 busy\nC QUIT\nT 9999\n-\nT 1\nE DEAD\nF TEMPORARY GREETING 450 4.3.2 busy\n"},
    {"greeting with 421", false, false, "S 421 too many\nE DEAD\nF TEMPORARY GREETING 421 4.3.2 too many\n-\n"},
    {"421 to EHLO", false, false, "S 220 x\nC EHLO me.example\nS 421 4.7.0 no\nE DEAD\nF TEMPORARY HELLO 421 4.7.0 no\n"},
    {"354 as greeting", false, false, "S 354 go\nE DEAD\nF TEMPORARY GREETING 354 4.5.0 354 go\n"},
    {"354 to EHLO", false, false, "S 220 x\nC EHLO me.example\nS 354 go\nE DEAD\nF TEMPORARY HELLO 354 4.5.0 EHLO\n"},
    {"closed before the greeting", false, false, "X\nE DEAD\nF TEMPORARY GREETING 0 4.4.2 closed the connection while waiting for the reply to the greeting\n"},
    {"broken at EHLO", false, false, "S 220 x\nC EHLO me.example\nY\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 EHLO\n"},
    {"closed before the first job", false, false, PLAIN "X\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 between two messages\n"},
    {"quit before the greeting", false, false, "Q\nE DEAD\nF TEMPORARY GREETING 0 4.3.2 given up here\n"},

    /* jobs that fail */
    {"MAIL refused", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 550 5.7.1 bad sender\nE JOB_DONE\nR 0 PERMANENT MAIL 550 5.7.1 bad\n"
           "R 1 PERMANENT MAIL 550 5.7.1 bad\nR 2 PERMANENT MAIL 550 5.7.1 bad\n+\nJ 0\nC MAIL FROM:<a@x.example>\nX\n"
           "E JOB_DONE\nE DEAD\n"},
    {"MAIL refused, the rest in flight", false, false,
     PIPE THREE_SENT "S 451 4.3.0 later\nS 503 no\nS 503 no\nS 503 no\nS 503 no\nE JOB_DONE\nR 0 TEMPORARY MAIL 451 4.3.0 later\n"
                     "R 2 TEMPORARY MAIL 451 4.3.0 later\n+\nJ 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\n"
                     "X\nE JOB_DONE\nE DEAD\n"},
    {"MAIL refused, DATA in flight taken", false, false,
     PIPE THREE_SENT "S 550 no\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nC .\nS 554 none\nE JOB_DONE\n"
                     "R 1 PERMANENT MAIL 550 5.0.0 no\n+\n"},
    {"all recipients refused", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 a\nC RCPT TO:<r2@y.example>\nS 451 b\n"
           "C RCPT TO:<r3@y.example>\nS 551 c\nE JOB_DONE\nR 0 PERMANENT RCPT 550 5.0.0 a\nR 1 TEMPORARY RCPT 451 4.0.0 b\n"
           "R 2 PERMANENT RCPT 551 5.0.0 c\n+\nQ\nC QUIT\nX\nE DEAD\n"},
    {"all recipients refused, 354 all the same: a dot alone", false, false,
     PIPE THREE_SENT "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nL 600000\nS 554 no valid recipients\nE JOB_DONE\n"
                     "R 0 PERMANENT RCPT 550 5.0.0 a\nR 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n+\n"
                     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"a dot alone that is even taken", false, false,
     PIPE THREE_SENT "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nS 250 ok\nE JOB_DONE\nR 0 PERMANENT RCPT 550 5.0.0 a\n"
                     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n+\n"},
    {"a dot alone that is never answered", false, false,
     PIPE THREE_SENT "S 250 ok\nS 550 a\nS 550 b\nS 451 c\nS 354 go\nC .\nX\nE JOB_DONE\nE DEAD\nR 0 PERMANENT RCPT 550 5.0.0 a\n"
                     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 451 4.0.0 c\n-\n"},
    {"all refused and DATA too, then RSET goes along with the next job", false, false,
     PIPE "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 554 none\nE JOB_DONE\n"
          "R 0 PERMANENT RCPT 550 5.0.0 no\n+\nJ 0\nC RSET\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\n"
          "S 250 reset\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"
          "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"RSET one at a time", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\nC RSET\nS 250 ok\n"
           "C MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\nD\nC .\n"
           "S 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n+\n"},
    {"RSET refused", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\nC RSET\nS 500 what\n"
           "E JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 RSET\n-\n"},
    {"DATA put off", false, false,
     PLAIN "J 0\n" ONE_OPEN "S 451 4.3.1 full\nE JOB_DONE\nR 0 TEMPORARY DATA 451 4.3.1 full\n+\nJ 0\nC RSET\nX\nE JOB_DONE\n"
           "E DEAD\nR 0 TEMPORARY MAIL 0 4.4.2 RSET\n"},
    {"DATA refused in flight", false, false,
     PIPE THREE_SENT "S 250 ok\nS 250 ok\nS 550 b\nS 250 ok\nS 554 5.7.1 no\nE JOB_DONE\nR 0 PERMANENT DATA 554 5.7.1 no\n"
                     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 PERMANENT DATA 554 5.7.1 no\n+\n"},
    {"too big for the server", false, false,
     PIPE "J 6\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.3.4 SIZE\n+\nJ 2\nC MAIL FROM:<> SIZE=1234 BODY=8BITMIME\n"
          "C RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE 0 and SIZE nonsense are no limits", false, false,
     HELLO("S 250-mx\nS 250-SIZE 7\nS 250-SIZE x1\nS 250 PIPELINING\n") "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\n"
     "C RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE 0", false, false,
     HELLO("S 250-mx\nS 250 SIZE 0\n") "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nX\nE JOB_DONE\nE DEAD\n"},
    {"SIZE over 64 bits", false, false,
     HELLO("S 250-mx\nS 250 SIZE 99999999999999999999999\n") "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nX\nE JOB_DONE\nE DEAD\n"},
    {"SMTPUTF8 needed", false, false, PIPE "J 3\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.6.7 SMTPUTF8\n+\n"},
    {"SMTPUTF8 needed and not said", false, false, PIPE "J 7\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.6.7 SMTPUTF8\n+\n"},
    {"addresses that can't be written", false, false,
     PIPE "J 4\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC RCPT TO:<\"a > b\"@y.example>\nC DATA\n"
          "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\nR 0 OK END 250 2.0.0 ok\n"
          "R 1 PERMANENT RCPT 0 5.1.3 can't be written\nR 2 PERMANENT RCPT 0 5.1.3 can't\nR 3 PERMANENT RCPT 0 5.1.3 can't\n"
          "R 4 OK END 250 2.0.0 ok\nR 5 PERMANENT RCPT 0 5.1.3 can't\nR 6 PERMANENT RCPT 0 5.1.3 can't\n"
          "R 7 PERMANENT RCPT 0 5.1.3 can't\n+\n"},
    {"a sender that can't be written", false, false, PIPE "J 5\nE JOB_DONE\nR 0 PERMANENT MAIL 0 5.1.7 sender\n+\n"},
    {"nobody to write to", false, false, PIPE "J 8\nE JOB_DONE\nR 0 PERMANENT RCPT 0 5.1.3 can't\n+\n"},

    /* LMTP */
    {"LMTP, a reply for each recipient", true, false,
     LPIPE THREE_SENT "S 250 ok\nS 250 ok\nS 550 5.1.1 b\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 2.0.0 one\n-\n"
                      "S 452 4.2.2 three\nE JOB_DONE\nR 0 OK END 250 2.0.0 one\nR 1 PERMANENT RCPT 550 5.1.1 b\n"
                      "R 2 TEMPORARY END 452 4.2.2 three\n+\n"},
    {"LMTP, three fates", true, false,
     LPIPE THREE_SENT "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nB x\nD\nC x\nC .\nS 550 5.2.1 a\n"
                      "S 250 b\nS 452 c\nE JOB_DONE\nR 0 PERMANENT END 550 5.2.1 a\nR 1 OK END 250 2.0.0 b\n"
                      "R 2 TEMPORARY END 452 4.0.0 c\n+\n"},
    {"LMTP, closed between the replies", true, false,
     LPIPE THREE_SENT "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 a\nX\nE JOB_DONE\nE DEAD\n"
                      "R 0 OK END 250 2.0.0 a\nR 1 TEMPORARY END 0 4.4.2 twice\nR 2 TEMPORARY END 0 4.4.2 twice\n-\n"},
    {"LMTP, 421 between the replies", true, false,
     LPIPE THREE_SENT "S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 a\nS 421 stop\nE JOB_DONE\n"
                      "E DEAD\nR 0 OK END 250 2.0.0 a\nR 1 TEMPORARY END 421 4.3.2 stop\nR 2 TEMPORARY END 421 4.3.2 stop\n"},
    {"LMTP, one reply too many", true, false,
     LPIPE "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nE WANT_BODY\nD\nC .\n"
           "S 250 a\nS 250 b\nE JOB_DONE\nE DEAD\nR 0 OK END 250 2.0.0 a\n-\n"},
    {"LMTP, 354 with no recipient", true, false,
     LPIPE "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 354 go\nE JOB_DONE\nE DEAD\n"
           "R 0 PERMANENT RCPT 550 5.0.0 no\n"},
    {"LMTP, none taken", true, false,
     LPIPE "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 250 ok\nS 550 no\nS 503 none\nE JOB_DONE\n"
           "R 0 PERMANENT RCPT 550 5.0.0 no\n+\n"},

    /* 421 at each place */
    {"421 to MAIL", false, false,
     PLAIN "J 1\nC MAIL FROM:<a@x.example>\nS 421 4.3.2 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 421 4.3.2 bye\n"
           "R 2 TEMPORARY MAIL 421 4.3.2 bye\nF PENDING CONNECT 0 0.0.0 \n-\n"},
    {"421 among recipients", false, false,
     PIPE THREE_SENT "S 250 ok\nS 250 ok\nS 550 b\nS 421 bye\nS 354 go\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY RCPT 421 4.3.2 bye\n"
                     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 421 4.3.2 bye\n"},
    {"421 to DATA", false, false,
     PLAIN "J 0\n" ONE_OPEN "S 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 421 4.3.2 bye\n"},
    {"421 in the body", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 421 4.3.2 bye\nB y\nD\n"},
    {"421 at the end", false, false, PLAIN ONE "D\nC .\nS 421 bye\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 421 4.3.2 bye\n"},
    {"421 to RSET", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\nJ 0\nC RSET\nS 421 bye\n"
           "E JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 421 4.3.2 bye\n"},
    {"421 between jobs", false, false,
     PLAIN ONE "D\nC .\nS 250 ok\nE JOB_DONE\n+\nS 421 idle too long\nE DEAD\n-\nF PENDING CONNECT 0 0.0.0 \nR 0 OK END 250 2.0.0 ok\n"},
    {"421 before the first job", false, false, PLAIN "S 421 4.3.2 idle\nE DEAD\nF TEMPORARY HELLO 421 4.3.2 idle\n"},
    {"421 to QUIT", false, false, PLAIN "Q\nC QUIT\nS 421 x\nE DEAD\nF PENDING CONNECT 0 0.0.0 \n"},

    /* servers that make no sense */
    {"354 to MAIL", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 354 go\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 354 4.5.0 no reply to MAIL FROM\n"},
    {"354 to RCPT", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 354 go\nE JOB_DONE\nE DEAD\n"
           "R 0 TEMPORARY RCPT 354 4.5.0 RCPT TO\n"},
    {"250 to DATA", false, false,
     PLAIN "J 0\n" ONE_OPEN "S 250 sure\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 250 4.5.0 250 sure\n"},
    {"334 to DATA", false, false, PLAIN "J 0\n" ONE_OPEN "S 334 more\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 334 4.5.0 DATA\n"},
    {"354 at the end", false, false,
     PLAIN ONE "D\nC .\nS 354 more\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 354 4.5.0 the end of data\n"},
    {"codes out of range", false, false, "S 199 x\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP reply\n"},
    {"code 600", false, false, "S 600 x\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP reply\n"},
    {"no code", false, false, PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS hello\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 no SMTP\n"},
    {"an empty line", false, false, "S \nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP\n"},
    {"codes that differ within a reply", false, false, "S 220-a\nS 250 b\nE DEAD\nF TEMPORARY GREETING 0 4.5.0 no SMTP\n"},
    {"nonsense at the end", false, false,
     PLAIN ONE "D\nC .\nS ok\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.5.0 twice\n"},
    {"control characters become harmless", false, false,
     PLAIN ONE "D\nC .\ns 550 5.7.1 a\\x00b\\x1bc\\xff\\r\\n\nE JOB_DONE\nR 0 PERMANENT END 550 5.7.1 a?b?c?\n+\n"},
    {"an enhanced code of another class", false, false,
     PLAIN ONE "D\nC .\nS 550 2.0.0 well\nE JOB_DONE\nR 0 PERMANENT END 550 5.0.0 2.0.0 well\n"},
    {"two greetings", false, false, "S 220 a\nS 220 b\nE DEAD\nF TEMPORARY HELLO 0 4.5.0 out of step\n"},
    {"a reply before the job", false, false, PLAIN "S 250 more\nE DEAD\nF TEMPORARY HELLO 0 4.5.0 out of step\n-\n"},
    {"a reply begun before the job", false, false,
     PLAIN "s 25\n-\nJ 0\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 out of step\n"},
    {"replies ahead of their commands", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nS 250 ok\nS 250 ok\nS 354 go\nE JOB_DONE\nE DEAD\n"
           "R 0 TEMPORARY RCPT 0 4.5.0 out of step\n"},
    {"a reply to a command that has not left", false, false,
     PLAIN "H\nJ 0\nS 250 ok\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 out of step\nG\n"},
    {"a reply begun before its command has left", false, false,
     PLAIN "H\nJ 0\ns 25\nG\nC MAIL FROM:<a@x.example>\ns 0 ok\\r\\n\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.5.0 out of step\n"},
    {"an extra reply behind the last one", false, false,
     PLAIN ONE "D\nC .\nS 250 ok\nS 250 ok\nE JOB_DONE\nE DEAD\n-\nR 0 OK END 250 2.0.0 ok\n"},
    {"250 in the body is no promise", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 250 taken\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.5.0 out of step\n"},
    {"250 before the dot has left is no promise", false, false,
     PLAIN ONE "H\nB x\\r\\n\nD\nS 250 taken\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.5.0 out of step\nG\n"},
    {"a refusal in the body counts", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nS 552 5.3.4 too big\nE JOB_DONE\nE DEAD\nR 0 PERMANENT DATA 552 5.3.4 too big\nB y\nD\n"},
    {"a refusal before the dot has left counts", false, false,
     PLAIN ONE "H\nB x\\r\\n\nD\nS 451 4.3.0 later\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 451 4.3.0 later\nG\n"},
    {"354 in the body", false, false, PLAIN ONE "B x\\r\\n\nC x\nS 354 go\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.5.0 step\n"},
    {"words after the end", false, false, "S 421 no\nE DEAD\nS 250 what\nS nonsense\n-\nF TEMPORARY GREETING 421 4.3.2 no\nX\nT 999999\n"},
    {"a job for the dead", false, false,
     PLAIN "X\nE DEAD\nJ 0\nE JOB_DONE\nR 0 TEMPORARY MAIL 0 4.4.2 ended before\n-\nQ\n"},

    /* what we do */
    {"the body is given up", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nA\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.0 could not be read\n-\nD\nA\n"},
    {"no dot follows a body given up that is still here", false, false,
     PLAIN ONE "H\nB x\\r\\n\nA\nG\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.0 could not be read\n"},
    {"quit in the middle", false, false,
     PLAIN ONE "B x\\r\\n\nC x\nQ\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.3.2 given up here\n"},
    {"quit twice", false, false, PLAIN "Q\nC QUIT\nQ\nS 221 bye\nE DEAD\nQ\n"},
    {"closed at each place of a job", false, false,
     PLAIN ONE "D\nC .\nX\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.4.2 twice\n"},
    {"closed in the body", false, false, PLAIN ONE "B x\\r\\n\nC x\nX\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.4.2 sending the message\n"},

    /* time: RFC 5321 4.5.3.2 */
    {"no greeting", false, false, "L 300000\nT 299999\nL 1\nT 1\nE DEAD\nF TEMPORARY GREETING 0 4.4.2 timed out after 300 s\nL -\n"},
    {"a greeting drop by drop", false, false, "T 100000\ns 2\nL 200000\nT 100000\ns 2\nL 100000\nT 100000\nE DEAD\nF TEMPORARY GREETING 0 4.4.2 timed out\n"},
    {"EHLO not answered", false, false, "S 220 x\nC EHLO me.example\nL 300000\nT 300000\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 EHLO\n"},
    {"no deadline without a job", false, false, PLAIN "L -\nT 99999999\n+\n"},
    {"MAIL not answered", false, false,
     PLAIN "J 0\nC MAIL FROM:<a@x.example>\nL 300000\nT 300000\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY MAIL 0 4.4.2 MAIL FROM\n"},
    {"RCPT not answered, each reply counts anew", false, false,
     PIPE THREE_SENT "T 200000\nS 250 ok\nL 300000\nT 200000\nS 250 ok\nL 300000\nT 200000\nS 550 b\nL 300000\nT 300000\nE JOB_DONE\n"
                     "E DEAD\nR 0 TEMPORARY RCPT 0 4.4.2 timed out after 300 s while waiting for the reply to RCPT TO\n"
                     "R 1 PERMANENT RCPT 550 5.0.0 b\nR 2 TEMPORARY RCPT 0 4.4.2 RCPT TO\n"},
    {"DATA not answered", false, false,
     PLAIN "J 0\n" ONE_OPEN "L 120000\nT 120000\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.4.2 timed out after 120 s while waiting for the reply to DATA\n"},
    {"the body gets stuck", false, false,
     PLAIN ONE "L 180000\nT 100000\nB x\\r\\n\nC x\nL 180000\nT 180000\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY DATA 0 4.4.2 sending the message\n"},
    {"the dot gets stuck", false, false, PLAIN ONE "H\nD\nL 180000\nT 180000\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.4.2 after 180 s\nG\n"},
    {"the end not answered", false, false,
     PLAIN ONE "D\nC .\nL 600000\nT 599999\nT 1\nE JOB_DONE\nE DEAD\nR 0 TEMPORARY END 0 4.4.2 timed out after 600 s while waiting for the reply to the end of data; the server may have taken the message all the same, then it comes twice\n"},
    {"QUIT not answered", false, false, PLAIN "Q\nC QUIT\nL 10000\nT 10000\nE DEAD\nF PENDING CONNECT 0 0.0.0 \n"},
};

/* ---- the runner ---------------------------------------------------------------------------------------------------- */

static const struct str r1[] = {STR_INIT("r1@y.example")};
static const struct str three[] = {STR_INIT("r1@y.example"), STR_INIT("r2@y.example"), STR_INIT("r3@y.example")};
static const struct str utf8[] = {STR_INIT("j\xc3\xbcrg@y.example")};
static const struct str odd[] = {
    STR_INIT("r1@y.example"),     STR_INIT("x@y\r\nRSET"),        {NULL, 0},
    STR_INIT("a b@y.example"),    STR_INIT("\"a > b\"@y.example"), STR_INIT("r> SIZE=1 <x@y.example"),
    STR_INIT("\"open@y.example"), STR_INIT("nul\0@y.example"),
};
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
};

static const char *const outcome_names[] = {"PENDING", "OK", "TEMPORARY", "PERMANENT"};
static const char *const stage_names[] = {"CONNECT", "GREETING", "HELLO", "MAIL", "RCPT", "DATA", "END", "QUIT"};
static const char *const event_names[] = {"?", "READY", "WANT_BODY", "JOB_DONE", "DEAD"};

struct run {
    const struct script *script;
    struct chunk_pool pool;
    struct smtp_client *c;
    uint64_t now_ms;
    size_t split;       /* the server's octets are cut here; SIZE_MAX: each octet alone; 0: nowhere */
    size_t sent_step;   /* octets a sent() */
    size_t n_fed;       /* octets of the server so far */
    bool is_held;
    char in_mem[4096];  /* the server's octets that wait */
    struct buf in;
    char out_mem[8192]; /* what the client sent and the script has not yet seen */
    struct buf out;
    enum smtp_client_event_kind events[8];
    size_t n_events;
};

static void take_events(struct run *r)
{
    enum smtp_client_event_kind ev;
    while (smtp_client_next(r->c, &ev)) {
        assert_true(r->n_events < ARRAY_LEN(r->events));
        r->events[r->n_events++] = ev;
    }
    smtp_client_invariants(r->c);
}

static void take_output(struct run *r)
{
    struct str out;
    while (!r->is_held && (out = smtp_client_output(r->c)).n > 0) {
        size_t n = out.n < r->sent_step ? out.n : r->sent_step;
        assert_true(buf_put(&r->out, str_of(out.p, n)));
        smtp_client_sent(r->c, n, r->now_ms);
        smtp_client_invariants(r->c);
    }
}

static void feed_piece(struct run *r, struct str piece)
{
    r->n_fed += piece.n;
    while (piece.n > 0) {
        size_t n = smtp_client_feed(r->c, piece, r->now_ms);
        assert_true(n <= piece.n);
        take_events(r);
        piece = str_skip(piece, n);
    }
    take_output(r);
}

/* Gives what the server has said so far, cut as this run wants it. */
static void feed_all(struct run *r)
{
    struct str in = buf_str(&r->in);
    while (in.n > 0) {
        size_t n = in.n;
        if (r->split == SIZE_MAX)
            n = 1;
        else if (r->split > r->n_fed && r->split - r->n_fed < n)
            n = r->split - r->n_fed;
        feed_piece(r, str_of(in.p, n));
        in = str_skip(in, n);
    }
    buf_reset(&r->in);
}

static unsigned hex(char ch)
{
    return ch >= 'a' ? (unsigned)(ch - 'a') + 10 : (unsigned)(ch - '0');
}

static void put_unescaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch == '\\') {
            assert_true(++i < s.n);
            ch = s.p[i] == 'r' ? '\r' : s.p[i] == 'n' ? '\n' : s.p[i];
            if (s.p[i] == 'x') {
                ch = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
                i += 2;
            }
        }
        assert_true(buf_putc(b, ch));
    }
}

static void expect_octets(struct run *r, struct str want)
{
    if (!str_starts(buf_str(&r->out), want))
        fail_msg("wanted '%.*s', the client sent '%.*s'", STR_FMT(want), STR_FMT(buf_str(&r->out)));
    buf_consume(&r->out, want.n);
}

static void expect_event(struct run *r, struct str name)
{
    if (r->n_events == 0 || !str_eq(str_from_c(event_names[r->events[0]]), name))
        fail_msg("wanted event %.*s, got %s", STR_FMT(name), r->n_events == 0 ? "none" : event_names[r->events[0]]);
    r->n_events--;
    memmove(r->events, r->events + 1, r->n_events * sizeof r->events[0]);
}

static void expect_result(const struct smtp_client_result *res, struct str want)
{
    char head_mem[128], want_mem[512], text_mem[SMTP_REPLY_TEXT_MAX];
    struct buf head, text, have;
    buf_init_fixed(&head, head_mem, sizeof head_mem);
    buf_printf(&head, "%s %s %u %u.%u.%u ", outcome_names[res->outcome], stage_names[res->stage], res->code,
               res->esc.class, res->esc.subject, res->esc.detail);
    buf_init_fixed(&text, want_mem, sizeof want_mem);
    buf_init_fixed(&have, text_mem, sizeof text_mem);
    buf_put(&have, res->text);
    bool same = str_starts(want, buf_str(&head));
    if (same)
        put_unescaped(&text, str_skip(want, head.n));
    if (!same || str_find(res->text, buf_str(&text)) == STR_NPOS)
        fail_msg("wanted '%.*s', got '%.*s%.*s'", STR_FMT(want), STR_FMT(buf_str(&head)), STR_FMT(buf_str(&have)));
}

static uint64_t number(struct str s)
{
    uint64_t n;
    assert_true(str_to_u64(s, UINT32_MAX, &n));
    return n;
}

static void give_body(struct run *r, struct str escaped)
{
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    put_unescaped(&b, escaped);
    size_t n = smtp_client_body(r->c, buf_str(&b), r->now_ms);
    /* a dead session takes nothing */
    assert_int_equal(n, smtp_client_deadline(r->c) == UINT64_MAX ? 0 : b.n);
}

static void expect_deadline(struct run *r, struct str arg)
{
    uint64_t due = smtp_client_deadline(r->c);
    if (str_eq(arg, STR("-")))
        assert_true(due == UINT64_MAX);
    else
        assert_int_equal(due - r->now_ms, number(arg));
}

static void do_act(struct run *r, char what, struct str arg)
{
    switch (what) {
    case 'J':
        smtp_client_job(r->c, &jobs[number(arg)], r->now_ms);
        break;
    case 'B':
        give_body(r, arg);
        break;
    case 'D':
        smtp_client_body_end(r->c, r->now_ms);
        break;
    case 'A':
        smtp_client_body_abort(r->c);
        break;
    case 'Q':
        smtp_client_quit(r->c, r->now_ms);
        break;
    case 'X':
        smtp_client_eof(r->c, ERR_CLOSED);
        break;
    case 'Y':
        smtp_client_eof(r->c, ERR_RESET);
        break;
    case 'T':
        r->now_ms += number(arg);
        smtp_client_tick(r->c, r->now_ms);
        break;
    default:
        fail_msg("no such step: %c", what);
    }
    take_events(r);
    take_output(r);
}

static void do_line(struct run *r, struct str line)
{
    char mem[1024], what = line.p[0];
    struct buf b;
    struct str arg = str_skip(line, 2);
    if (what == 'S' || what == 's') {
        put_unescaped(&r->in, arg);
        if (what == 'S')
            buf_puts(&r->in, "\r\n");
        return;
    }
    feed_all(r);
    buf_init_fixed(&b, mem, sizeof mem);
    switch (what) {
    case 'C':
    case 'c':
        put_unescaped(&b, arg);
        if (what == 'C')
            buf_puts(&b, "\r\n");
        expect_octets(r, buf_str(&b));
        break;
    case 'E':
        expect_event(r, arg);
        break;
    case 'R':
        expect_result(&smtp_client_results(r->c)[number(str_cut(&arg, ' '))], arg);
        break;
    case 'F':
        expect_result(smtp_client_failure(r->c), arg);
        break;
    case 'L':
        expect_deadline(r, arg);
        break;
    case '+':
        assert_true(smtp_client_is_ready(r->c));
        break;
    case '-':
        assert_false(smtp_client_is_ready(r->c));
        break;
    case 'H':
        r->is_held = true;
        break;
    case 'G':
        r->is_held = false;
        take_output(r);
        break;
    default:
        do_act(r, what, arg);
        break;
    }
}

/* Runs the script; gives the number of octets that the server said. */
static size_t run_script(const struct script *script, size_t split, size_t sent_step)
{
    struct run r = {.script = script, .now_ms = 5000, .split = split, .sent_step = sent_step};
    struct smtp_client_conf conf = {STR("me.example"), script->lmtp, script->no_pipelining};
    struct str text = str_from_c(script->text);
    chunk_pool_init(&r.pool, 4096, 64);
    buf_init_fixed(&r.in, r.in_mem, sizeof r.in_mem);
    buf_init_fixed(&r.out, r.out_mem, sizeof r.out_mem);
    r.c = smtp_client_new(&conf, &r.pool, r.now_ms);
    assert_non_null(r.c);
    while (text.n > 0)
        do_line(&r, str_cut(&text, '\n'));
    feed_all(&r);
    assert_int_equal(r.n_events, 0);
    if (r.out.n != 0)
        fail_msg("the script does not expect '%.*s'", STR_FMT(buf_str(&r.out)));
    smtp_client_del(&r.c);
    assert_null(r.c);
    chunk_pool_fini(&r.pool);
    return r.n_fed;
}

static void test_script(void **state)
{
    const struct script *s = *state;
    size_t n = run_script(s, 0, SIZE_MAX);
    run_script(s, SIZE_MAX, SIZE_MAX);
    run_script(s, SIZE_MAX, 1);
    run_script(s, 0, 7);
    for (size_t at = 1; at < n; at++)
        run_script(s, at, SIZE_MAX);
}

/* ---- bounds -------------------------------------------------------------------------------------------------------- */

struct talk { /* a client and what it has sent */
    struct chunk_pool pool;
    struct smtp_client *c;
    struct buf sent;
};

static void talk_init(struct talk *t, size_t n_chunks, struct str greeting)
{
    struct smtp_client_conf conf = {.helo = STR("me.example")};
    enum smtp_client_event_kind ev;
    chunk_pool_init(&t->pool, 4096, n_chunks);
    t->c = smtp_client_new(&conf, &t->pool, 1);
    assert_non_null(t->c);
    buf_init(&t->sent, 64 * 1024 * 1024);
    assert_int_equal(smtp_client_feed(t->c, STR("220 mx\r\n"), 1), 8);
    smtp_client_sent(t->c, smtp_client_output(t->c).n, 1);
    assert_int_equal(smtp_client_feed(t->c, greeting, 1), greeting.n);
    assert_true(smtp_client_next(t->c, &ev) && ev == SMTP_CLIENT_READY);
}

static void talk_fini(struct talk *t)
{
    smtp_client_del(&t->c);
    buf_fini(&t->sent);
    chunk_pool_fini(&t->pool);
}

static void talk_flush(struct talk *t, size_t n_max)
{
    struct str out = smtp_client_output(t->c);
    size_t n = out.n < n_max ? out.n : n_max;
    assert_true(out.n <= 64 * 1024);
    assert_true(buf_put(&t->sent, str_of(out.p, n)));
    smtp_client_sent(t->c, n, 1);
    smtp_client_invariants(t->c);
}

static void talk_feed(struct talk *t, struct str in)
{
    talk_flush(t, SIZE_MAX);
    assert_int_equal(smtp_client_feed(t->c, in, 1), in.n);
}

/* A body of many times the output, all dots: nothing is lost, nothing grows. */
static void test_large_body(void **state)
{
    enum { BODY_N = 1024 * 1024 };
    struct talk t;
    struct buf body, back;
    struct dot_decoder d;
    enum smtp_client_event_kind ev;
    UNUSED(state);
    buf_init(&body, BODY_N);
    buf_init(&back, BODY_N);
    while (body.n + 3 <= BODY_N)
        buf_put(&body, STR(".\r\n"));
    talk_init(&t, 64, STR("250 mx\r\n"));
    smtp_client_job(t.c, &jobs[0], 1);
    talk_feed(&t, STR("250 ok\r\n"));
    talk_feed(&t, STR("250 ok\r\n"));
    talk_feed(&t, STR("354 go\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_WANT_BODY);
    buf_reset(&t.sent);
    for (struct str rest = buf_str(&body); rest.n > 0; talk_flush(&t, 10007))
        rest = str_skip(rest, smtp_client_body(t.c, rest, 1));
    while (smtp_client_body(t.c, STR("\r\n"), 1) != 0) /* to the last octet of room: the end must wait */
        assert_true(buf_put(&back, STR("\r\n")));
    size_t n_tail = back.n;
    buf_reset(&back);
    assert_true(smtp_client_output(t.c).n > 64 * 1024 - 5);
    smtp_client_body_end(t.c, 1);
    while (smtp_client_output(t.c).n > 0)
        talk_flush(&t, 333);
    dot_decoder_init(&d);
    struct str in = buf_str(&t.sent), piece;
    while (!d.done) {
        size_t n = dot_decode(&d, in, &piece);
        assert_true(n > 0);
        in = str_skip(in, n);
        if (back.n < body.n)
            assert_true(buf_put(&back, piece));
        else
            n_tail -= piece.n;
    }
    assert_int_equal(in.n, 0);
    assert_true(str_eq(buf_str(&back), buf_str(&body)));
    talk_feed(&t, STR("250 ok\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    assert_int_equal(smtp_client_results(t.c)[0].outcome, SMTP_OUTCOME_OK);
    buf_fini(&body);
    buf_fini(&back);
    talk_fini(&t);
}

/* As many recipients as a job may have, each as long as it may be, in one pipelined go. */
static void test_many_recipients(void **state)
{
    static char mem[QUEUE_RCPTS_PER_ATTEMPT_MAX][SMTP_PATH_MAX];
    struct str rcpts[QUEUE_RCPTS_PER_ATTEMPT_MAX];
    struct smtp_client_job job = {.from = STR("a@x.example"), .rcpts = rcpts, .n_rcpts = ARRAY_LEN(rcpts)};
    struct talk t;
    struct buf replies;
    enum smtp_client_event_kind ev;
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        memset(mem[i], 'r', sizeof mem[i]);
        rcpts[i] = str_of(mem[i], sizeof mem[i]);
    }
    talk_init(&t, 64, STR("250-mx\r\n250 PIPELINING\r\n"));
    smtp_client_job(t.c, &job, 1);
    while (smtp_client_output(t.c).n > 0)
        talk_flush(&t, 1000);
    assert_true(str_ends(buf_str(&t.sent), STR(">\r\nDATA\r\n")));
    assert_int_equal(t.sent.n, STR("MAIL FROM:<a@x.example>\r\n").n + ARRAY_LEN(rcpts) * (SMTP_PATH_MAX + 12) + 6);
    buf_init(&replies, 1024 * 1024);
    buf_puts(&replies, "250 ok\r\n");
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++)
        buf_printf(&replies, "550-5.1.1 %01000d\r\n550 5.1.1 %01000d\r\n", 1, 2); /* more text than is kept */
    buf_puts(&replies, "554 none\r\n");
    talk_feed(&t, buf_str(&replies));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        const struct smtp_client_result *r = &smtp_client_results(t.c)[i];
        assert_true(r->outcome == SMTP_OUTCOME_PERMANENT && r->stage == SMTP_AT_RCPT);
        assert_true(r->text.n == SMTP_REPLY_TEXT_MAX || str_find(r->text, STR("lost")) != STR_NPOS);
    }
    assert_int_equal(smtp_client_results(t.c)[QUEUE_RCPTS_PER_ATTEMPT_MAX / 2].text.n, SMTP_REPLY_TEXT_MAX);
    smtp_client_invariants(t.c);
    buf_fini(&replies);
    talk_fini(&t);
}

/* No memory for texts: outcomes and codes stay right. */
static void test_no_memory_for_texts(void **state)
{
    struct talk t;
    enum smtp_client_event_kind ev;
    UNUSED(state);
    talk_init(&t, 0, STR("250 mx\r\n"));
    smtp_client_job(t.c, &jobs[0], 1);
    talk_feed(&t, STR("550 5.7.1 no\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    const struct smtp_client_result *r = smtp_client_results(t.c);
    assert_true(r->outcome == SMTP_OUTCOME_PERMANENT && r->code == 550 && r->esc.subject == 7);
    assert_true(str_find(r->text, STR("lost for lack of memory")) != STR_NPOS);
    smtp_client_job(t.c, &jobs[0], 1);
    smtp_client_eof(t.c, ERR_RESET);
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    assert_true(r->outcome == SMTP_OUTCOME_TEMPORARY && str_eq(r->text, str_from_c(err_str(ERR_RESET))));
    talk_fini(&t);
}

/* Lines and replies without end stop at the limits of base/limits.h. */
static void test_endless_banner(void **state)
{
    static const struct {
        struct str piece;
        size_t n_max;
    } rows[] = {
        {STR_INIT("x"), 2 * SMTP_REPLY_IN_LINE_MAX},
        {STR_INIT("2"), 2 * SMTP_REPLY_IN_LINE_MAX},
        {STR_INIT("220-hello\r\n"), 2 * SMTP_REPLY_IN_MAX},
        {STR_INIT("220-\n"), 2 * SMTP_REPLY_IN_MAX},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_client_conf conf = {.helo = STR("me.example")};
        struct chunk_pool pool;
        enum smtp_client_event_kind ev;
        chunk_pool_init(&pool, 4096, 64);
        struct smtp_client *c = smtp_client_new(&conf, &pool, 1);
        size_t n = 0;
        while (!smtp_client_next(c, &ev) && n < rows[i].n_max)
            n += smtp_client_feed(c, rows[i].piece, 1);
        assert_true(n < rows[i].n_max);
        assert_int_equal(ev, SMTP_CLIENT_DEAD);
        assert_int_equal(smtp_client_failure(c)->outcome, SMTP_OUTCOME_TEMPORARY);
        smtp_client_del(&c);
        chunk_pool_fini(&pool);
    }
}

static void test_names(void **state)
{
    UNUSED(state);
    for (unsigned i = SMTP_AT_CONNECT; i <= SMTP_AT_QUIT; i++)
        assert_true(str_from_c(smtp_client_stage_name((enum smtp_client_stage)i)).n > 0);
    assert_string_equal(smtp_client_stage_name(SMTP_AT_END), "end of data");
}
