#include "wire/dsn_text.h"

#include "base/queue_id.h"
#include "wire/codes.h"
#include "wire/date.h"
#include "wire/fold.h"
#include "wire/header.h"
#include "wire/utf8.h"

enum { ORIGINAL_SUBJECT_MAX = 200, ENCODED_WORD_MAX = 75 /* RFC 2047 2 */ };

/* What a status of RFC 3463 and its registry means to the sender, and what there is to do. detail 0 stands
 * for all details of its subject that have no row. */
struct meaning {
    uint16_t subject, detail;
    const char *what;
    const char *advice;
};

#define ASK_FOR_ADDRESS                                                                                      \
    "Check the address for typing mistakes. If it is right, ask the recipient for the present address in "   \
    "some other way."
#define CHECK_DOMAIN "Check the part of the address after the @ for typing mistakes."
#define TRY_LATER                                                                                            \
    "Send the message again later. If it fails again, tell the recipient about it in some other way."
#define MAKE_SMALLER "Send it without its attachments, or in several smaller messages."
#define ASK_ADMIN "Pass this report to whoever runs your mail system: only they can set this right."
#define TELL_RECIPIENT                                                                                       \
    "If the answer of the server does not help you, tell the recipient in some other way, so that they can " \
    "ask whoever "                                                                                           \
    "runs their mail system."

static const struct meaning meanings[] = {
    {1, 0, "The recipient's mail system did not accept the address.", ASK_FOR_ADDRESS},
    {1, 1, "There is no such mailbox at the recipient's mail system.", ASK_FOR_ADDRESS},
    {1, 2, "The domain of the address, the part after the @, does not exist or has no mail server.",
     CHECK_DOMAIN},
    {1, 3, "The address is not written in a form that the recipient's mail system understands.",
     "Check the address for typing mistakes and stray characters."},
    {1, 4, "The address fits more than one mailbox.", "Ask the recipient for the exact address."},
    {1, 6, "The mailbox has moved and left no new address.", ASK_FOR_ADDRESS},
    {1, 7, "The recipient's mail system calls your own address, as the sender, malformed.",
     "Check the sender's address that is set in your mail program."},
    {1, 8, "The recipient's mail system does not accept your own address as that of a sender.",
     "Check the sender's address that is set in your mail program: mail to it must be deliverable."},
    {1, 10, "The domain of the address states that it takes no mail at all.", CHECK_DOMAIN},
    {2, 0, "Something is wrong with the recipient's mailbox.", TELL_RECIPIENT},
    {2, 1, "The mailbox is switched off, or takes no messages of this kind.", TELL_RECIPIENT},
    {2, 2, "The recipient's mailbox is full.",
     "Tell the recipient in some other way, and send the message again when there is room."},
    {2, 3, "The message is larger than the recipient's mailbox accepts.", MAKE_SMALLER},
    {2, 4, "The address is a mailing list, and its members could not be found out.",
     "Tell the owner of the list."},
    {3, 0, "The recipient's mail system has a problem of its own.", TRY_LATER},
    {3, 1, "The recipient's mail system has run out of space.", TRY_LATER},
    {3, 2, "The recipient's mail system takes no messages at present.", TRY_LATER},
    {3, 4, "The message is larger than the recipient's mail system accepts.", MAKE_SMALLER},
    {4, 0, "The recipient's mail system could not be reached.", TRY_LATER},
    {4, 1, "The recipient's mail server did not answer.", TRY_LATER},
    {4, 2, "The connection to the recipient's mail server broke.", TRY_LATER},
    {4, 3, "The Internet's directory of names (DNS) gave no answer about the recipient's domain.", TRY_LATER},
    {4, 4, "No mail server could be found for the recipient's domain.", CHECK_DOMAIN},
    {4, 6, "The message went round in circles between mail servers.", ASK_ADMIN},
    {4, 7, "The message could not be delivered within the time that it is kept for.", TRY_LATER},
    {5, 0, "The mail servers did not understand each other.", ASK_ADMIN},
    {5, 3, "The message has more recipients than the other mail server takes at once.",
     "Send it to fewer recipients at a time."},
    {6, 0, "The recipient's mail system can't handle what the message contains.",
     "Send it as plain text, without attachments."},
    {6, 7, "The address has characters outside ASCII, and a mail server on the way does not support that.",
     "Ask the recipient for an address of plain letters and digits."},
    {7, 0, "The recipient's mail system refused the message by its rules.", TELL_RECIPIENT},
    {7, 2, "You are not allowed to send to this mailing list.", "Ask the owner of the list."},
    {7, 10, "The recipient's mail system takes mail over encrypted connections only.", ASK_ADMIN},
    {7, 20, "The signature (DKIM) that the recipient's mail system asks for is missing.", ASK_ADMIN},
    {7, 21, "The signature (DKIM) of the message is not one that the recipient's mail system accepts.",
     ASK_ADMIN},
    {7, 23, "The domain of your address does not allow this mail server to send for it (SPF).", ASK_ADMIN},
    {7, 25, "The recipient's mail system found no proper name for the address of this mail server.",
     ASK_ADMIN},
    {7, 26, "The message did not pass the checks (SPF, DKIM) that show that it is from your domain.",
     ASK_ADMIN},
    {7, 27, "The domain of your own address states that it takes no mail, so no answer could reach you.",
     ASK_ADMIN},
    {7, 28, "The recipient's mail system has seen too much mail like this in a short time.", TRY_LATER},
};
static const struct meaning unknown_meaning = {0, 0, "The message could not be delivered.", TELL_RECIPIENT};
static const struct meaning unknown_refusal = {0, 0, "The recipient's mail system refused the message.",
                                               TELL_RECIPIENT};

