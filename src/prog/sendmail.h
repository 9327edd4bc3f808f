/* prog/sendmail.h: inside of the sendmail command: what its files share.
 *
 * cmd_sendmail.c   the command line, and which of its jobs is meant
 * sendmail_input.c the message: line ends, header, recipients of the header; kept until the server wants it
 * sendmail_talk.c  the conversation with the server over its socket for submission
 * sendmail_mailq.c mailq and newaliases
 *
 * The whole message is taken before the server is asked: cron feeds one over hours, and a server waits for
 * the next octet for minutes only (RFC 5321 4.5.3.2.7).
 */
#pragma once
#include "prog/prog.h"
#include "wire/params.h"

enum {
    SENDMAIL_MEMORY_MAX = 1 << 20, /* octets of a body in memory; a longer one goes into an unlinked file */
    SENDMAIL_BLOCK = 65536,
};
#define SENDMAIL_SIZE_MAX (UINT64_C(2) << 30) /* the most that the key message_size can be */

struct sendmail {
    bool has_from, takes_header, ignores_dots, is_7bit, is_verbose;
    struct buf from; /* has_from: of -f, empty for the null reverse-path */
    const char *full_name, *envid;
    uint8_t notify;
    enum dsn_ret ret;
    struct buf rcpts; /* an address or a bare name a line */
    uint32_t n_rcpts;

    struct buf header; /* of the message, CRLF, without what is to be taken off and without the empty line */
    struct buf body;   /* its beginning, or all of it */
    int body_fd;       /* -1, or the file with all of it */
    uint64_t body_size;
    bool is_8bit, has_utf8_header;
    bool is_resent, lacks_from, lacks_date, lacks_id;
};

/* Adds the addresses of a text, those that are there already left out; false: one is none, or they are too
 * many (said on stderr). */
MUST_USE bool sendmail_add_rcpts(struct sendmail *s, struct str text);
/* Reads the message from descriptor 0 up to its end, or a dot alone. An exit code; what went wrong was said.
 */
int sendmail_read(struct sendmail *s);
/* The next octets of the body into out (emptied first); 0 octets: all was given. false: the file can't be
 * read. */
MUST_USE bool sendmail_body_next(struct sendmail *s, uint64_t at, struct buf *out);
/* Hands the message to the server. An exit code of sysexits(3). */
int sendmail_submit(struct sendmail *s);
/* -bv: asks the server for each recipient and sends nothing. */
int sendmail_verify(struct sendmail *s);
/* -bs: standard input and output are the connection. */
int sendmail_pass_through(void);

int sendmail_mailq(void);
int sendmail_newaliases(void);
/* -q: filter "" is all. */
int sendmail_retry(struct str filter);
