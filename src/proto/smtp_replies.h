/* proto/smtp_replies.h: every reply the SMTP and LMTP server can give: the only place with reply texts.
 *
 * A row is {id, code, enhanced code (class 0: none, RFC 2034 4 leaves them off greeting, hello and 3yz),
 * text}. A text says what is wrong and what to do. At most one "{}" is filled with an argument; in rows of
 * code 221 and 421 that is always our host name (RFC 5321 4.2.3). Replies are RFC 5321 4.2 and RFC 3463;
 * choices of ours are said beside the row.
 */
#pragma once
#include "base/str.h"
#include "wire/esc.h"

/* clang-format off */
#define SMTP_REPLIES(X)                                                                                   \
    /* it goes well */                                                                                    \
    X(R_GREETING,       220, 0, 0, 0, "{}")                                                               \
    X(R_BYE,            221, 2, 0, 0, "{} closes the connection; goodbye")                                \
    X(R_HELLO,          250, 0, 0, 0, "{}")                                                               \
    X(R_OK,             250, 2, 0, 0, "OK")                                                               \
    X(R_RESET,          250, 2, 0, 0, "the transaction is forgotten; begin a new one with MAIL")          \
    X(R_MAIL_OK,        250, 2, 1, 0, "sender OK; who shall get it?")                                     \
    X(R_RCPT_OK,        250, 2, 1, 5, "recipient OK")                                                     \
    X(R_CHUNK_OK,       250, 2, 0, 0, "chunk of {} octets taken")                                         \
    X(R_QUEUED,         250, 2, 0, 0, "queued as {}")                                                     \
    /* RFC 6710: the text begins with the new priority */                                                   \
    X(R_QUEUED_LOWERED,  250, 2, 3, 6, "0 is the priority that it has here; queued as {}")                \
    X(R_AUTH_OK,         235, 2, 7, 0, "you are logged in")                                               \
    X(R_HELP,           214, 2, 0, 0, "{}")                                                               \
    X(R_VRFY,           252, 2, 0, 0, "VRFY looks no address up; send the mail and RCPT will tell")       \
    X(R_EXPN,            250, 2, 1, 5, "{}")                                                              \
    /* RFC 1985 5.3 */                                                                                    \
    X(R_ETRN_NOTHING,    251, 2, 0, 0, "no messages wait for {}")                                         \
    X(R_ETRN_PENDING_N,  253, 2, 0, 0, "{} messages wait and are tried now")                              \
    X(R_TLS_GO,          220, 2, 0, 0, "begin with TLS")                                                  \
    X(R_DATA_GO,        354, 0, 0, 0, "send the message; a line with a dot alone ends it")                \
    /* PRDR: a reply for each recipient follows, then one for the message; Exim has the same form */      \
    X(R_PRDR_GO,         353, 0, 0, 0, "the message is judged for each recipient now")                    \
    /* not now: commands out of order */                                                                  \
    X(R_NEED_HELLO,     503, 5, 5, 1, "introduce yourself first with {}")                                 \
    X(R_NEED_MAIL,      503, 5, 5, 1, "give the sender first with MAIL FROM:<address>")                   \
    X(R_NEED_RCPT,      503, 5, 5, 1, "give a recipient first with RCPT TO:<address>")                    \
    /* RFC 5321 3.3 allows 503 and 554 here */                                                            \
    X(R_NO_VALID_RCPTS, 554, 5, 5, 1, "no recipient was accepted; the message has nowhere to go")         \
    X(R_NESTED_MAIL,    503, 5, 5, 1, "a transaction is under way; finish it or drop it with RSET")       \
    X(R_IN_BDAT,        503, 5, 5, 1, "the message has begun with BDAT; go on so or drop it with RSET")   \
    X(R_BDAT_FAILED,    503, 5, 5, 1, "an earlier chunk was refused, so this is dropped; use RSET")       \
    X(R_AUTH_ALREADY,    503, 5, 5, 1, "you are logged in already")                                       \
    X(R_TLS_ALREADY,     503, 5, 5, 1, "this connection has TLS already")                                 \
    X(R_BINARY_NEEDS_BDAT, 503, 5, 5, 1, "a message with BODY=BINARYMIME is sent with BDAT and not DATA") \
    /* malformed */                                                                                       \
    X(R_BAD_SYNTAX,     500, 5, 5, 2, "a command begins with a word of letters, such as EHLO or MAIL")    \
    X(R_UNKNOWN_COMMAND, 500, 5, 5, 1, "this command is not known here; HELP lists those that are")       \
    X(R_NOT_IMPLEMENTED, 502, 5, 5, 1, "{} is not offered here")                                          \
    X(R_LMTP_WANTS_LHLO, 500, 5, 5, 1, "this port speaks LMTP; begin with LHLO")                          \
    X(R_SMTP_WANTS_EHLO, 500, 5, 5, 1, "this port speaks SMTP; begin with EHLO")                          \
    X(R_LINE_TOO_LONG,  500, 5, 5, 2, "a command line may have {} octets at most")                        \
    /* 500 and not obeyed, see feed_line() */                                                             \
    X(R_BARE_LF,        500, 5, 5, 2, "a line must end in CR LF; one that ends in LF is ignored")         \
    X(R_BAD_CHARS,      500, 5, 5, 2, "control or 8-bit characters have no place in this command")        \
    X(R_USAGE,          501, 5, 5, 4, "the form is: {}")                                                  \
    X(R_BAD_HELO,       501, 5, 5, 4, "give one host name or a literal such as [192.0.2.1] after {}")     \
    X(R_BAD_PARAM,      501, 5, 5, 4, "{}")                                                               \
    X(R_UNKNOWN_PARAM,  555, 5, 5, 4, "{}")                                                               \
    X(R_NO_BINARYMIME,  555, 5, 5, 4, "BINARYMIME is not offered; encode the message as 8BITMIME")        \
    /* RFC 4865 4; over what EHLO said */                                                                 \
    X(R_HOLD_TOO_LONG,   501, 5, 5, 4, "a message may be held for {} seconds at most")                    \
    X(R_HOLD_PAST,       501, 5, 5, 4, "HOLDUNTIL is not in the future")                                  \
    /* the code of Sendmail, which has DELIVERBY; Postfix and Exim have not */                            \
    X(R_BY_TOO_SOON,     555, 5, 5, 4, "BY with R needs {} seconds at least; give more or use N")         \
    X(R_BAD_ETRN,        501, 5, 5, 4, "the form is: ETRN domain, @domain or #queue")                     \
    X(R_BAD_XCLIENT,     501, 5, 5, 4, "XCLIENT: {}")                                                     \
    /* the session ends with it */                                                                        \
    X(R_BDAT_SYNTAX,    501, 5, 5, 4, "the form is: BDAT octets [LAST]; goodbye, for its end is unknown") \
    X(R_NOT_HTTP,       502, 5, 5, 1, "this port speaks SMTP and no HTTP; goodbye")                       \
    X(R_NOT_TLS,         554, 5, 5, 1, "this port begins in plain text and TLS does not begin here; goodbye") \
    X(R_TLS_EARLY,       554, 5, 5, 1, "nothing may follow STARTTLS before TLS begins; goodbye")          \
    /* Exim: 554, postscreen: 521 */                                                                      \
    X(R_TALKS_EARLY,     554, 5, 5, 1, "you spoke before the greeting; wait for the 220 and try again")   \
    X(R_BAD_SENDER,     501, 5, 1, 7, "the sender can't be an address: {}")                               \
    X(R_DOMAIN_NEEDED,  501, 5, 1, 7, "the sender needs a domain: name@domain")                           \
    X(R_BAD_RCPT,       501, 5, 1, 3, "the recipient can't be an address: {}")                            \
    X(R_NEEDS_UTF8,     553, 5, 6, 7, "an address that is not ASCII needs SMTPUTF8 as a parameter of MAIL") \
    /* refused for what it is */                                                                          \
    /* RFC 4954 4 and 6 */                                                                                \
    X(R_AUTH_NEEDED,     530, 5, 7, 0, "log in first")                                                    \
    X(R_AUTH_NEEDS_TLS,  538, 5, 7, 11, "logins go over TLS only: use STARTTLS first")                     \
    X(R_AUTH_MECHANISM,  504, 5, 5, 4, "this mechanism is not offered; EHLO lists those that are")        \
    X(R_AUTH_BAD,        535, 5, 7, 8, "user and password do not fit; check both")                        \
    X(R_AUTH_CANCELLED,  501, 5, 7, 0, "the login is cancelled")                                          \
    X(R_AUTH_MALFORMED,  501, 5, 5, 2, "this is no answer of the mechanism in base64")                    \
    X(R_AUTH_TOO_LONG,   500, 5, 5, 6, "a response is too long")                                          \
    /* RFC 6409 6.1 */                                                                                    \
    X(R_SENDER_NOT_YOURS, 550, 5, 7, 1, "this login may not send from that address")                      \
    /* RFC 3207 4 */                                                                                      \
    X(R_TLS_NEEDED,      530, 5, 7, 0, "TLS comes first here: use STARTTLS")                              \
    X(R_RELAY_DENIED,   550, 5, 7, 1, "this server takes no mail for that domain from you")               \
    X(R_NO_SUCH_USER,   550, 5, 1, 1, "there is no such mailbox here; check the spelling of the address") \
    X(R_CALLOUT_UNKNOWN, 550, 5, 1, 1, "the server of that domain says that there is no such mailbox")    \
    /* as Postfix says it of an address that is not verified yet */                                       \
    X(R_CALLOUT_LATER,   450, 4, 1, 1, "whether the mailbox exists can't be asked now; try again later")  \
    /* RFC 7505 4.2 */                                                                                   \
    X(R_SENDER_NULL_MX,  550, 5, 7, 27, "the sender's domain takes no mail (null MX); give an address that can be answered") \
    X(R_SENDER_REFUSED,  550, 5, 7, 1, "mail from this sender is not taken here")                         \
    X(R_NO_SUCH_LIST,    550, 5, 1, 1, "there is no such list here; check the spelling of its name")      \
    X(R_EXPN_DENIED,     550, 5, 7, 2, "you may not see who is on this list")                             \
    X(R_EXPN_TOO_LONG,   550, 5, 2, 4, "the list is too long to be told here")                            \
    X(R_ETRN_UNABLE,     458, 4, 3, 0, "the queue can't be run for {} now; try again later")              \
    X(R_ETRN_DENIED,     459, 4, 7, 0, "{} is not a node whose queue you may run")                        \
    X(R_XCLIENT_DENIED,  550, 5, 7, 0, "XCLIENT is for the proxies of this server only")                  \
    X(R_BAD_MAILBOX,    550, 5, 1, 3, "this address names no mailbox here; use the form name@domain")     \
    X(R_TOO_MANY_RCPTS, 452, 4, 5, 3, "a message may have {} recipients; send another to the rest")       \
    X(R_TOO_BIG,        552, 5, 3, 4, "a message may have {} octets at most")                             \
    /* no registered detail fits a bare CR or LF: 5.6.0 is "something about the content" */               \
    X(R_BARE_NEWLINE,   550, 5, 6, 0, "the message holds a CR or LF alone; every line must end in CR LF") \
    X(R_LOOP,           554, 5, 4, 6, "the message came through too many servers; it goes in a circle")   \
    X(R_HEADER_TOO_BIG, 554, 5, 6, 0, "the header section of the message is too big")                     \
    /* trouble of ours */                                                                                 \
    X(R_AUTH_LATER,      454, 4, 7, 0, "the login can't be checked now; try again later")                 \
    X(R_AUTH_TOO_MANY,   454, 4, 7, 0, "too many logins failed; try again later")                         \
    /* RFC 3207 4 */                                                                                      \
    X(R_TLS_LATER,       454, 4, 7, 0, "TLS can't be had now; try again later")                           \
    X(R_ALIAS_TROUBLE,   451, 4, 3, 5, "the aliases of this address can't be followed; try again later")  \
    X(R_STORE_BUSY,     451, 4, 3, 0, "the queue is busy; try again later")                               \
    X(R_STORE_FULL,     452, 4, 3, 1, "there is no room for the message now; try again later")            \
    X(R_STORE_DOWN,     451, 4, 3, 0, "the message can't be stored now; try again later")                 \
    X(R_NO_MEMORY,      452, 4, 3, 0, "the server is short of memory; try again later")                   \
    /* the session ends */                                                                                \
    X(R_SHUTDOWN,       421, 4, 3, 2, "{} is shutting down; try again in a moment")                       \
    X(R_NO_MEMORY_CLOSE, 421, 4, 3, 0, "{} is short of memory; try again later")                          \
    X(R_TOO_MANY_CONNECTIONS, 421, 4, 7, 0, "{} has too many connections now; try again later")           \
    X(R_TIMEOUT,        421, 4, 4, 2, "{} has waited too long for you")                                   \
    X(R_TOO_SLOW,       421, 4, 4, 2, "{} gives up: the message comes too slowly")                        \
    X(R_TOO_MANY_ERRORS, 421, 4, 7, 0, "{} gives up after too many errors")                               \
    X(R_TOO_MUCH_JUNK,  421, 4, 7, 0, "{} gives up after too many commands that bring no mail")           \
    X(R_TOO_MANY_TRANSACTIONS, 421, 4, 7, 0, "{} has taken enough mail on this connection; make a new one")
