/* proto/smtp_client_tls_scripts.h: conversations with STARTTLS, in the language of smtp_client_scripts.h. */
#pragma once
#include "proto/smtp_client_scripts.h"

struct tls_script {
    const char *name;
    struct smtp_client_conf conf; /* helo is filled in */
    const char *text;
};

/* clang-format off */
#define MAY {.tls = SMTP_CLIENT_TLS_MAY}
#define MUST {.tls = SMTP_CLIENT_TLS_MUST}
#define CLEAR(...) "S 220 mx.example ESMTP\nC EHLO me.example\n" __VA_ARGS__
#define OFFERED CLEAR("S 250-mx.example\nS 250-SIZE 50\nS 250-PIPELINING\nS 250-REQUIRETLS\nS 250 starttls\n")
#define BEGUN OFFERED "C STARTTLS\nS 220 2.0.0 go\nE WANT_TLS\n-\nL -\n"
#define ENCRYPTED BEGUN "P\nC EHLO me.example\nS 250 mx.example\nE READY\n+\n"
#define ENDED "C QUIT\nS 221 bye\nE DEAD\n-\n"

static const struct tls_script tls_scripts[] = {
    /* the way it should go */
    {"STARTTLS where it may be", MAY, ENCRYPTED ONE "D\nC .\nS 250 ok\nE JOB_DONE\n+\nR 0 OK END 250 2.0.0 ok\n"},
    {"STARTTLS where it must be", MUST, ENCRYPTED "Q\n" ENDED "F PENDING CONNECT 0 0.0.0 \n"},
    {"STARTTLS by LMTP", {.lmtp = true, .tls = SMTP_CLIENT_TLS_MUST},
     "S 220 mx LMTP\nC LHLO me.example\nS 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nE WANT_TLS\np\n"
     "C LHLO me.example\nS 250-mx\nS 250 STARTTLS\nE READY\n+\n"},
    {"offered and not wanted", {.tls = SMTP_CLIENT_TLS_NONE}, OFFERED "E READY\n+\n"},
    {"not offered where it may be", MAY, CLEAR("S 250-mx\nS 250 SIZE\n") "E READY\n+\n"},
    {"not offered where it must be", MUST,
     CLEAR("S 250-mx\nS 250 SIZE\n") ENDED "F TEMPORARY TLS 0 4.7.4 does not offer STARTTLS\n"},
    {"a server without EHLO where TLS must be", MUST,
     CLEAR("S 502 what\n") "C HELO me.example\nS 250-mx\nS 250 STARTTLS\n" ENDED "F TEMPORARY TLS 0 4.7.4 TLS is required\n"},
    {"the first line of EHLO is no offer", MUST,
     CLEAR("S 250 STARTTLS\n") ENDED "F TEMPORARY TLS 0 4.7.4 TLS is required\n"},
    {"TLS from the start", {.tls = SMTP_CLIENT_TLS_MUST, .is_encrypted = true}, OFFERED "E READY\n+\n"},

    /* what was learnt in the clear is forgotten */
    {"offers and limits of before do not count", MAY,
     BEGUN "p\nC EHLO me.example\nS 250-mx.example\nS 250 8BITMIME\nE READY\n"
     "J 6\nC MAIL FROM:<a@x.example>\nS 250 ok\nC RCPT TO:<r1@y.example>\nS 550 no\nE JOB_DONE\n"},
    {"offers of after count", MAY,
     BEGUN "p\nC EHLO me.example\nS 250-mx.example\nS 250-PIPELINING\nS 250 SIZE 6000\nE READY\n"
     "J 6\nC MAIL FROM:<a@x.example> SIZE=5001\nC RCPT TO:<r1@y.example>\nC DATA\nX\nE JOB_DONE\nE DEAD\n"
     "R 0 TEMPORARY MAIL 0 4.4.2 closed\n"},
    {"STARTTLS is not said twice", MUST,
     BEGUN "p\nC EHLO me.example\nS 250-mx.example\nS 250 STARTTLS\nE READY\n+\n"},
    {"our own name inside TLS", {.tls = SMTP_CLIENT_TLS_MAY, .is_mx = true},
     BEGUN "p\nC EHLO me.example\nS 250 ME.example\n" ENDED "F PERMANENT HELLO 0 5.4.6 this server\n"},

    /* the hello inside TLS */
    {"EHLO refused inside TLS", MUST,
     BEGUN "p\nC EHLO me.example\nS 550 5.7.1 go away\nC HELO me.example\nS 550 5.7.1 go away\n" ENDED
     "F PERMANENT HELLO 550 5.7.1 go away\n"},
    {"EHLO put off inside TLS", MUST,
     BEGUN "p\nC EHLO me.example\nS 451 4.3.0 later\n" ENDED "F TEMPORARY HELLO 451 4.3.0 later\n"},
    {"a greeting inside TLS", MUST,
     BEGUN "p\nS 220 mx\nE DEAD\nC EHLO me.example\nF TEMPORARY HELLO 220 4.5.0 no reply to EHLO\n"},
    {"closed inside TLS", MUST, BEGUN "p\nC EHLO me.example\nX\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 closed\n"},
    {"silent inside TLS", MUST, BEGUN "p\nC EHLO me.example\nL 300000\nT 300000\nE DEAD\nF TEMPORARY HELLO 0 4.4.2 timed out\n"},

    /* STARTTLS is refused, or nobody knows */
    {"454 where it may be", MAY, OFFERED "C STARTTLS\nS 454 4.7.0 not now\nE READY\n+\n"
     "J 0\nC MAIL FROM:<a@x.example>\nC RCPT TO:<r1@y.example>\nC DATA\nS 550 no\nS 503 x\nS 503 x\nE JOB_DONE\n"},
    {"501 where it may be", MAY, OFFERED "C STARTTLS\nS 501 what\nE READY\n+\n"},
    {"454 where it must be", MUST,
     OFFERED "C STARTTLS\nS 454 4.3.0 not now\n" ENDED "F TEMPORARY TLS 454 4.7.5 not now\n"},
    {"501 where it must be", MUST, OFFERED "C STARTTLS\nS 501 5.5.4 what\n" ENDED "F TEMPORARY TLS 501 4.7.5 what\n"},
    {"550 where it must be", MUST, OFFERED "C STARTTLS\nS 550 5.7.1 never\nC QUIT\nX\nE DEAD\nF TEMPORARY TLS 550 4.7.5 never\n"},
    {"421 to STARTTLS", MAY, OFFERED "C STARTTLS\nS 421 4.3.2 bye\nE DEAD\nF TEMPORARY TLS 421 4.3.2 bye\n"},
    {"250 to STARTTLS", MAY, OFFERED "C STARTTLS\nS 250 ok\nE DEAD\nF TEMPORARY TLS 250 4.5.0 no reply to STARTTLS\n"},
    {"334 to STARTTLS", MUST, OFFERED "C STARTTLS\nS 334 ok\nE DEAD\nF TEMPORARY TLS 334 4.5.0 no reply to STARTTLS\n"},
    {"garbage to STARTTLS", MUST, OFFERED "C STARTTLS\ns \\x16\\x03\\x01\\r\\n\nE DEAD\nF TEMPORARY TLS 0 4.5.0 no SMTP reply\n"},
    {"closed at STARTTLS", MUST, OFFERED "C STARTTLS\nX\nE DEAD\nF TEMPORARY TLS 0 4.4.2 reply to STARTTLS\n"},
    {"broken at STARTTLS", MAY, OFFERED "C STARTTLS\nY\nE DEAD\nF TEMPORARY TLS 0 4.4.2 reply to STARTTLS\n"},
    {"silence at STARTTLS", MAY,
     OFFERED "C STARTTLS\nL 300000\nT 299999\nT 1\nE DEAD\nF TEMPORARY TLS 0 4.4.2 timed out after 300 s\n"},
    {"220 before STARTTLS was out", MAY,
     "S 220 mx.example ESMTP\nC EHLO me.example\nH\nS 250-mx\nS 250 STARTTLS\nS 220 go\nE DEAD\n"
     "F TEMPORARY TLS 0 4.5.0 out of step\n"},

    /* somebody in between (RFC 3207 4.2 and 6) */
    {"a reply behind the 220", MAY,
     OFFERED "C STARTTLS\nS 220 go\nS 250 SIZE\nE WANT_TLS\nE DEAD\n-\nF TEMPORARY TLS 0 4.7.5 in the clear\np\n"},
    {"an octet behind the 220", MUST,
     OFFERED "C STARTTLS\nS 220 go\ns \\x00\nE WANT_TLS\nE DEAD\nU no\nF TEMPORARY TLS 0 4.7.5 in the clear\n"},
    {"a line of a 220 too many", MUST,
     OFFERED "C STARTTLS\nS 220-go\nS 220 go\ns \\n\nE WANT_TLS\nE DEAD\nF TEMPORARY TLS 0 4.7.5 in the clear\n"},

    /* the handshake fails */
    {"the handshake fails", MAY,
     BEGUN "U certificate has expired\nE DEAD\n-\nF TEMPORARY TLS 0 4.7.5 established: certificate has expired\n"},
    {"closed in the handshake", MAY, BEGUN "X\nE DEAD\nF TEMPORARY TLS 0 4.4.2 while TLS was to begin\np\n"},
    {"given up in the handshake", MUST, BEGUN "Q\nE DEAD\nF TEMPORARY TLS 0 4.3.2 given up here\nU no\n"},

    /* REQUIRETLS (RFC 8689) */
    {"REQUIRETLS, verified and offered", MUST,
     BEGUN "P\nC EHLO me.example\nS 250-mx\nS 250 REQUIRETLS\nE READY\nJ 19\nC MAIL FROM:<a@x.example> REQUIRETLS\n"
     "S 250 ok\nC RCPT TO:<r1@y.example>\nS 250 ok\nC DATA\nS 354 go\nE WANT_BODY\nD\nC .\nS 250 ok\nE JOB_DONE\n"
     "R 0 OK END 250 2.0.0 ok\n"},
    {"REQUIRETLS, verified and not offered inside TLS", MUST,
     ENCRYPTED "J 19\nE JOB_DONE\n+\nR 0 PERMANENT MAIL 0 5.7.30 does not offer REQUIRETLS\n"},
    {"REQUIRETLS, not verified", MUST,
     BEGUN "p\nC EHLO me.example\nS 250-mx\nS 250 REQUIRETLS\nE READY\nJ 19\nE JOB_DONE\n+\n"
     "R 0 PERMANENT MAIL 0 5.7.30 could not be verified\n"},
    {"REQUIRETLS in the clear", MAY,
     OFFERED "C STARTTLS\nS 454 no\nE READY\nJ 19\nE JOB_DONE\n+\nR 0 PERMANENT MAIL 0 5.7.30 has none\n"},
    {"REQUIRETLS, TLS from the start", {.is_encrypted = true, .is_verified = true},
     CLEAR("S 250-mx\nS 250 REQUIRETLS\n") "E READY\nJ 19\nC MAIL FROM:<a@x.example> REQUIRETLS\nS 550 no\nE JOB_DONE\n"},
    {"REQUIRETLS does not reach beyond this machine's own doors", {.is_near = true, .lmtp = true},
     "S 220 mx LMTP\nC LHLO me.example\nS 250 mx\nE READY\nJ 19\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\n"},
};
/* clang-format on */
