/* service/local/body.h: the octets of one message, from the queue to where it is stored or read, in pieces.
 *
 * Lines end in LF afterwards. What came as BINARYMIME and is not lines is read into memory and made base64
 * first (wire/downgrade.h); what may not be changed or is too big for that keeps its body's octets as they
 * are.
 */
#pragma once
#include "base/world.h"
#include "service/local/deliver.h"
#include "wire/downgrade.h"

enum {
    BODY_PIECE_SIZE = 64 * 1024,
    BODY_CONVERT_MAX = 50 * 1024 * 1024, /* octets of messages that one process converts at a time */
};

struct body_plan {
    uint64_t size;
    uint32_t flags; /* MAIL_FLAG_* */
    bool is_piped;
    struct str octets;        /* not piped: all of it */
    struct str rcpt;          /* the loop that is looked for, see struct maildir_text */
    uint64_t *convert_octets; /* of all messages of this process; counted up to BODY_CONVERT_MAX */
};
struct body {
    struct conn *pipe;
    uint64_t size, n_read;
    uint64_t *convert_octets;
    bool pipe_ended;
    struct maildir_text text;
    bool is_converted, is_scanned, converter_ended;
    struct buf whole;            /* is_converted: all of the message */
    size_t n_given;              /* octets of it that the converter has taken */
    struct downgrade *converter; /* NULL: it may pass as it is */
    struct buf in;               /* octets of the message whose line ends are not yet changed */
    size_t n_wanted;             /* octets of `in` to have before the next piece is made */
    struct buf out;              /* for the user, who takes away what he has used */
    bool is_last;                /* nothing comes behind what is in `out` */
    enum err err;                /* the first failure, with what failed, for people */
    const char *what;
};
enum body_status { BODY_READY = 0, BODY_WAIT, BODY_FAILED };

/* user and arg: who is called when a pipe has more. Always to be ended by body_fini(); a failure is in err.
 */
void body_init(struct body *b, struct world *w, const struct body_plan *plan, struct handle *given,
               const struct conn_user *user, void *arg);
/* Appends a piece to out, at most BODY_PIECE_SIZE and a header line; out may be empty after it. WAIT: the
 * pipe has nothing now, user is called. Not after is_last. */
enum body_status body_next(struct body *b);
/* Is the header section whole in what was given out, so that text.is_loop is final? */
bool body_has_header(const struct body *b);
void body_fail(struct body *b, enum err err, const char *what);
/* What is said of text.is_loop; the phrase is put into text. */
struct job_result;
void body_loop_result(const struct body *b, struct buf *text, struct job_result *out);
/* The rest is not wanted: who sends it is told so. */
void body_abandon(struct body *b);
void body_fini(struct body *b);
