/* prog/user_password.h: a new password: from a person at a terminal, from a program, or made here.
 *
 * Limits:   USER_PASSWORD_MIN to USER_PASSWORD_MAX octets in the form that SASLprep gives it (RFC 4013): what
 *           each mechanism of a login can carry.
 * Errors:   exit codes of sysexits(3); what went wrong was printed.
 * Security: never from the command line, which all users of a machine can read. The caller wipes it.
 */
#pragma once
#include "base/buf.h"

enum {
    USER_PASSWORD_MIN = 8,   /* NIST SP 800-63B 5.1.1.2 */
    USER_PASSWORD_MAX = 511, /* as crypt(3) takes */
};

/* Asks twice at the terminal, without echo. mem has USER_PASSWORD_MAX + 1 octets free and is not kept
 * anywhere else. `whose` is printed. */
int user_password_ask(struct str whose, struct buf *mem);
/* The first line of standard input. */
int user_password_read(struct buf *mem);
/* A random one of 100 bits that can be typed from paper: "k7qm-2x9r-...". */
int user_password_make(struct buf *mem);
