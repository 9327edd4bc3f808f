/* wire/codes.h: what a refusal is about: from a reply (its code, its enhanced status code, its text, and
 * where in the session it came) to a class that people and programs can act on. docs/codes.md tells the
 * classes.
 *
 * In this order: texts that leave no doubt; enhanced status codes (RFC 3463 and the registry of RFC 5248)
 * that mean one thing in practice; known texts of common servers; what is left of the enhanced code; the
 * code. Many servers put 5.7.1, 5.5.0 or 5.4.1 on everything, so those say less than the text behind them.
 *
 * Limits:   CODE_TEXT_MAX octets of a text are looked at.
 * Security: the text is foreign; it is only read. Work is bounded by its length times that of the table.
 */
#pragma once
#include "wire/esc.h"

enum { CODE_TEXT_MAX = 1024 };

enum code_about { /* whose business it is */
                  CODE_ABOUT_RECIPIENT = 0,
                  CODE_ABOUT_US,      /* the sender, its server, its address */
                  CODE_ABOUT_MESSAGE, /* this message */
                  CODE_ABOUT_THEM,    /* their server, or the way to it */
};
/* NAME, word, whose business, hard: the next message to the address would meet the same; what it means; what
 * to do. docs/codes.md holds the same rows: see codes_doc(). */
#define CODE_CLASSES(X)                                                                                      \
    X(OTHER, "other", THEM, false, "The reply fits no class.", "Read the text of the reply.")                \
    X(UNKNOWN_USER, "unknown-user", RECIPIENT, true, "There is no such mailbox.",                            \
      "Correct the address; take it off lists.")                                                             \
    X(MAILBOX_DISABLED, "mailbox-disabled", RECIPIENT, true,                                                 \
      "The mailbox is closed, locked, or has not been used for too long.",                                   \
      "Take the address off lists; ask its owner another way.")                                              \
    X(MAILBOX_FULL, "mailbox-full", RECIPIENT, false, "The mailbox has no room.",                            \
      "Try later; take the address off lists when this lasts for weeks.")                                    \
    X(MOVED, "moved", RECIPIENT, true, "The recipient has another address now.",                             \
      "Write to the address that the reply names.")                                                          \
    X(BAD_ADDRESS, "bad-address", RECIPIENT, true, "The address is not well-formed for that server.",        \
      "Correct the address.")                                                                                \
    X(DOMAIN_UNKNOWN, "domain-unknown", RECIPIENT, true,                                                     \
      "The domain does not exist, or takes no mail (RFC 7504, RFC 7505).",                                   \
      "Correct the domain; take the address off lists.")                                                     \
    X(RESTRICTED, "restricted", RECIPIENT, true,                                                             \
      "The recipient takes mail from some senders only (a closed list, a group of a company).",              \
      "Ask the recipient to allow the sender.")                                                              \
    X(SENDER_REFUSED, "sender-refused", US, true,                                                            \
      "The envelope sender, or its domain, is not accepted or can't be verified.",                           \
      "See that the sender's domain has an MX and that the address takes mail.")                             \
    X(POLICY, "policy", US, false, "Refused by a rule of theirs that the reply does not name.",              \
      "Read the text; ask their postmaster with it.")                                                        \
    X(BLOCKED_IP, "blocked-ip", US, false,                                                                   \
      "Our address, network or domain is on a block list or has a bad reputation.",                          \
      "Find why (hacked accounts, complaints), end it, then ask the list that the reply names to remove "    \
      "us.")                                                                                                 \
    X(HOST_NAME, "host-name", US, false,                                                                     \
      "The name of our server does not please: no PTR record, one that does not lead back, a bad HELO "      \
      "name.",                                                                                               \
      "Set PTR, A and AAAA of the sending address and `hostname` to the same name.")                         \
    X(AUTHENTICATION, "authentication", US, false,                                                           \
      "The message failed SPF, DKIM or DMARC, or is not signed where that is wanted.",                       \
      "Publish SPF, sign with DKIM, align both with the From field; do not forward what DMARC protects.")    \
    X(AUTH_REQUIRED, "auth-required", US, false,                                                             \
      "The server wants us to log in, or did not take the credentials.",                                     \
      "A route leads to a submission server: use its port 25, or give the route its credentials.")           \
    X(SPAM, "spam", MESSAGE, false, "The content, or what it links to, counts as spam.",                     \
      "Look at the message and whether its recipients asked for it; look for a hacked account.")             \
    X(VIRUS, "virus", MESSAGE, false, "The message holds, or seems to hold, malware.",                       \
      "Look at the machine it came from.")                                                                   \
    X(CONTENT, "content", MESSAGE, false,                                                                    \
      "Its form is not taken: MIME, header fields, line ends, attachments, 8-bit or UTF-8 content.",         \
      "Mend the program that made the message; send the attachment another way.")                            \
    X(TOO_BIG, "too-big", MESSAGE, false, "The message is larger than they take.", "Send less, or a link.")  \
    X(GREYLISTED, "greylisted", THEM, false,                                                                 \
      "They want the message to come a second time, some minutes later.",                                    \
      "Nothing: it is tried again in time.")                                                                 \
    X(RATE_LIMITED, "rate-limited", US, false, "Too many messages, recipients or connections at a time.",    \
      "Nothing for a while; when it lasts, send them less at a time (`site_connections`).")                  \
    X(RELAY_DENIED, "relay-denied", THEM, true, "That server does not take mail for the domain.",            \
      "The domain's MX, or a route of ours, leads to the wrong server.")                                     \
    X(LOOP, "loop", THEM, true, "The message goes round in circles.",                                        \
      "Look at the Received fields: two servers (or forwardings) send it to each other.")                    \
    X(TLS, "tls", THEM, false, "TLS is wanted and can't be had, or failed.",                                 \
      "Look at the TLS policy of the route and at their certificate.")                                       \
    X(PROTOCOL, "protocol", THEM, false, "One side did not understand the other.",                           \
      "Look for a middle box that alters SMTP; report it with the reply.")                                   \
    X(NETWORK, "network", THEM, false, "The server can't be reached, or the connection was lost.",           \
      "Nothing for hours; then look at the network, the firewall and the DNS.")                              \
    X(SERVER_TROUBLE, "server-trouble", THEM, false, "Their server is in trouble, or busy.",                 \
      "Nothing: it is tried again.")                                                                         \
    X(LOCAL_TROUBLE, "local-trouble", US, false,                                                             \
      "This server could not do it: memory, disk, configuration.",                                           \
      "Read the text and the log of this server.")                                                           \
    X(EXPIRED, "expired", THEM, false, "It was tried for too long.", "See the reason of the last attempt.")

