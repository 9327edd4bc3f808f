/* proto/smtp_client_tls_scripts.h: conversations with STARTTLS and AUTH, in the language of
 * smtp_client_scripts.h. Who logs in is "me" with "pw"; the nonce is 18 times 'n', the channel binding 32
 * times 'x'.
 */
#pragma once
#include "crypto/crypto.h"
#include "proto/smtp_client_scripts.h"

struct tls_script {
    const char *name;
    struct smtp_client_conf conf; /* helo is filled in, and the rest of login */
    const char *text;
};

static const struct smtp_client_secured verified_from_start = {.is_verified = true};
static const struct smtp_client_login any_login = {.allowed = 0};
static const struct smtp_client_login scram_login = {.allowed = SASL_BIT(SASL_SCRAM_SHA256)};
static const struct smtp_client_login certificate_login = {.by_certificate = true};
static const struct smtp_client_secured unverified_from_start = {.is_verified = false};

/* clang-format off */
#define MAY {.tls = SMTP_CLIENT_TLS_MAY}
#define LOGIN_MAY {.tls = SMTP_CLIENT_TLS_MAY, .login = &any_login}
#define LOGIN_MUST {.tls = SMTP_CLIENT_TLS_MUST, .login = &any_login}
#define EXTERNAL {.tls = SMTP_CLIENT_TLS_MUST, .login = &certificate_login}
#define MUST {.tls = SMTP_CLIENT_TLS_MUST}
#define CLEAR(...) "S 220 mx.example ESMTP\nC EHLO me.example\n" __VA_ARGS__
#define OFFERED CLEAR("S 250-mx.example\nS 250-SIZE 50\nS 250-PIPELINING\nS 250-REQUIRETLS\nS 250 starttls\n")
#define BEGUN OFFERED "C STARTTLS\nS 220 2.0.0 go\nE WANT_TLS\n-\nL -\n"
#define ENCRYPTED BEGUN "P\nC EHLO me.example\nS 250 mx.example\nE READY\n+\n"
#define ASKED(mechanisms) BEGUN "p\nC EHLO me.example\nS 250-mx\nS 250 AUTH " mechanisms "\n"
#define AUTH_PLAIN ASKED("PLAIN") "C AUTH PLAIN AG1lAHB3\n"
#define SCRAM_FIRST "S 334 cj1ibTV1Ym01dWJtNXVibTV1Ym01dWJtNXVzcnYscz1jMkZzZEE9PSxpPTQwOTY=\n"
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
    {"TLS from the start", {.tls = SMTP_CLIENT_TLS_MUST, .secured = &unverified_from_start}, OFFERED "E READY\n+\n"},

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
    {"REQUIRETLS, TLS from the start", {.secured = &verified_from_start},
     CLEAR("S 250-mx\nS 250 REQUIRETLS\n") "E READY\nJ 19\nC MAIL FROM:<a@x.example> REQUIRETLS\nS 550 no\nE JOB_DONE\n"},
    {"REQUIRETLS does not reach beyond this machine's own doors", {.is_near = true, .lmtp = true},
     "S 220 mx LMTP\nC LHLO me.example\nS 250 mx\nE READY\nJ 19\nC MAIL FROM:<a@x.example>\nS 550 no\nE JOB_DONE\n"},

    /* logins (RFC 4954) */
    {"AUTH PLAIN", LOGIN_MUST, ASKED("PLAIN LOGIN") "C AUTH PLAIN AG1lAHB3\nS 235 2.7.0 welcome\nE READY\n+\n"
     ONE "D\nC .\nS 250 ok\nE JOB_DONE\n+\nR 0 OK END 250 2.0.0 ok\n"},
    {"AUTH LOGIN", LOGIN_MUST, ASKED("LOGIN") "C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC bWU=\nS 334 UGFzc3dvcmQ6\nC cHc=\n"
     "S 235 ok\nE READY\n+\n"},
    {"AUTH as servers of old offer it", LOGIN_MUST, BEGUN "p\nC EHLO me.example\nS 250-mx\nS 250 AUTH=LOGIN PLAIN\n"
     "C AUTH PLAIN AG1lAHB3\nS 235 ok\nE READY\n"},
    {"AUTH SCRAM-SHA-256", LOGIN_MUST, ASKED("PLAIN SCRAM-SHA-256 XYZ")
     "C AUTH SCRAM-SHA-256 biwsbj1tZSxyPWJtNXVibTV1Ym01dWJtNXVibTV1Ym01dQ==\n" SCRAM_FIRST
     "C Yz1iaXdzLHI9Ym01dWJtNXVibTV1Ym01dWJtNXVibTV1c3J2LHA9eTJ1bURnS0NJZEVDOUFJS21zeThWOStXSUtkYTVRd3pzakVCQ3Y1SVZ6ND0=\n"
     "S 334 dj1XYVlyQzlCM25xZnNpWGh1YnFWalp1ampMbzBLandkOWx0Y1Z5Ui9WZXhjPQ==\nC \nS 235 ok\nE READY\n+\n"},
    {"AUTH SCRAM-SHA-256-PLUS", LOGIN_MUST, BEGUN "P\nC EHLO me.example\nS 250-mx\nS 250 AUTH PLAIN SCRAM-SHA-256-PLUS\n"
     "C AUTH SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49bWUscj1ibTV1Ym01dWJtNXVibTV1Ym01dWJtNXU=\n" SCRAM_FIRST
     "C Yz1jRDEwYkhNdFpYaHdiM0owWlhJc0xIaDRlSGg0ZUhoNGVIaDRlSGg0ZUhoNGVIaDRlSGg0ZUhoNGVIaDRlSGg0LHI9Ym01dWJtNXVibTV1Ym01"
     "dWJtNXVibTV1c3J2LHA9MjV4NnFteGZRUzlEZE9HQW5LYmF1bWZOaWNxbFcrRkZ1ME13em1JYUd6ST0=\n"
     "S 334 dj05ZXMrdzRpSGl6N1MxdE5kY0pqUUlTWXZoZjY3S0I5UUJmYnZmWU82cjlrPQ==\nC \nS 235 ok\nE READY\n+\n"},
    {"a server that proves nothing", LOGIN_MUST, ASKED("SCRAM-SHA-256")
     "C AUTH SCRAM-SHA-256 biwsbj1tZSxyPWJtNXVibTV1Ym01dWJtNXVibTV1Ym01dQ==\n" SCRAM_FIRST
     "C Yz1iaXdzLHI9Ym01dWJtNXVibTV1Ym01dWJtNXVibTV1c3J2LHA9eTJ1bURnS0NJZEVDOUFJS21zeThWOStXSUtkYTVRd3pzakVCQ3Y1SVZ6ND0=\n"
     "S 235 ok\n" ENDED "F TEMPORARY AUTH 0 4.7.5 did not prove\n"},
    {"a server that proves it knows another password", LOGIN_MUST, ASKED("SCRAM-SHA-256")
     "C AUTH SCRAM-SHA-256 biwsbj1tZSxyPWJtNXVibTV1Ym01dWJtNXVibTV1Ym01dQ==\n" SCRAM_FIRST
     "C Yz1iaXdzLHI9Ym01dWJtNXVibTV1Ym01dWJtNXVibTV1c3J2LHA9eTJ1bURnS0NJZEVDOUFJS21zeThWOStXSUtkYTVRd3pzakVCQ3Y1SVZ6ND0=\n"
     "S 334 dj05ZXMrdzRpSGl6N1MxdE5kY0pqUUlTWXZoZjY3S0I5UUJmYnZmWU82cjlrPQ==\nC *\nS 501 cancelled\n" ENDED
     "F TEMPORARY AUTH 0 4.7.5 \n"},
    {"AUTH EXTERNAL", EXTERNAL, ASKED("PLAIN SCRAM-SHA-256 EXTERNAL") "C AUTH EXTERNAL bWU=\nS 235 ok\nE READY\n+\n"},
    {"AUTH EXTERNAL is the only one with a certificate", EXTERNAL,
     ASKED("PLAIN SCRAM-SHA-256") ENDED "F TEMPORARY AUTH 0 4.7.4 AUTH EXTERNAL\n"},
    {"AUTH EXTERNAL refused", EXTERNAL, ASKED("EXTERNAL") "C AUTH EXTERNAL bWU=\nS 535 5.7.8 who?\n" ENDED
     "F TEMPORARY AUTH 535 4.7.8 who?\n"},
    {"AUTH EXTERNAL and a question more", EXTERNAL, ASKED("EXTERNAL") "C AUTH EXTERNAL bWU=\nS 334 \nC *\nS 501 x\n" ENDED
     "F TEMPORARY AUTH 0 4.7.5 \n"},
    {"AUTH EXTERNAL needs TLS on this machine, too", {.is_near = true, .login = &certificate_login},
     CLEAR("S 250-mx\nS 250 AUTH EXTERNAL\n") ENDED "F TEMPORARY AUTH 0 4.7.10 needs TLS\n"},
    {"AUTH on this machine needs no TLS", {.is_near = true, .login = &any_login},
     CLEAR("S 250-mx\nS 250 AUTH PLAIN\n") "C AUTH PLAIN AG1lAHB3\nS 235 ok\nE READY\n"},
    {"AUTH with TLS from the start", {.secured = &verified_from_start, .login = &any_login},
     CLEAR("S 250-mx\nS 250 AUTH PLAIN\n") "C AUTH PLAIN AG1lAHB3\nS 235 ok\nE READY\n"},
    {"AUTH of the clear does not count inside TLS", LOGIN_MUST,
     CLEAR("S 250-mx\nS 250-AUTH PLAIN\nS 250 STARTTLS\n") "C STARTTLS\nS 220 go\nE WANT_TLS\np\nC EHLO me.example\n"
     "S 250 mx\n" ENDED "F TEMPORARY AUTH 0 4.7.4 offers no login\n"},
    {"no AUTH in the clear", LOGIN_MAY,
     CLEAR("S 250-mx\nS 250 AUTH PLAIN SCRAM-SHA-256\n") ENDED "F TEMPORARY AUTH 0 4.7.10 needs TLS\n"},
    {"no AUTH after STARTTLS was refused", LOGIN_MAY,
     CLEAR("S 250-mx\nS 250-AUTH PLAIN\nS 250 STARTTLS\n") "C STARTTLS\nS 454 no\n" ENDED
     "F TEMPORARY AUTH 0 4.7.10 needs TLS\n"},
    {"no AUTH is offered", LOGIN_MUST, BEGUN "p\nC EHLO me.example\nS 250 mx\n" ENDED
     "F TEMPORARY AUTH 0 4.7.4 offers no login\n"},
    {"none that fits", LOGIN_MUST, ASKED("XOAUTH2 OAUTHBEARER EXTERNAL") ENDED "F TEMPORARY AUTH 0 4.7.4 fits what is known\n"},
    {"none that may be", {.tls = SMTP_CLIENT_TLS_MUST, .login = &scram_login}, ASKED("PLAIN LOGIN") ENDED "F TEMPORARY AUTH 0 4.7.4 fits what is known\n"},

    /* the server refuses, at each step */
    {"535", LOGIN_MUST, AUTH_PLAIN "S 535 5.7.8 no such user\n" ENDED "F TEMPORARY AUTH 535 4.7.8 no such user\n"},
    {"535 without an enhanced code", LOGIN_MUST, AUTH_PLAIN "S 535 no\n" ENDED "F TEMPORARY AUTH 535 4.7.8 no\n"},
    {"454", LOGIN_MUST, AUTH_PLAIN "S 454 4.7.0 the database is away\n" ENDED "F TEMPORARY AUTH 454 4.7.0 away\n"},
    {"534", LOGIN_MUST, AUTH_PLAIN "S 534 too weak\n" ENDED "F TEMPORARY AUTH 534 4.7.9 too weak\n"},
    {"538", LOGIN_MUST, AUTH_PLAIN "S 538 TLS first\n" ENDED "F TEMPORARY AUTH 538 4.7.11 TLS first\n"},
    {"500", LOGIN_MUST, AUTH_PLAIN "S 500 what\n" ENDED "F TEMPORARY AUTH 500 4.7.0 what\n"},
    {"421 to AUTH", LOGIN_MUST, AUTH_PLAIN "S 421 4.7.0 too many\nE DEAD\nF TEMPORARY AUTH 421 4.7.0 too many\n"},
    {"250 to AUTH", LOGIN_MUST, AUTH_PLAIN "S 250 ok\nE DEAD\nF TEMPORARY AUTH 250 4.5.0 no reply to AUTH\n"},
    {"354 to AUTH", LOGIN_MUST, AUTH_PLAIN "S 354 ok\nE DEAD\nF TEMPORARY AUTH 354 4.5.0 no reply to AUTH\n"},
    {"a challenge too many", LOGIN_MUST, AUTH_PLAIN "S 334 \nC *\nS 501 5.7.0 cancelled\n" ENDED
     "F TEMPORARY AUTH 0 4.7.5 \n"},
    {"a challenge that is not in base64", LOGIN_MUST, ASKED("LOGIN") "C AUTH LOGIN\nS 334 Username:\nC *\nS 501 x\n" ENDED
     "F TEMPORARY AUTH 0 4.7.5 not in base64\n"},
    {"a challenge of two lines", LOGIN_MUST,
     ASKED("LOGIN") "C AUTH LOGIN\nS 334-VXNlcm5hbWU6\nS 334 VXNlcm5hbWU6\nC *\nS 501 x\n" ENDED
     "F TEMPORARY AUTH 0 4.7.5 not in base64\n"},
    {"refused between the challenges", LOGIN_MUST,
     ASKED("LOGIN") "C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC bWU=\nS 535 5.7.8 no\n" ENDED
     "F TEMPORARY AUTH 535 4.7.8 no\n"},
    {"let in after a cancellation", LOGIN_MUST,
     ASKED("LOGIN") "C AUTH LOGIN\nS 334 Username:\nC *\nS 235 welcome\nE DEAD\nF TEMPORARY AUTH 235 4.5.0 no reply\n"},
    {"asked on after a cancellation", LOGIN_MUST,
     ASKED("LOGIN") "C AUTH LOGIN\nS 334 Username:\nC *\nS 334 go on\nE DEAD\nF TEMPORARY AUTH 334 4.5.0 no reply\n"},
    {"SCRAM, a nonce that is not ours", LOGIN_MUST, ASKED("SCRAM-SHA-256")
     "C AUTH SCRAM-SHA-256 biwsbj1tZSxyPWJtNXVibTV1Ym01dWJtNXVibTV1Ym01dQ==\nS 334 cj14LHM9YzJGc2RBPT0saT00MDk2\nC *\n"
     "S 501 x\n" ENDED "F TEMPORARY AUTH 0 4.7.5 \n"},
    {"silence at AUTH", LOGIN_MUST, AUTH_PLAIN "L 300000\nT 300000\nE DEAD\nF TEMPORARY AUTH 0 4.4.2 reply to AUTH\n"},
    {"closed at AUTH", LOGIN_MUST, AUTH_PLAIN "X\nE DEAD\nF TEMPORARY AUTH 0 4.4.2 reply to AUTH\n"},
    {"broken between the challenges", LOGIN_MUST,
     ASKED("LOGIN") "C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC bWU=\nY\nE DEAD\nF TEMPORARY AUTH 0 4.4.2 reply to AUTH\n"},
    {"garbage at AUTH", LOGIN_MUST, AUTH_PLAIN "S hello\nE DEAD\nF TEMPORARY AUTH 0 4.5.0 no SMTP reply\n"},
    {"235 before AUTH was out", {.is_near = true, .login = &any_login},
     "S 220 mx.example ESMTP\nC EHLO me.example\nH\nS 250-mx\nS 250 AUTH PLAIN\nS 235 ok\nE DEAD\n"
     "F TEMPORARY AUTH 0 4.5.0 out of step\n"},
    {"given up at AUTH", LOGIN_MUST, AUTH_PLAIN "Q\nE DEAD\nF TEMPORARY AUTH 0 4.3.2 given up here\n"},
};
/* clang-format on */