/* What the row to be told is looked up by: the status, but for loops. Postfix says 5.4.0 of one ("too many
 * hops"), which is a network that can't be reached by the number alone. */
static struct esc told_status(const struct dsn_rcpt *r)
{
    struct code_reply reply = {.stage = CODE_AT_ANY};
    (void)code_reply_parse(r->diagnostic, &reply);
    reply.esc = r->status;
    bool is_loop = r->diagnostic.n > 0 && code_classify(&reply).class == CODE_LOOP;
    return is_loop ? (struct esc){r->status.class, 4, 6} : r->status;
}

static const struct meaning *meaning_of(const struct dsn_rcpt *r)
{
    const struct meaning *m = r->diagnostic.n > 0 ? &unknown_refusal : &unknown_meaning;
    struct esc status = told_status(r);
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        if (meanings[i].subject != status.subject)
            continue;
        if (meanings[i].detail == status.detail)
            return &meanings[i];
        if (meanings[i].detail == 0)
            m = &meanings[i];
    }
    return m;
}

/* In the order in which they are told. */
static const struct group {
    enum dsn_action action;
    bool says_why; /* a reason is worth telling */
    bool advises;
    const char *subject;
    const char *one, *many;
} groups[] = {
    {DSN_FAILED, true, true,
     "Undelivered mail:", "Your message did not reach this recipient, and it will not be tried again:",
     "Your message did not reach these recipients, and it will not be tried again:"},
    {DSN_DELAYED, true, false, "Delayed mail:",
     "Your message has not reached this recipient yet. It is tried again and again; you need not do "
     "anything, and you will "
     "hear from this server if it fails for good:",
     "Your message has not reached these recipients yet. It is tried again and again; you need not do "
     "anything, and you "
     "will hear from this server if it fails for good:"},
    {DSN_DELIVERED, false, false, "Delivered mail:", "Your message was delivered to this recipient:",
     "Your message was delivered to these recipients:"},
    {DSN_RELAYED, false, false, "Mail handed on:",
     "Your message was handed to the mail system of this recipient, which will not report what becomes of "
     "it:",
     "Your message was handed to the mail systems of these recipients, which will not report what becomes of "
     "it:"},
    {DSN_EXPANDED, false, false,
     "Delivered mail:", "Your message was delivered to this list and goes on to its members:",
     "Your message was delivered to these lists and goes on to their members:"},
};

static size_t count(const struct dsn *d, enum dsn_action action, const struct dsn_rcpt **out_first)
{
    size_t n = 0;
    for (size_t i = d->n_rcpts; i > 0; i--) {
        if (d->rcpts[i - 1].action == action) {
            *out_first = &d->rcpts[i - 1];
            n++;
        }
    }
    return n;
}

/* As encoded words (RFC 2047), each of whole characters. */
static void put_encoded(struct str text, struct buf *out)
{
    uint32_t code;
    size_t left = 0;
    bool is_open = false;
    for (size_t n; (n = utf8_next(text, &code)) > 0; text = str_skip(text, n)) {
        bool is_plain =
            code < 0x80 && (ascii_is_alnum(text.p[0]) || str_chr(STR("@.+-"), text.p[0]) != STR_NPOS);
        size_t need = is_plain ? 1 : 3 * n;
        if (!is_open || need > left) {
            buf_puts(out, is_open ? "?=\r\n =?utf-8?q?" : "=?utf-8?q?");
            is_open = true;
            left = ENCODED_WORD_MAX - (sizeof "=?utf-8?q?" - 1) - 2;
        }
        left -= need;
        for (size_t i = 0; i < n && !is_plain; i++)
            buf_printf(out, "=%02X", (unsigned)(unsigned char)text.p[i]);
        if (is_plain)
            buf_putc(out, text.p[0]);
    }
    if (is_open)
        buf_puts(out, "?=");
}

bool dsn_head_is_utf8(const struct dsn *d)
{
    return d->utf8 && !str_is_ascii(d->to);
}