enum code_class {
#define X(NAME, word, about, is_hard, meaning, advice) CODE_##NAME,
    CODE_CLASSES(X)
#undef X
        CODE_CLASSES_N
};

enum code_stage {                  /* where in the session */
                  CODE_AT_ANY = 0, /* not known */
                  CODE_AT_SESSION, /* connection, greeting, EHLO, STARTTLS, AUTH */
                  CODE_AT_MAIL,
                  CODE_AT_RCPT,
                  CODE_AT_DATA, /* DATA, or behind the message */
};
struct code_reply {
    enum code_stage stage;
    uint16_t code;   /* 0: no reply: we decided */
    struct esc esc;  /* class 0: none */
    struct str text; /* without them; lines by '\n'. A line may begin with codes again: they are skipped */
};
enum code_by { /* what the class rests on, the surest first */
               CODE_BY_STATUS = 0,
               CODE_BY_TEXT,
               CODE_BY_CODE, /* the bare code, or a vague status: 550 at RCPT is what a rule of theirs says
                                too */
};
struct code_verdict {
    enum code_class class;
    enum code_by by;
};
struct code_verdict code_classify(const struct code_reply *r);

/* "550 5.1.1 no such user", "550-5.1.1 ...", "smtp; 550 ...": the Diagnostic-Code of RFC 3464 or what a log
 * says. The stage stays as it is. false, and everything is text: it begins with no reply code. Borrows. */
bool code_reply_parse(struct str s, struct code_reply *out);

const char *code_class_word(unsigned c); /* "other" for an unknown number too */
bool code_class_parse(struct str word, enum code_class *out);
bool code_class_is_hard(enum code_class c);
enum code_about code_class_about(enum code_class c);
const char *code_class_meaning(enum code_class c);

/* The tables of docs/codes.md between its two marks. */
void codes_doc(struct buf *out);