/* clang-format on */

enum smtp_reply_id {
    R_NONE = 0, /* no reply: what SMTP_EV_CLOSE tells when the client just went away */
#define X(id, code, class, subject, detail, text) id,
    SMTP_REPLIES(X)
#undef X
};
#define X(id, code, class, subject, detail, text) +1
enum { SMTP_REPLY_ROWS = 1 + SMTP_REPLIES(X) }; /* ids are 1 to SMTP_REPLY_ROWS - 1 */
#undef X

struct smtp_reply_row {
    const char *name; /* "R_GREETING": for tests and scripts */
    uint16_t code;
    struct esc esc;
    const char *text;
    uint16_t text_n; /* octets of text */
};
/* id is not R_NONE. Static storage. */
const struct smtp_reply_row *smtp_reply_row(enum smtp_reply_id id);
/* The id of a row's name, R_NONE when there is none. */
enum smtp_reply_id smtp_reply_by_name(struct str name);
/* A text with its argument; EHLO's reply with two names of 255 octets is the longest. */
enum { SMTP_REPLY_FILLED_MAX = 1536 };
/* Appends the row's text alone, with arg (cut) in place of "{}": at most SMTP_REPLY_FILLED_MAX octets. */
void smtp_reply_fill(enum smtp_reply_id id, struct str arg, struct buf *out);
/* Appends the whole reply, with arg in place of "{}". utf8: the argument may show octets over 0x7f (RFC
 * 6531 3.7.4.1). Nothing is appended when out can't hold all of it: out->failed tells. */
void smtp_reply_put(enum smtp_reply_id id, struct str arg, bool utf8, struct buf *out);