void dsn_put_subject(const struct dsn *d, struct buf *out)
{
    const struct dsn_rcpt *first = NULL;
    size_t g = 0, n = 0;
    while (g < ARRAY_LEN(groups) && (n = count(d, groups[g].action, &first)) == 0)
        g++;
    must(g < ARRAY_LEN(groups)); /* a report about nobody */
    buf_puts(out, groups[g].subject);
    /* an address is never broken, so that it can be found and copied */
    buf_puts(out, first->address.n > 40 ? "\r\n " : " ");
    if (dsn_head_is_utf8(d) || str_is_ascii(first->address) || !utf8_is_valid(first->address))
        fold_put_clean(out, first->address, dsn_head_is_utf8(d));
    else
        put_encoded(first->address, out);
    if (n > 1)
        buf_printf(out, "\r\n and %zu other%s", n - 1, n == 2 ? "" : "s");
}

struct str dsn_original_field(const struct dsn *d, struct str name)
{
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, d->original);
    while (header_walk_next(&w, &f)) {
        if (str_ieq(f.name, name))
            return str_trim(f.body);
    }
    return STR_NIL;
}

static void put_paragraph(struct buf *out, const char *indent, struct str text, bool utf8)
{
    struct fold f;
    buf_puts(out, indent);
    fold_init(&f, out, indent, str_from_c(indent).n, utf8);
    fold_words(&f, text);
    buf_puts(out, "\r\n");
}

/* Which message this is about. A subject in encoded words (RFC 2047) is no help to a reader and is left out.
 */
static void put_message(const struct dsn *d, bool utf8, struct buf *out)
{
    struct str subject = str_slice(dsn_original_field(d, STR("Subject")), 0, ORIGINAL_SUBJECT_MAX);
    if (subject.n > 0 && str_find(subject, STR("=?")) == STR_NPOS) {
        struct fold f;
        buf_puts(out, "    Subject:   ");
        fold_init(&f, out, "               ", 15, utf8);
        fold_words(&f, subject);
        buf_puts(out, "\r\n");
    }
    buf_puts(out, "    Accepted:  ");
    date_format_rfc5322(d->arrival_s, out);
    buf_puts(out, "\r\n    Queue id:  ");
    queue_id_format(d->queue_id, out);
    buf_puts(out, "\r\n");
}

/* The lines of a reply stay lines. */
static void put_answer(const struct dsn_rcpt *r, bool utf8, struct buf *out)
{
    struct str lines = r->diagnostic;
    if (r->remote_host.n > 0) {
        buf_puts(out, "\r\n    The mail server ");
        fold_put_clean(out, r->remote_host, utf8);
        buf_puts(out, " answered:\r\n");
    } else {
        buf_puts(out, "\r\n    The answer was:\r\n");
    }
    while (lines.n > 0) {
        struct str line = str_trim(str_cut(&lines, '\n'));
        if (line.n > 0)
            put_paragraph(out, "        ", line, utf8);
    }
}

static void put_rcpt(const struct group *g, const struct dsn_rcpt *r, bool utf8, struct buf *out)
{
    buf_puts(out, "\r\n  ");
    fold_put_clean(out, r->address, utf8);
    buf_puts(out, "\r\n");
    const struct meaning *m = meaning_of(r);
    if (r->reason.n > 0)
        put_paragraph(out, "    ", r->reason, utf8);
    else if (g->says_why)
        put_paragraph(out, "    ", str_from_c(m->what), utf8);
    if (g->says_why && r->diagnostic.n > 0)
        put_answer(r, utf8, out);
    if (g->advises) {
        buf_puts(out, "\r\n");
        put_paragraph(out, "    ", str_from_c(m->advice), utf8);
    }
}

static void put_group(const struct dsn *d, const struct group *g, bool utf8, struct buf *out)
{
    const struct dsn_rcpt *first;
    size_t n = count(d, g->action, &first);
    if (n == 0)
        return;
    buf_puts(out, "\r\n");
    put_paragraph(out, "", str_from_c(n == 1 ? g->one : g->many), utf8);
    for (size_t i = 0; i < d->n_rcpts; i++) {
        if (d->rcpts[i].action == g->action)
            put_rcpt(g, &d->rcpts[i], utf8, out);
    }
}

void dsn_put_text(const struct dsn *d, bool utf8, struct buf *out)
{
    buf_puts(out, "This is the mail server ");
    fold_put_clean(out, d->reporting_mta, utf8);
    buf_puts(out, ", writing about your message:\r\n\r\n");
    put_message(d, utf8, out);
    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        put_group(d, &groups[g], utf8, out);
    static const char *const attached[] = {
        "The technical details are attached.",
        "The technical details and the header of your message are attached.",
        "The technical details and your message are attached."};
    buf_puts(out, "\r\n");
    put_paragraph(out, "", STR("If you ask somebody for help, send them this whole report."), utf8);
    put_paragraph(out, "", str_from_c(attached[d->original.n == 0 ? 0 : d->original_is_whole ? 2 : 1]), utf8);
}
